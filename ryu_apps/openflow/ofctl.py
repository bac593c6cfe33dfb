"""Flow entries as ovs-ofctl(8) text, for people and for ``ovs-ofctl add-flows``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from policies.match_fields import FIELDS
from ryu_apps.flows.flow import (
    Action,
    DecTtl,
    FlowEntry,
    Foreign,
    GotoTable,
    Match,
    Output,
    PushVlan,
    SetField,
    StripVlan,
)
from ryu_apps.openflow.oxm_fields import protocol_of

# Anything else could be taken for syntax; ovs-ofctl reads such a name as a JSON string.
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")

_SET_NAMES = {
    **{
        (f"tp_{end}", number): f"{name}_{end}"
        for number, name in ((6, "tcp"), (17, "udp"), (132, "sctp"))
        for end in ("src", "dst")
    },
    **{(f"icmp_{end}", 58): f"icmpv6_{end}" for end in ("type", "code")},
}


def entry_text(entry: FlowEntry) -> str:
    head = f"cookie={entry.cookie:#x},table={entry.table},priority={entry.priority}"
    fields = match_text(entry.match)
    return f"{head},{fields + ',' if fields else ''}actions={actions_text(entry.actions, entry.match)}"


def match_text(match: Match) -> str:
    """The match; the empty match is the empty text."""
    # ovs-ofctl reads from left to right: "tcp" has to stand before "tp_dst", and "icmp_type" before "nd_target".
    return ",".join(_field_text(name, text) if text else name for name, text in sorted(match, key=_reading_order))


def _reading_order(field: tuple[str, str]) -> tuple[bool, bool, str]:
    name, text = field
    return bool(text), name.startswith(("nd_", "vlan_pcp")), name


def actions_text(actions: Sequence[Action], match: Match = ()) -> str:
    """``match`` is the entry's: ovs-ofctl has another name for the port of each protocol."""
    return ",".join(_action_text(action, protocol_of(match)) for action in actions) or "drop"


def port_text(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


def _field_text(name: str, text: str) -> str:
    match name:
        case "in_port":
            return f"in_port={port_text(text)}"
        case "vlan_vid":
            return _vlan_text(text)
        case _:
            return f"{name}={text}"


def _vlan_text(text: str) -> str:
    """A policy gives the VLAN id alone; in ovs-ofctl's vlan_vid a bit above it says that there is a tag at all."""
    if text == "none":
        return "dl_vlan=0xffff"
    if text.isdigit():
        return f"dl_vlan={text}"
    value, mask = FIELDS["vlan_vid"].parse(text)
    return f"vlan_vid={value:#x}/{mask:#x}"


def _action_text(action: Action, protocol: int) -> str:
    match action:
        case Output(port):
            return f"output:{port_text(port)}"
        case GotoTable(table):
            return f"goto_table:{table}"
        case SetField("vlan_vid", value):
            return f"set_field:{FIELDS['vlan_vid'].parse(value)[0]}->vlan_vid"
        case SetField("nw_tos", value):
            return f"set_field:{int(value) >> 2}->ip_dscp"
        case SetField(field, value):
            return f"set_field:{value}->{_SET_NAMES.get((field, protocol), field)}"
        case DecTtl():
            return "dec_ttl"
        case PushVlan():
            return "push_vlan:0x8100"
        case StripVlan():
            return "strip_vlan"
        case Foreign(text):
            return text
