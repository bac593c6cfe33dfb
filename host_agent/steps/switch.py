"""Steps about the bridge and its ports."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from host_agent.drivers import ovs
from host_agent.state import Bridge, HostState
from host_agent.steps.base import Machine, Step


@dataclass(frozen=True)
class ChangeBridge(Step):
    bridge: Bridge
    ports: frozenset[str]  # new ones
    controller: bool  # whether it has to be set
    words: str  # what differs

    def __str__(self) -> str:
        return f"bridge {self.bridge.name}: {self.words}"

    def carry_out(self, machine: Machine) -> None:
        ovs.change(self.bridge, self.ports, self.controller)

    def commands(self) -> list[str]:
        return [shlex.join(["ovs-vsctl", *ovs.change_words(self.bridge, self.ports, self.controller)])]

    def was(self, found: HostState) -> str:
        return f"bridge {self.bridge.name} differed: {self.words}"


@dataclass(frozen=True)
class RemovePorts(Step):
    bridge: str
    ports: frozenset[str]

    def __str__(self) -> str:
        return f"bridge {self.bridge}: remove ports {', '.join(sorted(self.ports))}"

    def carry_out(self, machine: Machine) -> None:
        ovs.remove_ports(self.bridge, self.ports)

    def commands(self) -> list[str]:
        return [shlex.join(["ovs-vsctl", *ovs.removal_words(self.bridge, self.ports)])]


@dataclass(frozen=True)
class RemoveBridge(Step):
    name: str

    def __str__(self) -> str:
        return f"remove bridge {self.name}"

    def carry_out(self, machine: Machine) -> None:
        ovs.remove_bridge(self.name)

    def commands(self) -> list[str]:
        return [f"ovs-vsctl --if-exists del-br {self.name}"]


@dataclass(frozen=True)
class Replug(Step):
    bridge: str
    port: str

    def __str__(self) -> str:
        return f"bridge {self.bridge}: give port {self.port} a new device, the old one is gone"

    def carry_out(self, machine: Machine) -> None:
        ovs.replug(self.bridge, self.port)

    def commands(self) -> list[str]:
        changes = ovs.replug_words(self.bridge, self.port, '"${mac:-[]}"')
        return [
            f"mac=$(ovs-vsctl {' '.join(ovs.ethernet_question(self.port))})",
            *(f"ovs-vsctl {' '.join(words)}" for words in changes),
        ]

    def was(self, found: HostState) -> str:
        return f"the device of port {self.port} was gone"
