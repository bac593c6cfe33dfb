"""All of a host: its bridge, its network namespaces, files and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from host_agent.state.filtering import Chain, IpSet, merged
from host_agent.state.names import LAST_PREFERENCE, MAIN_TABLE, NAMESPACE_NAME, NODE, checked
from host_agent.state.routing import Address, Block, Link, Route, Rule, Sysctl
from host_agent.state.wireguard import WireGuardDevice


@dataclass(frozen=True)
class NamespaceState:
    created: bool = False  # wanted: create it if no container has it; actual: it carries our mark
    links: frozenset[Link] = frozenset()
    addresses: frozenset[Address] = frozenset()
    routes: frozenset[Route] = frozenset()
    rules: frozenset[Rule] = frozenset()
    blocks: frozenset[Block] = frozenset()
    sysctls: frozenset[Sysctl] = frozenset()
    sets: frozenset[IpSet] = frozenset()
    chains: frozenset[Chain] = frozenset()
    wireguard: frozenset[WireGuardDevice] = frozenset()

    @property
    def marked(self) -> frozenset[Rule]:
        """The ip rules that ask for a mark. For a mark that our chains set and none of ours asks for: main's."""
        ours = frozenset(rule for rule in self.rules if rule.mask)
        masks = {rule.mask for rule in ours}
        others = {(*mark, chain.family) for chain in self.chains for mark in chain.marks if mark[1] not in masks}
        return ours | {Rule(LAST_PREFERENCE, MAIN_TABLE, None, None, *mark) for mark in others}

    def __or__(self, other: NamespaceState) -> NamespaceState:
        both = NamespaceState(*(getattr(self, it.name) | getattr(other, it.name) for it in fields(self)))
        return replace(both, chains=merged(self.chains, other.chains))


@dataclass(frozen=True)
class Bridge:
    """An OVS bridge; ``ports`` are those we keep on it: internal ones, and ``adopted`` Ethernet devices of others."""

    name: str
    datapath_type: Literal["system", "netdev"]
    ports: frozenset[str] = frozenset()
    fail_mode: str = "secure"
    protocols: tuple[str, ...] = ("OpenFlow13",)
    controller: str = "tcp:127.0.0.1:6653"
    max_backoff: int = 1000  # milliseconds between attempts to reach the controller
    connection_mode: str = "out-of-band"
    disable_in_band: bool = True
    datapath_id: int | None = None  # None: Open vSwitch's own choice
    adopted: frozenset[str] = field(default=frozenset(), compare=False)
    mesh: frozenset[str] = field(default=frozenset(), compare=False)  # those that share MESH_ETHERNET

    def __post_init__(self) -> None:
        for name in (self.name, *self.ports):
            checked(name)


@dataclass(frozen=True)
class File:
    path: str
    content: bytes = field(repr=False)
    mode: int = 0o600

    def __str__(self) -> str:
        return f"file {self.path}"


REPLACED = " (replaced)"  # ending of a program that runs, but whose file is another by now


@dataclass(frozen=True)
class Daemon:
    """A process: who it is stands in its command line and its network namespace."""

    name: str
    argv: tuple[str, ...]
    namespace: str
    log: str = field(default="", compare=False)
    port: int | None = field(default=None, compare=False)  # it is ready when it listens here (TCP)

    @property
    def command(self) -> tuple[str, ...]:
        """Its command line, also if another program file has taken the place of the one that runs."""
        return (self.argv[0].removesuffix(REPLACED), *self.argv[1:])

    def __str__(self) -> str:
        return f"{self.name} ({self.argv[0]})"


@dataclass(frozen=True)
class Stranger:
    """Somebody else's object where we want one of ours. ``advice`` says what the operator can do."""

    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what} is not ours; {self.advice}"


# How a remark begins that is none of waiting.
DEGRADED, NOTE = "degraded: ", "note: "


@dataclass(frozen=True)
class HostState:
    bridges: frozenset[Bridge] = frozenset()
    namespaces: Mapping[str, NamespaceState] = field(default_factory=dict)
    files: frozenset[File] = frozenset()
    daemons: frozenset[Daemon] = frozenset()
    waiting: tuple[str, ...] = ()  # remarks: what waits for something, is degraded, or should be known
    strangers: frozenset[Stranger] = frozenset()
    swept: frozenset[str] = field(default=frozenset(), compare=False)  # glob(7): of these files, only the wanted

    def namespace(self, name: str) -> NamespaceState:
        """Its state; an empty one if nothing of ours is wanted, or was found, in it."""
        return self.namespaces.get(name, NamespaceState())

    def changed(
        self, other: HostState, between: Callable[[NamespaceState, NamespaceState], NamespaceState | None]
    ) -> HostState | None:
        """With what is made of each namespace, as it is here and as it is there; None if nothing is made of any."""
        made = {name: between(state, other.namespace(name)) for name, state in self.namespaces.items()}
        changed = {name: state for name, state in made.items() if state is not None}
        return replace(self, namespaces={**self.namespaces, **changed}) if changed else None


def combine(parts: Iterable[HostState]) -> HostState:
    """The union of what several roles want."""
    whole = HostState()
    for part in parts:
        namespaces = dict(whole.namespaces)
        for name, state in part.namespaces.items():
            if name != NODE:
                checked(name, NAMESPACE_NAME)
            namespaces[name] = namespaces.get(name, NamespaceState()) | state
        whole = HostState(
            whole.bridges | part.bridges,
            namespaces,
            whole.files | part.files,
            whole.daemons | part.daemons,
            whole.waiting + part.waiting,
            whole.strangers | part.strangers,
            whole.swept | part.swept,
        )
    return whole
