"""Table 10: the chain itself.

The WARP hop is the hub: it hands the clients' packets on to Xray, and takes Xray's own packets into the tunnel, both
through its one switch port. The document's flows say where a hop's packets go; two of its four have one match
(``in_port=warp0``), so what goes back to the clients is told apart by destination, above the document's priorities.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise, product

from policies.actions import field_and_value, output_port
from policies.model import PrivacyFlow, PrivacyRouter
from policies.rules import all_hops
from ryu_apps.flows.flow import (
    PRIVACY_CHAIN,
    Action,
    DecTtl,
    FlowEntry,
    Match,
    Output,
    PushVlan,
    SetField,
    StripVlan,
    fields,
)
from ryu_apps.flows.xray_shares import share_entries, to_xray
from topology.plan import AddressPlan, Hop

_OTHER_ACTIONS: dict[str, Action] = {"dec_ttl": DecTtl(), "push_vlan:0x8100": PushVlan(), "strip_vlan": StripVlan()}
DEFAULT_PRIORITY = 100
MAXIMUM_PRIORITY = 65535


def chain_entries(policy: PrivacyRouter, plan: AddressPlan) -> Iterator[FlowEntry]:
    written = tuple(_written(policy, plan))
    priority = max((entry.priority for entry in written), default=DEFAULT_PRIORITY)
    yield from written
    yield from _missing_links(plan, {entry.in_port for entry in written}, priority)
    yield from _directions(plan, min(priority + 10, MAXIMUM_PRIORITY))
    yield from share_entries(plan)


def _written(policy: PrivacyRouter, plan: AddressPlan) -> Iterator[FlowEntry]:
    """The document's flows. A hop with ``enabled: false``, or on another node, takes those that name its port along."""
    hops = {hop.port for hop in all_hops(policy)}
    others = {socket.name for socket in policy.socket_networking.privacy_sockets} - hops
    here = {*plan.privacy_ports, *others}
    for flow in policy.openflow.privacy_flows if plan.hops else ():
        entry = _document_entry(policy, plan, flow)
        if here.issuperset(entry.ports):
            yield entry


def _document_entry(policy: PrivacyRouter, plan: AddressPlan, flow: PrivacyFlow) -> FlowEntry:
    actions = tuple(_action(text) for text in flow.actions if text != "drop")
    source = dict(flow.match_fields).get("in_port", "any port")
    target = ", ".join(action.port for action in actions if isinstance(action, Output)) or "drop"
    item = flow.description or f"{source} -> {target}"
    if _is_to_xray(policy, plan, flow, actions):
        actions = (*actions[:-1], to_xray(plan))
    return FlowEntry(PRIVACY_CHAIN, flow.priority, flow.match_fields, actions, item, place=flow.place)


def _is_to_xray(policy: PrivacyRouter, plan: AddressPlan, flow: PrivacyFlow, actions: tuple[Action, ...]) -> bool:
    """Whether it sends to the port that stands for all Xrays. Only from the WARP hop is there a way to them."""
    if not policy.xray.further or not plan.of("xray"):
        return False
    source = dict(flow.match_fields).get("in_port", policy.warp.interface)
    return source == policy.warp.interface and actions[-1:] == (Output(policy.xray.socket_port),)


def _action(text: str) -> Action:
    """An action of the document, which ``policies.actions`` has checked."""
    setting = field_and_value(text)
    if setting is not None:
        return SetField(*setting)
    port = output_port(text)
    return Output(port) if port is not None else _OTHER_ACTIONS[text]


def _missing_links(plan: AddressPlan, written: Collection[str | None], priority: int) -> Iterator[FlowEntry]:
    """The links of the chain from ports for which the document has no flow of its own."""
    for source, action, title in _links(plan):
        if source.port not in written:
            yield FlowEntry(
                PRIVACY_CHAIN,
                priority,
                fields(in_port=source.port),
                (action,),
                f"{source.title} -> {title}",
                "not in the document: follows from its hops",
            )


def _links(plan: AddressPlan) -> Iterator[tuple[Hop, Action, str]]:
    """(from, action, title of where to): to the next stage, and from the last stage back to the one before it.

    Without a WARP hop Xray's own packets have no way out: only what is for the clients goes back (see _directions),
    as it does to several gateways.
    """
    for stage, following in pairwise(plan.stages):
        action = to_xray(plan) if following[0].kind == "xray" else Output(following[0].port)
        for source in stage:
            yield source, action, following[0].title if len(following) == 1 else "Xray clients"
    if len(plan.stages) > 1 and plan.warp is not None and len(plan.stages[-2]) == 1:
        (before,) = plan.stages[-2]
        for source in plan.stages[-1]:
            yield source, Output(before.port), f"{before.title} (return)"


def _directions(plan: AddressPlan, priority: int) -> Iterator[FlowEntry]:
    """What decides by destination, at the hop behind the gateways, and ARP between neighbours."""
    for gateway, hub in product(plan.of("gateway"), plan.stages[1] if len(plan.stages) > 1 else ()):
        item = f"{hub.title} -> {gateway.title} (return)"
        for called in (gateway.clients, gateway.address.ip):
            back = fields(in_port=hub.port, ip="", nw_dst=str(called))
            yield FlowEntry(PRIVACY_CHAIN, priority, back, (Output(gateway.port),), item, "by destination")
    for stage, following in pairwise(plan.stages):
        for one, other in product(stage, following):
            yield _arp(one, other, priority)
            yield _arp(other, one, priority)


def _arp(source: Hop, target: Hop, priority: int) -> FlowEntry:
    asked: Match = fields(in_port=source.port, arp="", arp_tpa=str(target.address.ip))
    return FlowEntry(
        PRIVACY_CHAIN, priority, asked, (Output(target.port),), "chain ARP", f"{source.title} to {target.title}"
    )
