"""Table 15, where there are several Xray clients: each of the clients' packets goes to the one that has its share.

The chain's table says what becomes of a packet, and this one only which of the Xrays it is for. So a flow of the
document that sends to Xray, drops or rewrites holds for all of them. What is for an Xray itself, such as an answer of
its server, goes by its address.
"""

from __future__ import annotations

from collections.abc import Iterator

from ryu_apps.flows.flow import XRAY_SHARES, Action, FlowEntry, GotoTable, Output, fields
from topology.plan import AddressPlan

SHARE = 20
OWN_ADDRESS = 10


def to_xray(plan: AddressPlan) -> Action:
    """What sends a packet of the WARP hop on to the Xray it is for. The plan has one at least."""
    xrays = plan.of("xray")
    return Output(xrays[0].port) if len(xrays) == 1 else GotoTable(XRAY_SHARES)


def share_entries(plan: AddressPlan) -> Iterator[FlowEntry]:
    xrays, hub = plan.of("xray"), plan.warp
    if len(xrays) < 2 or hub is None:
        return
    for xray in xrays:
        item, actions = f"{hub.title} -> {xray.title}", (Output(xray.port),)
        for share in xray.shares:
            clients = fields(in_port=hub.port, ip="", nw_src=str(share))
            yield FlowEntry(XRAY_SHARES, SHARE, clients, actions, item, "its share of the clients")
        own = fields(in_port=hub.port, ip="", nw_dst=str(xray.address.ip))
        yield FlowEntry(XRAY_SHARES, OWN_ADDRESS, own, actions, item, "by its own address")
    nobody = "neither a client's packet nor for an Xray"
    yield FlowEntry(XRAY_SHARES, 0, (), (), "xray shares: nobody's", nobody)
