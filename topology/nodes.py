"""Nodes: machines with one bridge each, and where each container runs."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address


@dataclass(frozen=True)
class Node:
    """``containers``: the ids of those that run here. The WARP hop is where the gateway's container is."""

    name: str
    containers: frozenset[int] = frozenset()
    mesh_address: IPv4Address | None = None  # the node's own address in the mesh; needed to join Netmaker to the switch
    datapath_id: int | None = None  # None: known by the bridge's name
    bridge: str | None = None  # None: the policy's bridge_name


@dataclass(frozen=True)
class Topology:
    nodes: tuple[Node, ...]

    def node(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)

    def home(self, container_id: int) -> Node | None:
        """The node that a container runs on; None: on none."""
        return next((node for node in self.nodes if container_id in node.containers), None)

    def of_switch(self, datapath_id: int, bridge: str, bridge_name: str) -> Node | None:
        """The node that a switch belongs to. ``bridge_name`` is what a node's bridge is called if it does not say.

        Datapath ids first; by the bridge's name only if there is one node of that name which gives no datapath id.
        """
        for node in self.nodes:
            if node.datapath_id == datapath_id:
                return node
        named = [node for node in self.nodes if node.datapath_id is None and (node.bridge or bridge_name) == bridge]
        return named[0] if len(named) == 1 else None
