"""Tables 20 and 30: functions to the containers that serve them, here or on other nodes, and answers to who asked.

| table | priority | holds                                                                              |
|-------|----------|------------------------------------------------------------------------------------|
| 20    | 10 and up| functions, as the document has them; ARP for their addresses                       |
| 20    | 5        | answers of functions, for containers that not every packet may reach: go to 30     |
| 20    | 4        | all else to those containers: drop                                                 |
| 20, 30| 2, 1     | the way out to the other nodes, by the Netmaker port; what came by it stays here   |
| 30    | 6, 5     | the addresses of those containers, but for new TCP connections                     |

A container that one function opens whole (its match is the address alone) is reached by answers too. One that is open
for some protocol or port only, or for no function, is not: what it asks is answered by way of table 30.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policies.functions import Function
from policies.placement import NodeView
from ryu_apps.flows.backends import back_end_entries
from ryu_apps.flows.flow import MESH, MESH_DELIVERY, Action, FlowEntry, GotoTable, Match, Output, fields, form, sent_to

OPENING = 6
ANSWERS = 5
NOT_SERVED = 4
FROM_MESH = 2
EGRESS = 1

_TURNED = {"nw_src": "nw_dst", "nw_dst": "nw_src", "tp_src": "tp_dst", "tp_dst": "tp_src"}
_KEPT = ("ip", "tcp", "udp", "sctp", "icmp", "nw_proto")
_ICMP_ERRORS = {"3": "unreachable, or too large", "11": "TTL exceeded"}
_ASKED = form("arp_tpa", arp="")


def function_entries(view: NodeView, function: Function) -> tuple[FlowEntry, ...]:
    reached = [target for target in function.targets if target not in view.absent and _reached(view, target)]
    if reached and len(function.targets) > 1:
        return tuple(back_end_entries(view, function, reached))
    item, actions, description = _way(view, function, function.targets[0])
    entry = FlowEntry(MESH, function.priority, function.match, actions, item, description, function.place)
    if function.address is None:
        return (entry,)
    asked = _ASKED(function.address)
    return entry, FlowEntry(MESH, function.priority, asked, actions, item, "ARP for its address", function.place)


def further_mesh_entries(view: NodeView) -> Iterator[FlowEntry]:
    """All but the functions' own: answers, and the way out."""
    half_open = _half_open(view)
    if half_open:
        yield from _answers(view.functions, half_open)
    for table in (MESH, MESH_DELIVERY) if half_open else (MESH,):
        if view.policy.netmaker.enabled:
            yield from _egress(table, view.policy.netmaker.interface, str(view.policy.netmaker.subnet))


def _reached(view: NodeView, target: str) -> bool:
    return target not in view.elsewhere or view.policy.netmaker.enabled


def _way(view: NodeView, function: Function, target: str) -> tuple[str, tuple[Action, ...], str]:
    """(item, actions, description) of the packets for a function with one target."""
    name = f"function route {function.name}"
    if target in view.absent:
        containers = ", ".join(str(view.absent[socket]) for socket in function.targets if socket in view.absent)
        return f"function {function.name}: container {containers} is absent", (), "no node has it"
    node = view.elsewhere.get(target)
    if node is None:
        return name, sent_to(target), ""
    netmaker = view.policy.netmaker
    if not netmaker.enabled:
        return f"function {function.name}: its container is on {node}, and netmaker is off", (), ""
    return name, sent_to(netmaker.interface), f"on {node}"


def _half_open(view: NodeView) -> dict[str, tuple[str, ...]]:
    """The addresses of this node's containers that no function opens whole, with their sockets."""
    whole = {
        address
        for _, _, match, targets, address, _ in view.functions
        if len(match) == 2 and len(targets) == 1 and match[0][0] == "ip"
    }
    found: dict[str, tuple[str, ...]] = {}
    for socket in view.policy.socket_networking.mesh_sockets:
        owned = view.addresses.get(socket.name, ())
        if not whole.issuperset(owned):
            for address in owned:
                if address not in whole:
                    found[address] = (*found.get(address, ()), socket.name)
    return found


def _answers(every: Iterable[Function], half_open: dict[str, tuple[str, ...]]) -> Iterator[FlowEntry]:
    deliver = (GotoTable(MESH_DELIVERY),)
    for function in every:
        match = turned(function.match)
        if match:
            item = f"function route {function.name}"
            yield FlowEntry(MESH, ANSWERS, match, deliver, item, "its answers", function.place)
    for number, what in _ICMP_ERRORS.items():
        yield FlowEntry(MESH, ANSWERS, fields(icmp="", icmp_type=number), deliver, "mesh: ICMP errors", what)
    reaching = {ports: tuple(map(Output, ports)) for ports in half_open.values()}
    for address, ports in half_open.items():
        item, reached = f"mesh address {address}", reaching[ports]
        to = fields(ip="", nw_dst=address)
        yield FlowEntry(MESH_DELIVERY, ANSWERS, to, reached, item, "answers, and ICMP errors")
        opening = fields(tcp="", tcp_flags="+syn-ack", nw_dst=address)
        refused = f"mesh: {address} does not serve that"
        yield FlowEntry(MESH_DELIVERY, OPENING, opening, (), refused, "a new connection is no answer")
        yield FlowEntry(MESH, ANSWERS, fields(arp="", arp_tpa=address), reached, item, "ARP for it")
        yield FlowEntry(MESH, NOT_SERVED, to, (), refused, "no function, and no answer")


def turned(match: Match) -> Match:
    """The answers to the packets of a match; empty if their form does not tell."""
    answer = {_TURNED.get(name, name): text for name, text in match if name in _TURNED or name in _KEPT}
    return fields(**answer) if len(answer) > 1 else ()


def _egress(table: int, port: str, subnet: str) -> Iterator[FlowEntry]:
    """Mesh addresses that no local socket serves live on other nodes. What came from there does not go back."""
    item = f"mesh egress {port}"
    yield FlowEntry(
        table, FROM_MESH, fields(in_port=port), (), "mesh: no function", "from the mesh, for no function of this node"
    )
    yield FlowEntry(table, EGRESS, fields(ip="", nw_dst=subnet), (Output(port),), item, "to the other nodes")
    if table == MESH:
        yield FlowEntry(table, EGRESS, fields(arp="", arp_tpa=subnet), (Output(port),), item, "ARP for the other nodes")
