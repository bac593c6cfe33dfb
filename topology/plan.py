"""The addressing plan: which hop, socket and container has which address and namespace.

These are the values both sides share: the switch side and the host side never import each other,
yet must agree on every port name, namespace and address. ``policies.addresses`` derives the plan
from a policy. Rules (docs/architecture.md): in the chain subnet the host part is the container id
and the WARP hop is .1; in its clients' subnet a gateway is .1; a mesh container has the address
its function route names.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Literal

HopKind = Literal["gateway", "warp", "xray"]
HOP_KINDS: tuple[HopKind, ...] = ("gateway", "warp", "xray")


@dataclass(frozen=True)
class Share:
    """The addresses that have these values in the bits of the mask. No bit of the value is outside the mask."""

    value: int
    mask: int

    def __str__(self) -> str:
        """As ovs-fields(7) and iptables(8) write it: the mask by its length if it has one; none if it is whole."""
        ones = self.mask.bit_count()
        if self.mask != 0xFFFFFFFF << 32 - ones & 0xFFFFFFFF:
            return f"{IPv4Address(self.value)}/{IPv4Address(self.mask)}"
        return f"{IPv4Address(self.value)}" + (f"/{ones}" if ones < 32 else "")

    def __contains__(self, address: IPv4Address) -> bool:
        return int(address) & self.mask == self.value


@dataclass(frozen=True)
class Hop:
    """One hop of the privacy chain: a network namespace with one switch port."""

    kind: HopKind
    title: str  # for people: "WireGuard gateway", "WARP tunnel", "Xray client"
    port: str  # the switch port (an OVS internal port)
    namespace: str  # name of the network namespace
    address: IPv4Interface  # address of the port, with the chain subnet's prefix length
    clients: IPv4Network | None = None  # of a gateway: its clients' subnet
    shares: tuple[Share, ...] = ()  # of an Xray: the clients whose packets it takes, of every gateway


@dataclass(frozen=True)
class MeshSocket:
    """A mesh container's switch port. It has no address when neither its container nor a function names one."""

    port: str
    container_id: int
    namespace: str
    function: str | None
    addresses: tuple[str, ...] = ()  # its own first; kept as text: there may be 100,000
    prefix_length: int = 32

    @property
    def address(self) -> IPv4Interface | None:
        """Its own."""
        return self._interface(self.addresses[0]) if self.addresses else None

    @property
    def services(self) -> tuple[IPv4Interface, ...]:
        """Further addresses that it speaks with, those of other functions. Back ends of one function share one."""
        return tuple(map(self._interface, self.addresses[1:]))

    def _interface(self, address: str) -> IPv4Interface:
        return IPv4Interface((address, self.prefix_length))


@dataclass(frozen=True)
class AddressPlan:
    hops: tuple[Hop, ...]  # the enabled hops, in the order gateways, warp, xrays
    mesh: tuple[MeshSocket, ...]

    def of(self, kind: HopKind) -> tuple[Hop, ...]:
        return tuple(hop for hop in self.hops if hop.kind == kind)

    @property
    def warp(self) -> Hop | None:
        """The hub. There is one at most."""
        return next(iter(self.of("warp")), None)

    @property
    def stages(self) -> tuple[tuple[Hop, ...], ...]:
        """The hops that the chain has one behind the other; those of one stage stand side by side."""
        return tuple(stage for stage in map(self.of, HOP_KINDS) if stage)

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
