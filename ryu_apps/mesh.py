"""Table 20: function routes to the containers' sockets, and the way out by the Netmaker port."""

from __future__ import annotations

from collections.abc import Iterator

from policies.addresses import destination
from policies.model import PrivacyRouter
from ryu_apps.flow import MESH, FlowEntry, Output, fields
from topology.plan import AddressPlan

# Below every priority a document is likely to choose, just above the drop entry of the table.
EGRESS = 1
FROM_MESH = 2


def mesh_entries(policy: PrivacyRouter, plan: AddressPlan) -> Iterator[FlowEntry]:
    for route in policy.openflow.function_routing:
        item = f"function route {route.function}"
        to_socket = (Output(route.target_socket),)
        yield FlowEntry(MESH, route.priority, route.match_fields, to_socket, item)
        address = destination(route)
        if address is not None:
            asked = fields(arp="", arp_tpa=str(address))
            yield FlowEntry(MESH, route.priority, asked, to_socket, item, "ARP for its address")
    if policy.netmaker.enabled:
        yield from _egress(policy.netmaker.interface, str(policy.netmaker.subnet))


def _egress(port: str, subnet: str) -> Iterator[FlowEntry]:
    """Mesh addresses that no local socket serves live on other nodes. What came from there does not go back."""
    item = f"mesh egress {port}"
    yield FlowEntry(
        MESH, FROM_MESH, fields(in_port=port), (), "mesh: no function", "from the mesh, for no function of this node"
    )
    yield FlowEntry(MESH, EGRESS, fields(ip="", nw_dst=subnet), (Output(port),), item, "to the other nodes")
    yield FlowEntry(MESH, EGRESS, fields(arp="", arp_tpa=subnet), (Output(port),), item, "ARP for the other nodes")
