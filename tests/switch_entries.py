"""A single flow entry as a switch would hold it, put together from its parts."""

from __future__ import annotations

from collections.abc import Mapping

from ryu_apps.flows.flow import FlowEntry
from ryu_apps.openflow.oxm import encode_match, encode_oxms
from ryu_apps.openflow.wire import SwitchEntry, encode_instructions


def switch_entry(entry: FlowEntry, ports: Mapping[str, int]) -> SwitchEntry:
    """Raises KeyError when the entry names a port that ``ports`` does not have."""
    return SwitchEntry.of(
        entry.table,
        entry.priority,
        encode_oxms(encode_match(entry.match, ports)),
        encode_instructions(entry.actions, ports, entry.match),
        entry.cookie,
    )
