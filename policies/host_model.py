"""The host document (``xray``, ``tunnel_director``, ``advanced``) as frozen values. Defaults stand here only.

It says which clients of the LAN go by Xray, which by a tunnel, and what is exempt. Key names and values are those
of the document's own ``vpn-director.json``; what it has no words for (``kill_switch``, ``ipv6``, ``dns``, ``quic``,
``failover``, ``probe``, ``order``, ``advanced.lan``, ``advanced.dns``) is ours and may be left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from policies.model import NOWHERE, Place, PrivacyRouter, Target

Network = IPv4Network | IPv6Network
_QUAD9_IPV6 = IPv6Address("2620:fe::fe")
MAIN = "main"  # the tunnel that is none: an explicit exemption


@dataclass(frozen=True, order=True)
class Mac:
    """A client known by its link layer address, for both families: it cannot have an address nobody listed."""

    text: str  # aa:bb:cc:dd:ee:ff, lower case

    def __str__(self) -> str:
        return self.text


Client = IPv4Network | IPv6Network | Mac


@dataclass(frozen=True)
class Treatment:
    """What becomes of the traffic of a group's clients that its tunnel or proxy does not simply carry."""

    kill_switch: bool = True  # what cannot be carried is refused; off: it goes on as if the group were not there
    ipv6: Literal["tunnel", "block", "bypass"] = "tunnel"  # blocked where the tunnel has none
    dns: Literal["hijack", "tunnel", "bypass"] = "hijack"  # queries to the router itself, too
    quic: Literal["proxy", "reject"] = "proxy"


@dataclass(frozen=True)
class XrayGroup:
    """Clients that Xray carries, by TPROXY."""

    clients: tuple[Client, ...] = ()
    servers: tuple[str, ...] = ()  # names and addresses of Xray's servers: never proxied
    exclude_sets: tuple[str, ...] = ()  # countries whose addresses are reached directly
    exclude_ips: tuple[Network, ...] = ()
    treatment: Treatment = Treatment()


@dataclass(frozen=True)
class Tunnel:
    """Clients that a tunnel carries. ``name`` is a routing table of rt_tables, an interface, or ``main``."""

    name: str
    clients: tuple[Client, ...] = ()
    exclude: tuple[str, ...] = ()  # countries
    exclude_ips: tuple[Network, ...] = ()
    failover: tuple[str, ...] = ()  # tunnels to take, in this order, when this one is dead
    probe: tuple[Target, ...] = ()  # what has to answer through the tunnel, one a family; none: what else tells of it
    treatment: Treatment = Treatment()
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class XrayNames:
    """``advanced.xray``."""

    tproxy_port: int = 12345
    socks_port: int = 12346
    route_table: int = 100
    rule_pref: int = 200
    fwmark: int = 0x100
    fwmark_mask: int = 0x100
    chain: str = "XRAY_TPROXY"
    guard: str = "XRAY_GUARD"
    clients_ipset: str = "XRAY_CLIENTS"
    servers_ipset: str = "XRAY_SERVERS"  # later versions: bypass_ipset


@dataclass(frozen=True)
class TunnelNames:
    """``advanced.tunnel_director``. The highest slot is ours: packets that are refused carry its mark."""

    chain: str = "TUN_DIR"
    guard: str = "TUN_GUARD"  # the chain that checks what leaves, and XRAY_GUARD with it
    guard_table: Literal["security", "filter"] = "security"  # filter, for kernels that have no other
    pref_base: int = 16384
    mark_mask: int = 0x00FF0000
    mark_shift: int = 16
    refuse_pref: int = 16383
    judged_mark: int = 0x01000000  # of what the chains have let past; see docs/host.md, "When strangers flush"
    hash_file: str = "/tmp/tunnel_director/tun_dir_rules.sha256"

    @property
    def slots(self) -> int:
        """How many tunnels there can be: slot 0 is "no mark", the last one is for what is refused."""
        return (self.mark_mask >> self.mark_shift) - 1

    def mark(self, slot: int) -> int:
        return slot << self.mark_shift

    @property
    def refused(self) -> int:
        return self.mark_mask


@dataclass(frozen=True)
class Lan:
    """``advanced.lan``: where the clients are."""

    interfaces: tuple[str, ...] = ("br0",)
    subnets: tuple[Network, ...] = ()  # clients lie in these; none given: in any private range
    unnamed_ipv6: Literal["block", "bypass"] = "block"  # hosts that no MAC or IPv6 address names


@dataclass(frozen=True)
class Dns:
    """``advanced.dns``: whom hijacked queries of tunnel clients are sent to, through the tunnel."""

    server: IPv4Address = IPv4Address("9.9.9.9")
    server6: IPv6Address = _QUAD9_IPV6


@dataclass(frozen=True)
class Ipsets:
    """``advanced.ipsets``: where the ranges of countries come from. ``{cc}`` stands for the country code.

    Without an address nothing is downloaded: a third party is asked only if the operator says so.
    """

    zones_dir: str = "/etc/privacy-router/zones"
    urls: tuple[str, ...] = ()
    urls6: tuple[str, ...] = ()
    refresh_hours: int = 24


@dataclass(frozen=True)
class Advanced:
    xray: XrayNames = XrayNames()
    tunnel_director: TunnelNames = TunnelNames()
    lan: Lan = Lan()
    dns: Dns = Dns()
    ipsets: Ipsets = Ipsets()


@dataclass(frozen=True)
class Director:
    """One whole host document. The order of the tunnels is their precedence and decides their marks."""

    xray: XrayGroup = XrayGroup()
    tunnels: tuple[Tunnel, ...] = ()
    paused_clients: tuple[Client, ...] = ()  # for now, they go as if nobody had named them
    advanced: Advanced = Advanced()
    source: str = field(default="", compare=False)


@dataclass(frozen=True)
class Policy:
    """What one document asks of a machine: a chain, a director for the LAN, or both."""

    privacy_router: PrivacyRouter | None = None
    director: Director | None = None
