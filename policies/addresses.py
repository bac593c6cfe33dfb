"""Derive the addressing plan from a policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from operator import attrgetter

from policies.functions import addresses, functions
from policies.model import Gateway, PrivacyRouter, XrayClient
from policies.shares import client_shares
from topology.plan import AddressPlan, Hop, HopKind, MeshSocket, container_namespace, subnet_address

_TARGET, _FUNCTION = attrgetter("target_socket"), attrgetter("function")


def address_plan(policy: PrivacyRouter, owned: Mapping[str, tuple[str, ...]] | None = None) -> AddressPlan:
    """The plan of a validated policy (container ids fit the chain subnet).

    ``owned``: the addresses of its mesh sockets, where they are known already (``policies.functions.addresses``).
    """
    owned = addresses(policy, functions(policy)) if owned is None else owned
    return AddressPlan(chain_hops(policy), _mesh(policy, owned))


def chain_hops(policy: PrivacyRouter) -> tuple[Hop, ...]:
    """The enabled hops, in the order gateways, warp, xrays."""
    return tuple(_hops(policy))


def _hops(policy: PrivacyRouter) -> Iterator[Hop]:
    """A hop beside the first of its kind has its container's number in its title, so that people can tell them."""
    for gateway, clients in zip(policy.gateways, policy.client_subnets, strict=True):
        if gateway.enabled:
            more = "" if gateway is policy.wireguard else f" {gateway.container_id}"
            yield replace(_of_container(policy, "gateway", f"WireGuard gateway{more}", gateway), clients=clients)
    if policy.warp.enabled:
        address = subnet_address(policy.chain.subnet, 1)
        yield Hop("warp", "WARP tunnel", policy.warp.interface, policy.warp.namespace, address)
    shares = client_shares(policy)
    for xray in policy.xrays:
        if xray.enabled:
            more = "" if xray is policy.xray else f" {xray.container_id}"
            hop = _of_container(policy, "xray", f"Xray client{more}", xray)
            yield replace(hop, shares=shares[xray.socket_port])


def _of_container(policy: PrivacyRouter, kind: HopKind, title: str, hop: Gateway | XrayClient) -> Hop:
    address = subnet_address(policy.chain.subnet, hop.container_id)
    return Hop(kind, title, hop.socket_port, container_namespace(hop.container_id), address)


def _mesh(policy: PrivacyRouter, owned: Mapping[str, tuple[str, ...]]) -> tuple[MeshSocket, ...]:
    backwards = policy.openflow.function_routing[::-1]  # what comes first stands
    served = dict(zip(map(_TARGET, backwards), map(_FUNCTION, backwards), strict=True))
    length = policy.netmaker.subnet.prefixlen
    return tuple(
        MeshSocket(
            socket.name,
            socket.container_id,
            container_namespace(socket.container_id),
            served.get(socket.name),
            owned.get(socket.name, ()),
            length,
        )
        for socket in policy.socket_networking.mesh_sockets
    )
