"""Derive the addressing plan from a policy."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

from policies.model import FunctionRoute, PrivacyRouter
from topology.plan import AddressPlan, Hop, MeshSocket, container_namespace, subnet_address


def destination(route: FunctionRoute) -> IPv4Address | None:
    """The single IPv4 address that a function route matches on, if it matches on one."""
    text = dict(route.match_fields).get("nw_dst", "")
    address, _, length = text.partition("/")
    try:
        return IPv4Address(address) if length in ("", "32", "255.255.255.255") else None
    except ValueError:
        return None


def address_plan(policy: PrivacyRouter) -> AddressPlan:
    """The plan of a validated policy (container ids fit the chain subnet)."""
    return AddressPlan(_hops(policy), _mesh(policy), subnet_address(policy.chain.client_subnet, 1))


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


def _mesh(policy: PrivacyRouter) -> tuple[MeshSocket, ...]:
    routes: dict[str, FunctionRoute] = {}
    for route in policy.openflow.function_routing:
        routes.setdefault(route.target_socket, route)
    sockets = []
    for socket in policy.socket_networking.mesh_sockets:
        served = routes.get(socket.name)
        address = destination(served) if served else None
        sockets.append(
            MeshSocket(
                socket.name,
                socket.container_id,
                container_namespace(socket.container_id),
                served.function if served else None,
                IPv4Interface((address, policy.netmaker.subnet.prefixlen)) if address else None,
            )
        )
    return tuple(sockets)
