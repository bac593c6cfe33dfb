"""Steps about processes."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from host_agent.drivers import daemon
from host_agent.state import Daemon, HostState
from host_agent.steps.base import Machine, Step, at, inside

SPECIAL = re.compile(r"[][.*^$+?(){}|\\]")  # in a regular expression, regex(7)


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
        here, it = inside(self.daemon.namespace), self.daemon
        log, directory = shlex.quote(it.log), shlex.quote(str(Path(it.log).parent))
        process = f"env {daemon.marked(it.name)} setsid {shlex.join(it.argv)} </dev/null >>{log} 2>&1 &"
        lines = [f"install -d -m 700 {directory}", f"{here}{process}"]
        if it.port is not None:
            listens = f"until ss -Hltn sport = :{it.port} | grep -q .; do sleep 0.1; done"
            lines.append(f"{here}timeout {daemon.LISTEN_TIME:.0f} sh -c '{listens}'")
        return lines

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
        words = SPECIAL.sub(r"\\\g<0>", " ".join(self.daemon.command))
        return [f"while pkill --ns $$ --nslist pid -xf {shlex.quote(words)}; do sleep 0.1; done"]

    def was(self, found: HostState) -> str:
        return f"{self.daemon} was not where it belongs"
