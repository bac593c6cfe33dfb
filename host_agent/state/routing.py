"""Links, their addresses, routes, ip rules, IPsec policies and kernel settings."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

from host_agent.prefixes import Family
from host_agent.state.names import FAMILY_OPTION, MAIN_TABLE, checked

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network
EVERY_IPV4, EVERY_IPV6 = IPv4Network("0.0.0.0/0"), IPv6Network("::/0")


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

    @property
    def words(self) -> str:
        """As ip(8) takes it."""
        return f"{self.interface} dev {self.link}"

    def __str__(self) -> str:
        return f"address {self.words}"


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

    @property
    def words(self) -> str:
        """As ip(8) takes it."""
        words: list[str] = [] if self.kind == "unicast" else [self.kind]
        words.append("default" if self.destination.prefixlen == 0 else str(self.destination))
        words += ["via", str(self.via)] if self.via else []
        words += ["dev", self.link] if self.link else []
        words += ["table", table_name(self.table)]
        words += ["metric", str(self.metric)] if self.metric else []
        return " ".join(words)

    def __str__(self) -> str:
        return f"route {self.words}{' (IPv6)' if self.destination == EVERY_IPV6 else ''}"


def table_name(table: int) -> str:
    """As ip(8) says it."""
    return "main" if table == MAIN_TABLE else str(table)


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
    outgoing: str | None = None  # of packets whose sender is bound to this interface; others have none yet

    @property
    def words(self) -> str:
        """As ip(8) takes it."""
        words = ["pref", str(self.priority)]
        words += ["iif", self.incoming] if self.incoming else []
        words += ["oif", self.outgoing] if self.outgoing else []
        words += ["from", str(self.source)] if self.source else []
        words += ["fwmark", f"{self.mark:#x}/{self.mask:#x}"] if self.mask else []
        return " ".join([*words, "lookup", table_name(self.table)] if self.table else [*words, "prohibit"])

    def __str__(self) -> str:
        return f"ip{FAMILY_OPTION[self.family]} rule {self.words}"


@dataclass(frozen=True)
class Block:
    """An IPsec policy (ip-xfrm(8)) that drops what comes from here without any mark. It is none of netfilter's."""

    source: IPNetwork
    queries: Literal["", "udp", "tcp"] = ""  # for names, to this machine; else all that is forwarded

    @property
    def words(self) -> str:
        """As ip(8) takes it, but for the mark."""
        everywhere = EVERY_IPV4 if self.source.version == 4 else EVERY_IPV6
        what = f"proto {self.queries} dport 53 dir in" if self.queries else "dir fwd"
        return f"src {self.source} dst {everywhere} {what} action block"

    def __str__(self) -> str:
        return f"xfrm policy {self.words} mark 0"


@dataclass(frozen=True)
class Sysctl:
    """A kernel setting of a network namespace; ``key`` is its path below /proc/sys."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"sysctl {self.key}={self.value}"
