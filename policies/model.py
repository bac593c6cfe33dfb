"""The switch document (``privacy_router``) as frozen values, one class per JSON object.

Every key of the document has a field of the same name. Defaults stand here and nowhere else.
``policies.load`` makes these from text; nothing in this module reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Literal, NamedTuple

NetworkType = Literal["privacy", "mesh"]


class Place(NamedTuple):
    """Where a value stands: file, line (from 1) and dotted path in the document."""

    file: str
    line: int
    path: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path}"


NOWHERE = Place("(made by hand)", 0, "")


class Target(NamedTuple):
    """What listens, or says that nobody does: an address of another machine, and a TCP port."""

    address: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}" if self.address.version == 4 else f"[{self.address}]:{self.port}"


@dataclass(frozen=True)
class Gateway:
    """A gateway hop: a WireGuard server in a container, reached by its clients."""

    enabled: bool = True
    container_id: int = 100
    socket_port: str = "internal_100"
    zero_config: bool = True
    listen_port: int = 51820
    device: str = "wg100"  # default: "wg<container_id>"
    endpoint: str | None = None  # host clients dial; None: the address of the node's default route
    dns: tuple[IPv4Address, ...] = (IPv4Address("9.9.9.9"),)  # written into client profiles


@dataclass(frozen=True)
class FurtherGateway(Gateway):
    """A gateway beside the first, with clients of its own."""

    client_subnet: IPv4Network = field(kw_only=True)  # as chain.client_subnet is for the first; it is .1 there
    place: Place = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True)
class WireGuard(Gateway):
    """The first gateway. ``further`` ones take from it what they leave open."""

    further: tuple[FurtherGateway, ...] = ()


@dataclass(frozen=True)
class Warp:
    """The WARP hop: the hub of the chain, with the wgcf WireGuard device behind its switch port."""

    enabled: bool = True
    interface: str = "warp0"  # the switch port
    wgcf_config: str | None = None  # None: "wgcf-profile.conf" in the configuration directory
    device: str = "wgcf"  # the WireGuard device
    namespace: str = "warp"
    ports: tuple[int, ...] = ()  # further UDP ports of the endpoint, tried in turn when its own is dead
    probe: Target | None = None  # what has to answer through the tunnel; None: handshakes tell


@dataclass(frozen=True)
class XrayClient:
    """An Xray (VLESS over TLS) client hop."""

    enabled: bool = True
    container_id: int = 101
    socket_port: str = "internal_101"
    socks_port: int = 1080  # SOCKS5 on loopback inside the container
    tproxy_port: int = 12345  # where TPROXY delivers the clients' packets
    vps_address: str = ""
    vps_port: int = 443


@dataclass(frozen=True)
class FurtherXray(XrayClient):
    """An Xray client beside the first: they share the clients (``policies.shares``)."""

    place: Place = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True)
class Xray(XrayClient):
    """The first Xray client. ``further`` ones take from it what they leave open."""

    further: tuple[FurtherXray, ...] = ()


@dataclass(frozen=True)
class Vps:
    """The operator's server; must agree with ``xray.vps_address`` and ``xray.vps_port``."""

    xray_server: str = ""
    xray_port: int = 443


@dataclass(frozen=True)
class Socket:
    """A switch port that is plugged into a container."""

    name: str
    container_id: int
    port_type: NetworkType
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class SocketNetworking:
    enabled: bool = True
    network_type: NetworkType = "privacy"
    privacy_sockets: tuple[Socket, ...] = ()
    mesh_sockets: tuple[Socket, ...] = ()


@dataclass(frozen=True)
class PrivacyFlow:
    """A flow entry of the document: ``match_fields`` are normalised ovs-fields(7) names -> text.

    ``actions`` are kept as ovs-ofctl text, each one checked ("output:warp0", "drop", ...).
    """

    priority: int
    match_fields: tuple[tuple[str, str], ...]
    actions: tuple[str, ...]
    description: str | None = None
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class FunctionRoute:
    """Packets that match go to the socket of the container that serves the function."""

    function: str
    target_socket: str
    match_fields: tuple[tuple[str, str], ...]
    priority: int = 90
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class OpenFlow:
    enabled: bool = True
    privacy_flows: tuple[PrivacyFlow, ...] = ()
    function_routing: tuple[FunctionRoute, ...] = ()
    foreign_flows: Literal["remove", "keep"] = "remove"  # entries of others in the tables of this program
    controller: str = "tcp:127.0.0.1:6653"  # where the bridge finds its controller


@dataclass(frozen=True)
class Netmaker:
    enabled: bool = True
    interface: str = "nm-privacy"  # the switch port
    network_name: str = "privacy-mesh"
    per_node_interface: bool = True
    node_id: str | None = None  # when set and no interface is named, the interface is "nm-<node_id>"
    device: str = "netmaker"  # the layer 3 WireGuard device that Netmaker makes
    subnet: IPv4Network = IPv4Network("100.104.70.0/24")
    mesh_address: IPv4Address | None = None  # this node's own; None: what the device has


@dataclass(frozen=True)
class Container:
    id: int
    name: str
    container_type: str  # the function it serves
    socket_port: str
    network_type: NetworkType
    address: IPv4Address | None = None  # of a mesh container, in netmaker.subnet; None: that of its function
    place: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Chain:
    """Addresses of the chain. Keys of our own (``chain``) that the document may leave out."""

    subnet: IPv4Network = IPv4Network("10.99.0.0/24")  # host part = container id, WARP hop = .1
    client_subnet: IPv4Network = IPv4Network("10.100.0.0/24")  # gateway = .1
    ipv6: Literal["drop"] = "drop"


@dataclass(frozen=True)
class PrivacyRouter:
    """One whole policy document."""

    bridge_name: str = "ovsbr0"
    wireguard: WireGuard = WireGuard()
    warp: Warp = Warp()
    xray: Xray = Xray()
    vps: Vps = Vps()
    socket_networking: SocketNetworking = SocketNetworking()
    openflow: OpenFlow = OpenFlow()
    netmaker: Netmaker = Netmaker()
    containers: tuple[Container, ...] = ()
    chain: Chain = Chain()
    datapath_id: int | None = None  # of the bridge; None: Open vSwitch's own choice
    source: str = field(default="", compare=False)  # the file it came from

    @property
    def gateways(self) -> tuple[Gateway, ...]:
        """All of them, enabled or not, the first one first."""
        return self.wireguard, *self.wireguard.further

    @property
    def xrays(self) -> tuple[XrayClient, ...]:
        """All of them, enabled or not, the first one first."""
        return self.xray, *self.xray.further

    @property
    def client_subnets(self) -> tuple[IPv4Network, ...]:
        """Of each of the gateways."""
        return self.chain.client_subnet, *(gateway.client_subnet for gateway in self.wireguard.further)

    def with_routes(self, routes: tuple[FunctionRoute, ...]) -> PrivacyRouter:
        """The same but for its function routes."""
        return replace(self, openflow=replace(self.openflow, function_routing=routes))
