"""The addressing plan: which hop, socket and container has which address and namespace.

These are the values both sides share: the switch side and the host side never import each other,
yet must agree on every port name, namespace and address. ``policies.addresses`` derives the plan
from a policy. Rules (docs/architecture.md): in the chain subnet the host part is the container id
and the WARP hop is .1; in the client subnet the gateway is .1; a mesh container has the address
its function route names.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from typing import Literal

HopKind = Literal["gateway", "warp", "xray"]


@dataclass(frozen=True)
class Hop:
    """One hop of the privacy chain: a network namespace with one switch port."""

    kind: HopKind
    title: str  # for people: "WireGuard gateway", "WARP tunnel", "Xray client"
    port: str  # the switch port (an OVS internal port)
    namespace: str  # name of the network namespace
    address: IPv4Interface  # address of the port, with the chain subnet's prefix length


@dataclass(frozen=True)
class MeshSocket:
    """A mesh container's switch port. ``address`` is None when neither its container nor a function names one.

    ``services``: further addresses it speaks with, those of other functions; back ends of one function share one.
    """

    port: str
    container_id: int
    namespace: str
    function: str | None
    address: IPv4Interface | None
    services: tuple[IPv4Interface, ...] = ()


@dataclass(frozen=True)
class AddressPlan:
    hops: tuple[Hop, ...]  # the enabled hops, in the order gateway, warp, xray
    mesh: tuple[MeshSocket, ...]
    gateway_client_address: IPv4Interface  # the gateway's address on its WireGuard device

    def hop(self, kind: HopKind) -> Hop | None:
        return next((hop for hop in self.hops if hop.kind == kind), None)

    @property
    def privacy_ports(self) -> tuple[str, ...]:
        return tuple(hop.port for hop in self.hops)

    @property
    def mesh_ports(self) -> tuple[str, ...]:
        return tuple(socket.port for socket in self.mesh)


def container_namespace(container_id: int) -> str:
    """The network namespace of a container that no container runtime answers for."""
    return f"ct{container_id}"


def subnet_address(subnet: IPv4Network, host_part: int) -> IPv4Interface:
    """The address with this host part, keeping the subnet's prefix length."""
    return IPv4Interface((subnet.network_address + host_part, subnet.prefixlen))
