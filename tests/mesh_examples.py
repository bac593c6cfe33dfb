"""A mesh of five containers on two nodes: plain functions, one for one port, one with back ends, a mere client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from policies.load import parse
from policies.model import PrivacyRouter
from policies.placement import view_of
from policies.read_topology import parse_topology
from ryu_apps.flows.flow import FlowEntry
from ryu_apps.flows.pipeline import compile_node
from topology.nodes import Topology

VECTOR_DB, BUCKET, SEARCH = "100.104.70.10", "100.104.70.11", "100.104.70.20"
OWN = {202: "100.104.70.22", 203: "100.104.70.23", 204: "100.104.70.24"}
PLACES = {"a": [200, 202, 204], "b": [201, 203]}


def document(**openflow: Any) -> dict[str, Any]:
    sockets = [{"name": f"internal_{n}", "container_id": n, "port_type": "mesh"} for n in range(200, 205)]
    search = f"udp,nw_dst={SEARCH},tp_dst=6333"
    routes = [
        {"function": "vector_db", "target_socket": "internal_200", "match_fields": {"nw_dst": VECTOR_DB}},
        {"function": "bucket", "target_socket": "internal_201", "match_fields": f"tcp,nw_dst={BUCKET},tp_dst=9000"},
        {"function": "search", "target_socket": "internal_202", "match_fields": search},
        {"function": "search", "target_socket": "internal_203", "match_fields": search},
    ]
    return {
        "privacy_router": {
            "wireguard": {"enabled": False},
            "warp": {"enabled": False},
            "xray": {"enabled": False},
            "socket_networking": {"mesh_sockets": sockets},
            "openflow": {"function_routing": routes, **openflow},
            "netmaker": {},
            "containers": [container(number, address) for number, address in OWN.items()],
        }
    }


def container(number: int, address: str | None) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"c{number}",
        "container_type": "search",
        "socket_port": f"internal_{number}",
        "network_type": "mesh",
        "address": address,
    }


def policy(given: dict[str, Any] | None = None) -> PrivacyRouter:
    return parse(json.dumps(given or document(), indent=1), "policy.json")


def topology_text(places: Mapping[str, list[int]] = PLACES) -> str:
    nodes = [
        {
            "name": name,
            "datapath_id": f"{number:016x}",
            "mesh_address": f"100.104.70.{number}",
            "containers": containers,
        }
        for number, (name, containers) in enumerate(places.items(), 1)
    ]
    return json.dumps({"topology": {"nodes": nodes}}, indent=1)


def topology(of: PrivacyRouter, places: Mapping[str, list[int]] = PLACES) -> Topology:
    return parse_topology(topology_text(places), "topology.json", of)


def compiled(
    name: str, of: PrivacyRouter | None = None, places: Mapping[str, list[int]] = PLACES
) -> tuple[FlowEntry, ...]:
    """The entries of one node."""
    whole = of or policy()
    built = topology(whole, places)
    node = built.node(name)
    assert node is not None
    return compile_node(view_of(whole, built, node))
