"""Actions of a privacy flow, as ovs-ofctl(8) writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from policies.kinds import KERNEL_NAME, Unfit, described
from policies.match import Match, MatchError, normalise
from policies.match_fields import ALIASES, FIELDS, value_text

_OUTPUT = re.compile(rf"output:({KERNEL_NAME.pattern})")
_ACCEPTED = "accepted are output:PORT, set_field:VALUE->FIELD, dec_ttl, push_vlan:0x8100, strip_vlan and drop"
_OUT_OF_THE_CHAIN = {
    "normal": "would switch the packet by its Ethernet address, past the chain",
    "flood": "would copy the packet to ports outside the chain",
    "all": "would copy the packet to ports outside the chain",
    "controller": "would send the clients' packets to the controller",
    "local": "would hand the packet to the host itself, outside the chain",
    "in_port": "would send the packet back to where it came from",
}
_WORDS = {
    "drop": "drop",
    "dec_ttl": "dec_ttl",
    "strip_vlan": "strip_vlan",
    "pop_vlan": "strip_vlan",
    "push_vlan:0x8100": "push_vlan:0x8100",
}

# What Open vSwitch can match on but not write: it follows from the packet's form or its past.
_READ_ONLY = frozenset(
    ("dl_type", "nw_proto", "ip_frag", "tcp_flags", "mpls_bos", "ct_state", "ct_zone", "ct_mark", "ct_label")
)
SETTABLE = frozenset(FIELDS) - _READ_ONLY
MOST_TAGS = 2  # that Open vSwitch knows of a packet; each of them matched or pushed


def action(value: object) -> str:
    """One action, checked, in the one form that it has here. Raises Unfit."""
    if not isinstance(value, str):
        raise Unfit(f"expected an action as text, got {described(value)}; {_ACCEPTED}")
    word = value.strip().lower().removeprefix("output:").partition(":")[0]
    if word in _OUT_OF_THE_CHAIN:
        raise Unfit(f"{described(value)} {_OUT_OF_THE_CHAIN[word]}; {_ACCEPTED}")
    name, _, rest = value.partition(":")
    if name == "set_field" and "->" in rest:
        text, _, field = rest.rpartition("->")
        return _set_field(value, field, text)
    if name.startswith("mod_") and name != "mod_vlan_vid" and name != "mod_vlan_pcp":
        return _set_field(value, name.removeprefix("mod_"), rest)
    if value in _WORDS:
        return _WORDS[value]
    if not _OUTPUT.fullmatch(value):
        raise Unfit(f"unknown action {described(value)}; {_ACCEPTED}")
    return value


def _set_field(given: str, name: str, text: str) -> str:
    field = ALIASES.get(name, name)
    if field not in SETTABLE:
        why = "cannot be written" if field in FIELDS else "is no field that can be written"
        raise Unfit(f"{described(given)}: {name} {why}; fields that can: {', '.join(sorted(SETTABLE))}")
    if name == "ip_dscp":
        raise Unfit(f"{described(given)}: write nw_tos, the whole octet")
    try:
        return f"set_field:{value_text(field, text)}->{field}"
    except Unfit as unfit:
        raise Unfit(f"{described(given)}: {unfit}") from None


def output_port(text: str) -> str | None:
    """The port of an ``output:PORT`` action, None for other actions."""
    found = _OUTPUT.fullmatch(text)
    return found.group(1) if found else None


def field_and_value(text: str) -> tuple[str, str] | None:
    """Of a ``set_field:VALUE->FIELD`` action, None for other actions."""
    if not text.startswith("set_field:"):
        return None
    value, _, field = text.removeprefix("set_field:").rpartition("->")
    return field, value


def impossible(actions: Sequence[str], match: Match) -> Iterator[tuple[int, str]]:
    """(index, message) of each action that the packets of this match do not allow, or that does nothing."""
    packets = dict(match)
    tags = int(packets.get("vlan_vid", "none") != "none")
    last_output = max((index for index, text in enumerate(actions) if output_port(text)), default=-1)
    for index, text in enumerate(actions):
        if text == "drop":
            if len(actions) > 1:
                yield index, '"drop" stands alone: remove it or the other actions'
            continue
        if index > last_output:
            yield index, f"{described(text)} changes a packet that is sent nowhere after it: add output:PORT behind it"
        elif message := _misfit(text, packets, tags):
            yield index, message
        tags += (text == "push_vlan:0x8100") - (text == "strip_vlan")


def _misfit(text: str, packets: dict[str, str], tags: int) -> str:
    """Why the action cannot be done to packets of this match that have so many VLAN tags by now; "" if it can."""
    if text == "dec_ttl" and not _is_ip(packets):
        return '"dec_ttl" needs ip or ipv6 in match_fields'
    if text == "strip_vlan" and tags < 1:
        return '"strip_vlan" needs a VLAN tag in match_fields, such as vlan_vid=any'
    if text == "push_vlan:0x8100" and tags >= MOST_TAGS:
        return f"Open vSwitch knows {MOST_TAGS} VLAN tags of a packet: it cannot push another"
    setting = field_and_value(text)
    if setting is None:
        return ""
    field, value = setting
    others = {name: given for name, given in packets.items() if name != field}
    if field.startswith("vlan_"):
        needs = f"{described(text)} needs a VLAN tag: match on vlan_vid=any, or push_vlan:0x8100 before"
        return needs if tags < 1 else ""
    try:
        needed = dict(normalise({**others, field: value}))
    except MatchError as error:
        return f"{described(text)} does not fit match_fields: {error.problems[0][1]}"
    missing = sorted(set(needed) - set(others) - {field})
    return f"{described(text)} needs {' and '.join(missing)} in match_fields" if missing else ""


def _is_ip(packets: dict[str, str]) -> bool:
    return any(
        word in packets for word in ("ip", "tcp", "udp", "icmp", "sctp", "ipv6", "tcp6", "udp6", "icmp6", "sctp6")
    )
