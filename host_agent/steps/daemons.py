"""Steps about processes."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from host_agent.drivers import daemon
from host_agent.state import Daemon, HostState
from host_agent.steps.base import Machine, Step, at, inside


@dataclass(frozen=True)
class StartDaemon(Step):
    daemon: Daemon

    def __str__(self) -> str:
        return f"{at(self.daemon.namespace)}: start {self.daemon}"

    @property
    def place(self) -> str:
        return self.daemon.namespace

    def carry_out(self, machine: Machine) -> None:
        with machine.namespaces.inside(self.daemon.namespace):
            running = daemon.start(self.daemon)
        if self.daemon.port is not None:
            daemon.wait_for_port(self.daemon, running, self.daemon.port)

    def commands(self) -> list[str]:
        return [f"{inside(self.daemon.namespace)}{shlex.join(self.daemon.argv)} &"]

    def was(self, found: HostState) -> str:
        running = any(other.name == self.daemon.name for other in found.daemons)
        return f"{self.daemon} {'ran with another command line' if running else 'had ended'}"


@dataclass(frozen=True)
class StopDaemon(Step):
    daemon: Daemon

    def __str__(self) -> str:
        return f"{at(self.daemon.namespace)}: stop {self.daemon}"

    @property
    def place(self) -> str:
        return self.daemon.namespace

    def carry_out(self, machine: Machine) -> None:
        daemon.stop(self.daemon.name)

    def commands(self) -> list[str]:
        return [f"# end {self.daemon}"]

    def was(self, found: HostState) -> str:
        return f"{self.daemon} was not where it belongs"
