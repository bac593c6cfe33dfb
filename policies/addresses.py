"""Derive the addressing plan from a policy."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface

from policies.functions import addresses, destination, functions
from policies.model import PrivacyRouter
from topology.plan import AddressPlan, Hop, MeshSocket, container_namespace, subnet_address

__all__ = ["address_plan", "destination"]


def address_plan(policy: PrivacyRouter, owned: Mapping[str, tuple[IPv4Address, ...]] | None = None) -> AddressPlan:
    """The plan of a validated policy (container ids fit the chain subnet).

    ``owned``: the addresses of its mesh sockets, where they are known already (``policies.functions.addresses``).
    """
    owned = addresses(policy, functions(policy)) if owned is None else owned
    return AddressPlan(_hops(policy), _mesh(policy, owned), subnet_address(policy.chain.client_subnet, 1))


def _hops(policy: PrivacyRouter) -> tuple[Hop, ...]:
    subnet = policy.chain.subnet
    hops: list[Hop] = []
    if policy.wireguard.enabled:
        number = policy.wireguard.container_id
        hops.append(
            Hop(
                "gateway",
                "WireGuard gateway",
                policy.wireguard.socket_port,
                container_namespace(number),
                subnet_address(subnet, number),
            )
        )
    if policy.warp.enabled:
        hops.append(Hop("warp", "WARP tunnel", policy.warp.interface, policy.warp.namespace, subnet_address(subnet, 1)))
    if policy.xray.enabled:
        number = policy.xray.container_id
        hops.append(
            Hop(
                "xray",
                "Xray client",
                policy.xray.socket_port,
                container_namespace(number),
                subnet_address(subnet, number),
            )
        )
    return tuple(hops)


def _mesh(policy: PrivacyRouter, owned: Mapping[str, tuple[IPv4Address, ...]]) -> tuple[MeshSocket, ...]:
    served: dict[str, str] = {}
    for route in policy.openflow.function_routing:
        served.setdefault(route.target_socket, route.function)
    length = policy.netmaker.subnet.prefixlen
    interfaces = {
        socket: tuple(IPv4Interface((address, length)) for address in given) for socket, given in owned.items()
    }
    return tuple(
        MeshSocket(
            socket.name,
            socket.container_id,
            container_namespace(socket.container_id),
            served.get(socket.name),
            interfaces[socket.name][0] if socket.name in interfaces else None,
            interfaces.get(socket.name, ())[1:],
        )
        for socket in policy.socket_networking.mesh_sockets
    )
