"""Table 10: the chain itself.

The WARP hop is the hub: it hands the clients' packets on to Xray, and takes Xray's own packets into the tunnel, both
through its one switch port. The document's flows say where a hop's packets go; two of its four have one match
(``in_port=warp0``), so what goes back to the clients is told apart by destination, above the document's priorities.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from policies.actions import field_and_value, output_port
from policies.model import PrivacyFlow, PrivacyRouter
from ryu_apps.flow import PRIVACY_CHAIN, Action, DecTtl, FlowEntry, Match, Output, PushVlan, SetField, StripVlan, fields
from topology.plan import AddressPlan, Hop

_OTHER_ACTIONS: dict[str, Action] = {"dec_ttl": DecTtl(), "push_vlan:0x8100": PushVlan(), "strip_vlan": StripVlan()}
DEFAULT_PRIORITY = 100
MAXIMUM_PRIORITY = 65535


def chain_entries(policy: PrivacyRouter, plan: AddressPlan) -> Iterator[FlowEntry]:
    flows = tuple(flow for flow in policy.openflow.privacy_flows if not _not_here(policy, plan, flow))
    priority = max((flow.priority for flow in flows), default=DEFAULT_PRIORITY)
    for flow in flows:
        yield _document_entry(flow)
    yield from _missing_links(plan, flows, priority)
    yield from _directions(policy, plan, min(priority + 10, MAXIMUM_PRIORITY))


def _document_entry(flow: PrivacyFlow) -> FlowEntry:
    actions = tuple(_action(text) for text in flow.actions if text != "drop")
    source = dict(flow.match_fields).get("in_port", "any port")
    target = ", ".join(action.port for action in actions if isinstance(action, Output)) or "drop"
    item = flow.description or f"{source} -> {target}"
    return FlowEntry(PRIVACY_CHAIN, flow.priority, flow.match_fields, actions, item, place=flow.place)


def _action(text: str) -> Action:
    """An action of the document, which ``policies.actions`` has checked."""
    setting = field_and_value(text)
    if setting is not None:
        return SetField(*setting)
    port = output_port(text)
    return Output(port) if port is not None else _OTHER_ACTIONS[text]


def _not_here(policy: PrivacyRouter, plan: AddressPlan, flow: PrivacyFlow) -> bool:
    """A hop with ``enabled: false``, or on another node, takes the flows that name its port with it."""
    hops = {policy.wireguard.socket_port, policy.warp.interface, policy.xray.socket_port}
    others = {socket.name for socket in policy.socket_networking.privacy_sockets} - hops
    return not plan.hops or not set(_document_entry(flow).ports) <= {*plan.privacy_ports, *others}


def _missing_links(plan: AddressPlan, flows: tuple[PrivacyFlow, ...], priority: int) -> Iterator[FlowEntry]:
    """The links of the chain from ports for which the document has no flow of its own."""
    written = {dict(flow.match_fields).get("in_port") for flow in flows}
    for source, target, way in _links(plan):
        if source.port not in written:
            yield FlowEntry(
                PRIVACY_CHAIN,
                priority,
                fields(in_port=source.port),
                (Output(target.port),),
                f"{source.title} -> {target.title}{way}",
                "not in the document: follows from its hops",
            )


def _links(plan: AddressPlan) -> Iterator[tuple[Hop, Hop, str]]:
    """(from, to, " (return)" or ""): to the next hop, the last hop back to the one before it.

    Without a WARP hop Xray's own packets have no way out: only what is for the clients goes back (see _directions).
    """
    for source, target in pairwise(plan.hops):
        yield source, target, ""
    if len(plan.hops) > 1 and plan.hop("warp") is not None:
        yield plan.hops[-1], plan.hops[-2], " (return)"


def _directions(policy: PrivacyRouter, plan: AddressPlan, priority: int) -> Iterator[FlowEntry]:
    """What decides by destination, at the hop behind the gateway, and ARP between neighbours."""
    gateway = plan.hop("gateway")
    if gateway is not None and len(plan.hops) > 1:
        hub = plan.hops[1]
        item = f"{hub.title} -> {gateway.title} (return)"
        for subnet in (str(policy.chain.client_subnet), str(gateway.address.ip)):
            back = fields(in_port=hub.port, ip="", nw_dst=subnet)
            yield FlowEntry(PRIVACY_CHAIN, priority, back, (Output(gateway.port),), item, "by destination")
    for one, other in pairwise(plan.hops):
        yield _arp(one, other, priority)
        yield _arp(other, one, priority)


def _arp(source: Hop, target: Hop, priority: int) -> FlowEntry:
    asked: Match = fields(in_port=source.port, arp="", arp_tpa=str(target.address.ip))
    return FlowEntry(
        PRIVACY_CHAIN, priority, asked, (Output(target.port),), "chain ARP", f"{source.title} to {target.title}"
    )
