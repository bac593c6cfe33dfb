"""The way of a packet, as plain JSON values: on what the policy wants, and on what a switch holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ryu_apps.flows.flow import TABLES, Action, DecTtl, FlowEntry, GotoTable, Output, PushVlan, SetField, StripVlan
from ryu_apps.openflow.ofctl import actions_text, match_text
from ryu_apps.openflow.oxm import decode_match, match_of
from ryu_apps.openflow.wire import InstalledEntry, instruction_texts, resolve
from ryu_apps.packets.simulate import Trace
from ryu_apps.rest.view import Json


def trace_view(trace: Trace) -> Json:
    return {
        "verdict": "sent" if trace.sent else "dropped",
        "outputs": [{"port": sent.port, "packet": match_text(sent.packet)} for sent in trace.sent],
        "steps": [
            {
                "table": step.table,
                "table_name": TABLES.get(step.table, ""),
                "packet": match_text(step.packet),
                "entry": _entry(step.entry) if step.entry else None,
            }
            for step in trace.steps
        ],
    }


def _entry(entry: FlowEntry) -> Json:
    return {
        "priority": entry.priority,
        "match": match_text(entry.match),
        "actions": actions_text(entry.actions),
        "item": entry.item,
        "document": str(entry.place) if entry.place else None,
    }


def held_entries(
    flows: Iterable[FlowEntry], ports: Mapping[str, int], installed: Iterable[InstalledEntry]
) -> Iterator[FlowEntry]:
    """What a switch holds, as flow entries: the policy's own where they are as they should be, else read back."""
    names = {number: name for name, number in ports.items()}
    ready, _ = resolve(flows, ports)
    wanted = {entry: flow for flow, entry in ready}
    items = {flow.cookie: flow.item for flow, _ in ready}
    for found in installed:
        entry = found.entry
        flow = wanted.get(entry)
        if flow is None:
            actions = tuple(map(_action, instruction_texts(entry.instructions, names)))
            item = items.get(entry.cookie, f"cookie {entry.cookie:#x}")
            flow = FlowEntry(entry.table, entry.priority, match_of(decode_match(entry.match), names), actions, item)
        yield flow


def _action(text: str) -> Action:
    """An action from its text; what no entry of ours would do is shown as an output to a port of that name."""
    kind, _, rest = text.partition(":")
    if kind == "goto_table":
        return GotoTable(int(rest))
    if kind == "set_field":
        value, _, name = rest.rpartition("->")
        return SetField(name, value)
    simple: dict[str, Action] = {"dec_ttl": DecTtl(), "push_vlan": PushVlan(), "strip_vlan": StripVlan()}
    return simple.get(kind) or Output(rest or kind)
