"""Flow entries as ovs-ofctl(8) text, for people and for ``ovs-ofctl add-flows``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ryu_apps.flow import Action, FlowEntry, Match, Output

# Anything else could be taken for syntax; ovs-ofctl reads such a name as a JSON string.
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")


def entry_text(entry: FlowEntry) -> str:
    head = f"cookie={entry.cookie:#x},table={entry.table},priority={entry.priority}"
    fields = match_text(entry.match)
    return f"{head},{fields + ',' if fields else ''}actions={actions_text(entry.actions)}"


def match_text(match: Match) -> str:
    """The match; the empty match is the empty text."""
    # "tcp" has to stand before "tp_dst" and "ip" before "nw_src": ovs-ofctl reads from left to right.
    words = [name for name, text in match if not text]
    return ",".join(words + [_field_text(name, text) for name, text in match if text])


def actions_text(actions: Sequence[Action]) -> str:
    return ",".join(_action_text(action) for action in actions) or "drop"


def port_text(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


def _field_text(name: str, text: str) -> str:
    # A policy gives the VLAN id alone, which ovs-ofctl calls dl_vlan; its vlan_vid has the tag's presence bit too.
    return {"in_port": f"in_port={port_text(text)}", "vlan_vid": f"dl_vlan={text}"}.get(name, f"{name}={text}")


def _action_text(action: Action) -> str:
    return f"output:{port_text(action.port)}" if isinstance(action, Output) else f"goto_table:{action.table}"
