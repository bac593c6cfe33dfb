"""Functions that no container serves at the moment: valid, for containers come and go, but worth saying."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ryu_apps.flows.flow import MESH, FlowEntry
from ryu_apps.openflow.ofctl import match_text


def unserved(nodes: Mapping[str, Iterable[FlowEntry]]) -> Iterator[str]:
    """The calls that are dropped on each node, with the line of their function."""
    for node, entries in nodes.items():
        for entry in entries:
            if entry.table == MESH and entry.place is not None and not entry.actions and ("arp", "") not in entry.match:
                yield f"{entry.place}: on node {node}: packet {match_text(entry.match)} is dropped: {entry.item}"
