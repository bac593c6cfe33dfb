"""The state of a host as frozen values: what is wanted and what is there have the same type.

Only objects of ours are in an actual state. A freshly started agent knows them by a mark on the machine:

* network namespaces by the alias of their loopback link, links by their alias, OVS rows by an external id,
* ip rules and routes by their protocol number,
* sets by the low bits of their capacity, chains by name, rules in shared chains by their comment,
* processes by a variable of their environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

from host_agent.prefixes import Family as Family  # a name of this module, too
from host_agent.prefixes import Prefixes, Seal

OWNER = "privacy-router"  # alias of links, key of external ids, start of comments
PROTOCOL = 80  # "protocol" of our ip rules and routes, see /etc/iproute2/rt_protos
# Entries decide by IP address alone, so all mesh ports can have one Ethernet address. When a container moves to another
# node, what its callers have in their ARP tables stays true.
MESH_ETHERNET = "02:50:52:6d:65:73"
# An ip rule of the node with this preference says that we switched on forwarding for its incoming interface.
FORWARDING_PREFERENCE = 240
NODE = ""  # the namespace the agent runs in; a name of /run/netns is never empty
MAIN_TABLE = 254
EVERY_IPV6 = IPv6Network("::/0")
LAST_METRIC = 4278198272  # behind every other route, as wg-quick and systemd-networkd number a last resort

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")  # a Linux link name, narrower than the kernel's rule
NAMESPACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")  # a file name in /run/netns
IPSET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}")

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network


Placement = Literal["top", "after interface marks"]


FAMILY_OPTION: dict[Family, str] = {"ipv4": "", "ipv6": " -6"}  # of ip(8)


def checked(name: str, pattern: re.Pattern[str] = NAME) -> str:
    """The name, if the kernel and the tools' input formats can take it as nothing but a name."""
    if not pattern.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a kernel object")
    return name


@dataclass(frozen=True)
class Secret:
    """A key: never in a repr, a message or a diff."""

    text: str = field(repr=False)


@dataclass(frozen=True)
class Link:
    name: str
    kind: Literal["socket", "wireguard"]  # a socket is an OVS internal port
    mtu: int | None = None  # bytes; None: whatever it is
    up: bool = True
    alive: bool = True  # False: the program behind it has ended, as after a restart of ovs-vswitchd

    def __post_init__(self) -> None:
        checked(self.name)

    def __str__(self) -> str:
        size = "" if self.mtu is None else f" mtu {self.mtu}"
        return f"link {self.name}{size} {'up' if self.up else 'down'}"


@dataclass(frozen=True)
class Address:
    link: str
    interface: IPInterface

    def __str__(self) -> str:
        return f"address {self.interface} dev {self.link}"


@dataclass(frozen=True)
class Route:
    destination: IPNetwork
    kind: Literal["unicast", "unreachable", "local"] = "unicast"
    link: str | None = None
    via: IPAddress | None = None
    table: int = MAIN_TABLE
    metric: int = 0

    @property
    def key(self) -> tuple[int, IPNetwork, int]:
        """What the kernel holds at most one of: table, destination, metric."""
        return (self.table, self.destination, self.metric)

    def __str__(self) -> str:
        words = ["route"] if self.kind == "unicast" else ["route", self.kind]
        words.append("default" if self.destination.prefixlen == 0 else str(self.destination))
        words += ["(IPv6)"] if self.destination == EVERY_IPV6 else []
        words += ["via", str(self.via)] if self.via else []
        words += ["dev", self.link] if self.link else []
        words += ["table", "main" if self.table == MAIN_TABLE else str(self.table)]
        words += ["metric", str(self.metric)] if self.metric else []
        return " ".join(words)


@dataclass(frozen=True)
class Rule:
    """An ip rule (ip-rule(8)): which routing table a packet is looked up in, or (table 0) that it is prohibited."""

    priority: int
    table: int
    incoming: str | None = None
    source: IPv4Network | None = None
    mark: int = 0
    mask: int = 0
    family: Family = "ipv4"

    def __str__(self) -> str:
        words = ["ip rule pref" if self.family == "ipv4" else "ip -6 rule pref", str(self.priority)]
        words += ["iif", self.incoming] if self.incoming else []
        words += ["from", str(self.source)] if self.source else []
        words += ["fwmark", f"{self.mark:#x}/{self.mask:#x}"] if self.mask else []
        return " ".join([*words, "lookup", str(self.table)] if self.table else [*words, "prohibit"])


@dataclass(frozen=True)
class Sysctl:
    """A kernel setting of a network namespace; ``key`` is its path below /proc/sys."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"sysctl {self.key}={self.value}"


@dataclass(frozen=True, eq=False)
class IpSet:
    """A set of type hash:net, ipset(8). Equal are two whose seals are: of one that was read there may be no more."""

    name: str
    family: Family
    prefixes: Prefixes | Seal = field(repr=False)

    def __post_init__(self) -> None:
        checked(self.name, IPSET_NAME)
        if isinstance(self.prefixes, Prefixes) and self.prefixes.family != self.family:
            raise ValueError(f"{self.prefixes.family} prefixes for the {self.family} set {self.name}")

    @property
    def seal(self) -> Seal:
        return self.prefixes if isinstance(self.prefixes, Seal) else self.prefixes.seal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IpSet) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, Family, Seal]:
        return (self.name, self.family, self.seal)

    def __str__(self) -> str:
        return f"ipset {self.name} ({self.seal.count} entries)"


@dataclass(frozen=True)
class FilterRule:
    """A rule of iptables(8). iptables-save does not print what was given, so a rule's identity is a digest that
    it carries in its comment; a rule of somebody else has none."""

    arguments: str = field(compare=False)  # what follows "-A CHAIN"
    digest: str
    placement: Placement = "top"  # in a shared chain


def filter_rule(arguments: str, note: str = "", placement: Placement = "top") -> FilterRule:
    """The rule with its comment. The text goes into restore input, where a line break would begin another rule."""
    if not (arguments + note).isprintable() or '"' in note:
        raise ValueError(f"not one plain line: {arguments!r} {note!r}")
    digest = sha256(arguments.encode()).hexdigest()[:12]
    words = [OWNER, digest, note if placement == "top" else placement]
    comment = " ".join(words).rstrip()
    return FilterRule(f'{arguments} -m comment --comment "{comment}"', digest, placement)


@dataclass(frozen=True)
class Chain:
    """An own chain with all its rules, or a shared (built-in) chain with the rules we keep in it.

    Those stand at its top, or right behind the last rule by which the system marks what comes in by an interface.
    """

    family: Family
    table: str
    name: str
    rules: tuple[FilterRule, ...]
    system: int = field(default=0, compare=False)  # read: how many rules of others end with the last such one

    @property
    def shared(self) -> bool:
        return self.name in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")

    @property
    def key(self) -> tuple[Family, str, str]:
        return (self.family, self.table, self.name)

    def __str__(self) -> str:
        tool = "iptables" if self.family == "ipv4" else "ip6tables"
        return f"{tool} {self.table} {self.name} ({len(self.rules)} rules)"


@dataclass(frozen=True)
class Endpoint:
    address: IPAddress
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}" if self.address.version == 4 else f"[{self.address}]:{self.port}"


@dataclass(frozen=True)
class Peer:
    public_key: str
    preshared_key: Secret | None = None
    allowed_ips: frozenset[IPNetwork] = frozenset()
    endpoints: tuple[Endpoint, ...] = ()  # wanted: any of these will do, the first is set; none: let it roam
    keepalive: int = 0  # seconds; 0: off


@dataclass(frozen=True)
class WireGuardDevice:
    name: str
    private_key: Secret
    listen_port: int | None = None  # None: any
    peers: frozenset[Peer] = frozenset()


@dataclass(frozen=True)
class NamespaceState:
    created: bool = False  # wanted: create it if no container has it; actual: it carries our mark
    links: frozenset[Link] = frozenset()
    addresses: frozenset[Address] = frozenset()
    routes: frozenset[Route] = frozenset()
    rules: frozenset[Rule] = frozenset()
    sysctls: frozenset[Sysctl] = frozenset()
    sets: frozenset[IpSet] = frozenset()
    chains: frozenset[Chain] = frozenset()
    wireguard: frozenset[WireGuardDevice] = frozenset()

    def __or__(self, other: NamespaceState) -> NamespaceState:
        return NamespaceState(
            self.created or other.created,
            self.links | other.links,
            self.addresses | other.addresses,
            self.routes | other.routes,
            self.rules | other.rules,
            self.sysctls | other.sysctls,
            self.sets | other.sets,
            self.chains | other.chains,
            self.wireguard | other.wireguard,
        )


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


@dataclass(frozen=True)
class Daemon:
    """A process: who it is stands in its command line and its network namespace."""

    name: str
    argv: tuple[str, ...]
    namespace: str
    log: str = field(default="", compare=False)
    port: int | None = field(default=None, compare=False)  # it is ready when it listens here (TCP)

    def __str__(self) -> str:
        return f"{self.name} ({self.argv[0]})"


@dataclass(frozen=True)
class Stranger:
    """Somebody else's object where we want one of ours. ``advice`` says what the operator can do."""

    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what} is not ours; {self.advice}"


@dataclass(frozen=True)
class HostState:
    bridges: frozenset[Bridge] = frozenset()
    namespaces: Mapping[str, NamespaceState] = field(default_factory=dict)
    files: frozenset[File] = frozenset()
    daemons: frozenset[Daemon] = frozenset()
    waiting: tuple[str, ...] = ()  # wanted, but for something that is not there yet
    strangers: frozenset[Stranger] = frozenset()

    @property
    def ports(self) -> frozenset[str]:
        return frozenset(port for bridge in self.bridges for port in bridge.ports)


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
        )
    return whole
