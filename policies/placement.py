"""What one node sees of a policy: which sockets are here, which on other nodes, which nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address

from policies.addresses import address_plan
from policies.functions import Function, addresses, functions
from policies.model import PrivacyRouter
from topology.nodes import Node, Topology
from topology.plan import AddressPlan


@dataclass(frozen=True)
class NodeView:
    """``policy`` has only this node's sockets and hops; functions and containers are all there, for their addresses."""

    name: str
    policy: PrivacyRouter
    functions: tuple[Function, ...]
    addresses: Mapping[str, tuple[IPv4Address, ...]]  # of every mesh socket on any node: its own first
    elsewhere: Mapping[str, str] = field(default_factory=dict)  # mesh socket -> the node that has its container
    absent: Mapping[str, int] = field(default_factory=dict)  # mesh socket -> its container, which no node has

    @cached_property
    def plan(self) -> AddressPlan:
        """The addresses of this node's hops and sockets."""
        return address_plan(self.policy, self.addresses)


def everything(policy: PrivacyRouter) -> NodeView:
    """Without a topology one node has every container."""
    called = functions(policy)
    return NodeView("", policy, called, addresses(policy, called))


def view_of(policy: PrivacyRouter, topology: Topology, node: Node) -> NodeView:
    sockets = policy.socket_networking
    elsewhere, absent = {}, {}
    for socket in sockets.mesh_sockets:
        home = topology.home(socket.container_id)
        if home is None:
            absent[socket.name] = socket.container_id
        elif home.name != node.name:
            elsewhere[socket.name] = home.name
    here = node.containers
    gateway = policy.wireguard.enabled and policy.wireguard.container_id in here
    local = replace(
        policy,
        bridge_name=node.bridge or policy.bridge_name,
        datapath_id=node.datapath_id or policy.datapath_id,
        netmaker=replace(policy.netmaker, mesh_address=node.mesh_address or policy.netmaker.mesh_address),
        wireguard=replace(policy.wireguard, enabled=gateway),
        warp=replace(policy.warp, enabled=policy.warp.enabled and gateway),
        xray=replace(policy.xray, enabled=policy.xray.enabled and policy.xray.container_id in here),
        socket_networking=replace(
            sockets,
            privacy_sockets=tuple(socket for socket in sockets.privacy_sockets if socket.container_id in here),
            mesh_sockets=tuple(socket for socket in sockets.mesh_sockets if socket.container_id in here),
        ),
    )
    called = functions(policy)
    return NodeView(node.name, local, called, addresses(policy, called), elsewhere, absent)
