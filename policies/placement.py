"""What one node sees of a policy: which sockets are here, which on other nodes, which nowhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from policies.addresses import address_plan
from policies.functions import Function, addresses, functions
from policies.model import Gateway, PrivacyRouter, XrayClient
from policies.reuse import difference
from topology.nodes import Node, Topology
from topology.plan import AddressPlan

H = TypeVar("H", bound=Gateway | XrayClient)


@dataclass(frozen=True)
class NodeView:
    """``policy`` has only this node's sockets and hops; functions and containers are all there, for their addresses."""

    name: str
    policy: PrivacyRouter
    functions: tuple[Function, ...]
    addresses: Mapping[str, tuple[str, ...]]  # of every mesh socket on any node: its own first
    elsewhere: Mapping[str, str] = field(default_factory=dict)  # mesh socket -> the node that has its container
    absent: Mapping[str, int] = field(default_factory=dict)  # mesh socket -> its container, which no node has

    def same_but_for_functions(self, other: NodeView) -> bool:
        """Whether two versions of a policy differ in their function routes at most."""

        def rest(view: NodeView) -> object:
            return view.policy.with_routes(()), view.elsewhere, view.absent

        return rest(self) == rest(other)

    @cached_property
    def shared_functions(self) -> tuple[Function, ...]:
        """Those with several back ends."""
        return tuple([function for function in self.functions if len(function.targets) > 1])

    @cached_property
    def plan(self) -> AddressPlan:
        """The addresses of this node's hops and sockets."""
        return address_plan(self.policy, self.addresses)


def everything(policy: PrivacyRouter, earlier: NodeView | None = None) -> NodeView:
    """Without a topology one node has every container. What the edit of an ``earlier`` policy left is not made anew."""
    if earlier is None:
        called = functions(policy)
        return NodeView("", policy, called, addresses(policy, called))
    called = functions(policy, earlier.policy.openflow.function_routing, earlier.functions)
    if policy.containers != earlier.policy.containers:
        return NodeView("", policy, called, addresses(policy, called))
    gone, come = difference(earlier.functions, called)
    touched = {target for function in (*gone, *come) for target in function.targets}
    again = addresses(policy, [function for function in called if not touched.isdisjoint(function.targets)])
    owned = {socket: of_socket for socket, of_socket in earlier.addresses.items() if socket not in touched}
    for socket in touched & again.keys():
        known = {address: address for address in earlier.addresses.get(socket, ())}
        owned[socket] = tuple([known.get(address, address) for address in again[socket]])
    return NodeView("", policy, called, owned)


def view_of(policy: PrivacyRouter, topology: Topology, node: Node, whole: NodeView | None = None) -> NodeView:
    """``whole``: what ``everything`` makes of the policy, if that is known already."""
    sockets = policy.socket_networking
    elsewhere, absent = {}, {}
    for socket in sockets.mesh_sockets:
        home = topology.home(socket.container_id)
        if home is None:
            absent[socket.name] = socket.container_id
        elif home.name != node.name:
            elsewhere[socket.name] = home.name
    here = node.containers
    wireguard = replace(_placed(policy.wireguard, here), further=_all_placed(policy.wireguard.further, here))
    xray = replace(_placed(policy.xray, here), further=_all_placed(policy.xray.further, here))
    gateway = any(each.enabled for each in (wireguard, *wireguard.further))
    local = replace(
        policy,
        bridge_name=node.bridge or policy.bridge_name,
        datapath_id=node.datapath_id or policy.datapath_id,
        netmaker=replace(policy.netmaker, mesh_address=node.mesh_address or policy.netmaker.mesh_address),
        wireguard=wireguard,
        warp=replace(policy.warp, enabled=policy.warp.enabled and gateway),
        xray=xray,
        socket_networking=replace(
            sockets,
            privacy_sockets=tuple(socket for socket in sockets.privacy_sockets if socket.container_id in here),
            mesh_sockets=tuple(socket for socket in sockets.mesh_sockets if socket.container_id in here),
        ),
    )
    whole = whole or everything(policy)
    return NodeView(node.name, local, whole.functions, whole.addresses, elsewhere, absent)


def _placed(hop: H, here: Collection[int]) -> H:
    return replace(hop, enabled=hop.enabled and hop.container_id in here)


def _all_placed(hops: Iterable[H], here: Collection[int]) -> tuple[H, ...]:
    return tuple(_placed(hop, here) for hop in hops)
