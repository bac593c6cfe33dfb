"""The way of a packet, as plain JSON values: on what the policy wants, and on what a switch holds. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from ryu_apps.flows.flow import TABLES, FlowEntry, Foreign
from ryu_apps.openflow.ofctl import actions_text, match_text
from ryu_apps.openflow.wire import InstalledEntry, in_words, resolve
from ryu_apps.packets.simulate import Packet, Trace, simulate, stranger
from ryu_apps.rest.view import Json
from ryu_apps.switches.connection import Reading


def desired_trace(packet: Packet | str, flows: Collection[FlowEntry]) -> Json:
    """On what the policy wants. Raises MatchError for a packet that cannot be."""
    return _wanted(simulate(flows, packet), flows)


def trace_on_switch(packet: Packet | str, flows: Collection[FlowEntry], reading: Reading) -> Json:
    """On what the policy wants of this switch, and on what the switch holds. Raises MatchError."""
    wanted, held = simulate(flows, packet), simulate(held_entries(flows, reading.ports, reading.installed), packet)
    return {
        "desired": _wanted(wanted, flows),
        "trace": _trace(held, notes_on_held(wanted, held, reading.name, reading.ports)),
    }


def _wanted(trace: Trace, flows: Collection[FlowEntry]) -> Json:
    note = stranger(trace.packet, flows)
    return _trace(trace, [note] if note else [])


def _trace(trace: Trace, notes: Iterable[str]) -> Json:
    """``notes``: what else people have to know of this way."""
    return {
        "notes": list(notes),
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
        "actions": actions_text(entry.actions, entry.match),
        "item": entry.item,
        "document": str(entry.place) if entry.place else None,
    }


def held_entries(
    flows: Iterable[FlowEntry], ports: Mapping[str, int], installed: Iterable[InstalledEntry]
) -> Iterator[FlowEntry]:
    """What a switch holds, as flow entries: the policy's own where they are as they should be, else read back.

    One that sends to a port that is not there drops until it is.
    """
    names = {number: name for name, number in ports.items()}
    ready, _ = resolve(flows, ports)
    wanted = {entry: flow for flow, entry in ready}
    items = {flow.cookie: flow.item for flow, _ in ready}
    for found in installed:
        entry = found.entry
        flow = wanted.get(entry)
        if flow is None:
            item = items.get(entry.cookie, f"cookie {entry.cookie:#x}")
            yield FlowEntry(entry.table, entry.priority, *in_words(entry, names), item)
        else:
            yield flow if ports.keys() >= set(flow.outputs) else replace(flow, actions=())


def notes_on_held(wanted: Trace, held: Trace, switch: str, ports: Mapping[str, int]) -> Iterator[str]:
    """Why a packet's way on a switch is another one than the policy wants, or not known to its end."""
    entries = [step.entry for step in wanted.steps if step.entry]
    for port in sorted({port for entry in entries for port in entry.ports} - ports.keys()):
        yield f"{switch} has no port {port} yet: the entries that need it wait"
    for step in held.steps:
        for action in step.entry.actions if step.entry else ():
            if isinstance(action, Foreign):
                yield f"what {action.text} does to the packet is not known here"
