"""Steps about files."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from host_agent.drivers import files
from host_agent.state import File, HostState
from host_agent.steps.base import ASKED, Machine, Step


@dataclass(frozen=True)
class WriteFile(Step):
    file: File

    def __str__(self) -> str:
        return f"write {self.file}"

    def carry_out(self, machine: Machine) -> None:
        files.write(self.file)

    def commands(self) -> list[str]:
        path = shlex.quote(self.file.path)
        return [f"install -D -m {self.file.mode:o} {ASKED} {path}  # content is not shown"]

    def was(self, found: HostState) -> str:
        return f"{self.file} was gone or had changed"


@dataclass(frozen=True)
class RemoveFile(Step):
    file: File

    def __str__(self) -> str:
        return f"remove {self.file}"

    def carry_out(self, machine: Machine) -> None:
        files.remove(self.file)

    def commands(self) -> list[str]:
        return [f"rm -f {shlex.quote(self.file.path)}"]
