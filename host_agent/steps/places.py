"""Steps about network namespaces and their kernel settings."""

from __future__ import annotations

from dataclasses import dataclass

from host_agent.drivers import sysctl
from host_agent.state import OWNER, HostState, Sysctl
from host_agent.steps.base import Machine, Step, at, inside


@dataclass(frozen=True)
class CreateNamespace(Step):
    name: str

    def __str__(self) -> str:
        return f"create network namespace {self.name}"

    @property
    def place(self) -> str:
        return self.name

    def carry_out(self, machine: Machine) -> None:
        machine.namespaces.create(self.name)

    def commands(self) -> list[str]:
        return [f"ip netns add {self.name}", f"ip -n {self.name} link set lo up alias {OWNER}"]

    def was(self, found: HostState) -> str:
        return f"network namespace {self.name} was gone"


@dataclass(frozen=True)
class RemoveNamespace(Step):
    name: str

    def __str__(self) -> str:
        return f"remove network namespace {self.name}"

    @property
    def place(self) -> str:
        return self.name

    def carry_out(self, machine: Machine) -> None:
        machine.namespaces.remove(self.name)

    def commands(self) -> list[str]:
        return [f"ip netns del {self.name}"]


@dataclass(frozen=True)
class SetSysctl(Step):
    namespace: str
    sysctl: Sysctl

    def __str__(self) -> str:
        return f"{at(self.namespace)}: set {self.sysctl}"

    def carry_out(self, machine: Machine) -> None:
        with machine.namespaces.inside(self.namespace):
            sysctl.write(self.sysctl)

    def commands(self) -> list[str]:
        return [f"{inside(self.namespace)}sysctl -ew {self.sysctl.key}={self.sysctl.value}"]

    def was(self, found: HostState) -> str:
        values = [it.value for it in found.namespace(self.namespace).sysctls if it.key == self.sysctl.key]
        return f"sysctl {self.sysctl.key} was {', '.join(values) or 'not there'}"
