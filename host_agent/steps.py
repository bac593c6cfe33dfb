"""The steps a plan is made of: each says what it does, in the words of ip(8) and its neighbours, and is plain data."""

from __future__ import annotations

from dataclasses import dataclass

from host_agent.peers import WireGuardChange
from host_agent.state import (
    NODE,
    Address,
    Bridge,
    Chain,
    Daemon,
    Family,
    File,
    IpSet,
    Link,
    Route,
    Rule,
    Sysctl,
)


def at(namespace: str) -> str:
    """The prefix of a step's words: where it happens."""
    return "node" if namespace == NODE else namespace


@dataclass(frozen=True)
class WriteFile:
    file: File

    def __str__(self) -> str:
        return f"write {self.file}"


@dataclass(frozen=True)
class RemoveFile:
    file: File

    def __str__(self) -> str:
        return f"remove {self.file}"


@dataclass(frozen=True)
class CreateNamespace:
    name: str

    def __str__(self) -> str:
        return f"create network namespace {self.name}"


@dataclass(frozen=True)
class RemoveNamespace:
    name: str

    def __str__(self) -> str:
        return f"remove network namespace {self.name}"


@dataclass(frozen=True)
class SetSysctl:
    namespace: str
    sysctl: Sysctl

    def __str__(self) -> str:
        return f"{at(self.namespace)}: set {self.sysctl}"


@dataclass(frozen=True)
class Add:
    namespace: str
    item: Address | Route | Rule

    def __str__(self) -> str:
        return f"{at(self.namespace)}: add {self.item}"


@dataclass(frozen=True)
class ReplaceRoute:
    namespace: str
    route: Route

    def __str__(self) -> str:
        return f"{at(self.namespace)}: replace {self.route}"


@dataclass(frozen=True)
class Remove:
    namespace: str
    item: Address | Route | Rule

    def __str__(self) -> str:
        return f"{at(self.namespace)}: remove {self.item}"


@dataclass(frozen=True)
class ReplaceSets:
    namespace: str
    wanted: frozenset[IpSet]
    found: frozenset[IpSet]

    def __str__(self) -> str:
        return f"{at(self.namespace)}: put in place {_listed(self.wanted)}"


@dataclass(frozen=True)
class RemoveSets:
    namespace: str
    stale: frozenset[IpSet]

    def __str__(self) -> str:
        return f"{at(self.namespace)}: remove {_listed(self.stale)}"


@dataclass(frozen=True)
class ReplaceChains:
    namespace: str
    family: Family
    wanted: frozenset[Chain]
    found: frozenset[Chain]

    def __str__(self) -> str:
        return f"{at(self.namespace)}: put in place {_listed(self.wanted)}"


@dataclass(frozen=True)
class RemoveChains:
    namespace: str
    family: Family
    stale: frozenset[Chain]

    def __str__(self) -> str:
        return f"{at(self.namespace)}: remove {_listed(self.stale)}"


@dataclass(frozen=True)
class ChangeBridge:
    bridge: Bridge
    ports: frozenset[str]  # new ones
    controller: bool  # whether it has to be set
    words: str  # what differs

    def __str__(self) -> str:
        return f"bridge {self.bridge.name}: {self.words}"


@dataclass(frozen=True)
class RemovePorts:
    bridge: str
    ports: frozenset[str]

    def __str__(self) -> str:
        return f"bridge {self.bridge}: remove ports {', '.join(sorted(self.ports))}"


@dataclass(frozen=True)
class RemoveBridge:
    name: str

    def __str__(self) -> str:
        return f"remove bridge {self.name}"


@dataclass(frozen=True)
class Replug:
    bridge: str
    port: str

    def __str__(self) -> str:
        return f"bridge {self.bridge}: give port {self.port} a new device, the old one is gone"


@dataclass(frozen=True)
class MoveLink:
    source: str
    namespace: str
    link: Link

    def __str__(self) -> str:
        return f"{at(self.namespace)}: move link {self.link.name} here from {at(self.source)}"


@dataclass(frozen=True)
class RemoveDeadLink:
    namespace: str
    link: Link

    def __str__(self) -> str:
        return f"{at(self.namespace)}: remove link {self.link.name}, nothing is behind it any more"


@dataclass(frozen=True)
class SetLink:
    namespace: str
    link: Link

    def __str__(self) -> str:
        return f"{at(self.namespace)}: set {self.link}"


@dataclass(frozen=True)
class CreateWireGuard:
    namespace: str
    link: Link

    def __str__(self) -> str:
        return f"{at(self.namespace)}: create WireGuard device {self.link.name}, its socket on the node"


@dataclass(frozen=True)
class ConfigureWireGuard:
    namespace: str
    device: str
    change: WireGuardChange

    def __str__(self) -> str:
        return f"{at(self.namespace)}: configure WireGuard device {self.device}: {self.change}"


@dataclass(frozen=True)
class RemoveWireGuard:
    namespace: str
    device: str

    def __str__(self) -> str:
        return f"{at(self.namespace)}: remove WireGuard device {self.device}"


@dataclass(frozen=True)
class StartDaemon:
    daemon: Daemon

    def __str__(self) -> str:
        return f"{at(self.daemon.namespace)}: start {self.daemon}"


@dataclass(frozen=True)
class StopDaemon:
    daemon: Daemon

    def __str__(self) -> str:
        return f"{at(self.daemon.namespace)}: stop {self.daemon}"


Step = (
    WriteFile
    | RemoveFile
    | CreateNamespace
    | RemoveNamespace
    | SetSysctl
    | Add
    | ReplaceRoute
    | Remove
    | ReplaceSets
    | RemoveSets
    | ReplaceChains
    | RemoveChains
    | ChangeBridge
    | RemovePorts
    | RemoveBridge
    | Replug
    | MoveLink
    | RemoveDeadLink
    | SetLink
    | CreateWireGuard
    | ConfigureWireGuard
    | RemoveWireGuard
    | StartDaemon
    | StopDaemon
)


def _listed(items: frozenset[IpSet] | frozenset[Chain]) -> str:
    return ", ".join(sorted(map(str, items)))
