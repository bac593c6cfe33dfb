"""Several back ends of one function: each caller's packets go to one of them, chosen by the caller's address.

The lowest bits of the source decide, so one source sticks to one back end, the choice is in plain entries that a
verifier can read, and an atomic bundle changes it. The back ends of this node all hold the function's address beside
their own. A back end on another node has its own address on the way there, because the mesh between nodes carries
each address to one node only: this node writes it into the packets, and the function's address back into the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from policies.functions import Function
from policies.placement import NodeView
from policies.shares import dealt
from ryu_apps.flows.flow import CLASSIFY, MESH, Action, FlowEntry, GotoTable, Match, Output, SetField, fields

ANSWERED = 210  # in the table "classify", above admission


def shares(listed: Sequence[str], present: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(source as address/mask, back end): every source has one. Where one back end alone is ``present``: "".

    Those that are present have nearly as many sources each, and keep them while others go and come.
    """
    if len(present) == 1:
        yield "", present[0]
        return
    for value, mask, back_end in dealt(listed, present):
        yield f"{IPv4Address(value)}/{IPv4Address(mask)}", back_end


def back_end_entries(view: NodeView, function: Function, present: Sequence[str]) -> Iterator[FlowEntry]:
    """The entries of a function with several back ends, of which ``present`` can be reached."""
    item, uplink = f"function route {function.name}", view.policy.netmaker.interface
    for source, socket in shares(function.targets, present):
        node = view.elsewhere.get(socket)
        actions: tuple[Action, ...] = (Output(socket),)
        where = f"back end {socket}" + (f" on {node}" if node else "")
        if node:
            actions = (SetField("nw_dst", view.addresses[socket][0]), Output(uplink))
        match = _with(function.match, nw_src=source)
        yield FlowEntry(MESH, function.priority, match, actions, item, where, function.place)
        asked = _with((), arp_spa=source, arp_tpa=function.address or "")
        yield FlowEntry(MESH, function.priority, asked, actions[-1:], item, f"ARP for {where}", function.place)
    if view.elsewhere and view.policy.netmaker.enabled:
        for socket in present:
            if socket not in view.elsewhere:
                own = _with(function.match, in_port=uplink, nw_dst=view.addresses[socket][0])
                called = (Output(socket),)
                yield FlowEntry(MESH, function.priority, own, called, item, "called by other nodes", function.place)
                asked = fields(arp="", arp_tpa=view.addresses[socket][0], in_port=uplink)
                yield FlowEntry(MESH, function.priority, asked, called, item, "ARP by the node", function.place)


def answered_entries(view: NodeView) -> Iterator[FlowEntry]:
    """Table 0: answers of back ends on other nodes get the function's address back, and go on as the function's."""
    if not view.policy.netmaker.enabled:
        return
    for function in view.shared_functions:
        address = function.address
        if address is None:
            continue
        for socket in (target for target in function.targets if target in view.elsewhere):
            texts = dict(function.match)
            texts["tp_src"] = texts.pop("tp_dst")
            del texts["nw_dst"]
            match = fields(**texts, in_port=view.policy.netmaker.interface, nw_src=view.addresses[socket][0])
            actions = (SetField("nw_src", address), GotoTable(MESH))
            item = f"function route {function.name}"
            yield FlowEntry(CLASSIFY, ANSWERED, match, actions, item, f"answers of {socket}", function.place)


def _with(match: Match, **texts: str) -> Match:
    """The match and these fields beside it; ARP, if it is the empty match. A field without text is left out."""
    given = {name: text for name, text in texts.items() if text}
    return fields(**{**(dict(match) or {"arp": ""}), **given})
