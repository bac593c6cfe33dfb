"""``privacyctl trace FILE PACKET``: what the switch would do with a packet, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ryu_apps.flows.flow import TABLES, FlowEntry
from ryu_apps.openflow.ofctl import actions_text, match_text
from ryu_apps.packets.simulate import Trace, stranger


def explained(trace: Trace, entries: Iterable[FlowEntry]) -> Iterator[str]:
    """The tables that the packet meets, with item, entry and line of the document, and where it leaves."""
    yield f"packet {match_text(trace.packet)}"
    if note := stranger(trace.packet, entries):
        yield note
    for step in trace.steps:
        yield f"table {step.table} ({TABLES.get(step.table, 'unknown')}):"
        if step.entry is None:
            yield "  no entry takes it: dropped"
            continue
        yield f"  {_item(step.entry)}"
        yield f"  priority {step.entry.priority}: {match_text(step.entry.match) or 'any packet'}"
        yield f"  actions: {actions_text(step.entry.actions, step.entry.match)}"
    for sent in trace.sent:
        changed = f" as {match_text(sent.packet)}" if set(sent.packet) != set(trace.packet) else ""
        yield f"leaves by {sent.port}{changed}"
    if not trace.sent:
        yield f'dropped: "{trace.last.item}"' if trace.last else "dropped"


def _item(entry: FlowEntry) -> str:
    meaning = f": {entry.description}" if entry.description else ""
    return f"{entry.item}{meaning}" + (f" ({entry.place})" if entry.place else "")
