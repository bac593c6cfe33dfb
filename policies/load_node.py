"""What a policy document asks of one node, if a topology says which containers run where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from policies.errors import DocumentError, Problem
from policies.host_model import Policy
from policies.load import load_policy
from policies.model import Place, PrivacyRouter
from policies.placement import NodeView, everything, view_of
from policies.read_topology import load_topology


def load_for_node(path: Path, topology_path: Path | None, node: str) -> Policy:
    """The node's part of the policy; the whole policy without a topology. Raises DocumentError."""
    policy = load_policy(path)
    if topology_path is None or policy.privacy_router is None:
        return policy
    return replace(policy, privacy_router=view_for_node(policy.privacy_router, topology_path, node).policy)


def view_for_node(policy: PrivacyRouter, topology_path: Path | None, node: str) -> NodeView:
    """What the node sees of the policy; all of it without a topology. Raises DocumentError."""
    if topology_path is None:
        return everything(policy)
    topology = load_topology(topology_path, policy)
    found = topology.node(node)
    if found is None:
        names = ", ".join(known.name for known in topology.nodes)
        message = f'has no node "{node}", but {names}: name this machine there, or say which one it is (--node)'
        raise DocumentError([Problem(Place(str(topology_path), 0, "topology.nodes"), message)])
    return view_of(policy, topology, found)
