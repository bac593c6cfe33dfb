"""Matches with every field that a policy may use, exact and masked, and every action."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from policies.actions import SETTABLE
from policies.field_forms import Address, Flags, Form, Mac, Number, Vlan, Words
from policies.match import MatchError, normalise
from policies.match_fields import FIELDS, WORDS, canonical
from ryu_apps.flows.flow import Action, DecTtl, GotoTable, Match, Output, PushVlan, SetField, StripVlan, fields

# What a field is matched and set beside; the others need nothing.
_BESIDE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("tp_src", "tp_dst"), ("tcp", "udp", "sctp", "tcp6", "udp6", "sctp6")),
    **dict.fromkeys(("icmp_type", "icmp_code"), ("icmp", "icmp6")),
    **dict.fromkeys(("nw_proto", "nw_tos", "nw_ecn", "nw_ttl", "ip_frag"), ("ip", "ipv6")),
    **dict.fromkeys(("mpls_label", "mpls_tc", "mpls_bos", "mpls_ttl"), ("mpls", "mplsm")),
    "tcp_flags": ("tcp", "tcp6"),
    "nd_target": ("icmp6,icmp_type=135,icmp_code=0", "icmp6,icmp_type=136,icmp_code=0"),
    "nd_sll": ("icmp6,icmp_type=135,icmp_code=0",),
    "nd_tll": ("icmp6,icmp_type=136,icmp_code=0",),
}
# What setting a field needs beside it, where matching on it brings that along.
_BESIDE_SETTING: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("nw_src", "nw_dst"), ("ip", "tcp")),
    **dict.fromkeys(("ipv6_src", "ipv6_dst", "ipv6_label"), ("ipv6",)),
    **dict.fromkeys(("arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha"), ("arp",)),
    **dict.fromkeys(("vlan_vid", "vlan_pcp"), ("vlan_vid=any", "vlan_vid=9")),
}


def _texts(form: Form) -> tuple[str, ...]:
    match form:
        case Address(bits=32):
            return "192.0.2.1", "192.0.2.0/24", "0.0.0.1/0.0.0.1", "128.0.0.0/1", "0.0.2.0/255.0.255.0"
        case Address():
            return "2001:db8::1", "2001:db8::/32", "::1/::1"
        case Mac():
            return "02:00:00:00:00:01", "01:00:00:00:00:00/01:00:00:00:00:00", "02:00:00:00:00:00/ff:ff:ff:00:00:00"
        case Vlan():
            return "5", "0", "4095", "none", "any", "0x4/0xf"
        case Words():
            return tuple(form.words)
        case Flags():
            first, second = list(form.flags)[:2]
            return f"+{first}", f"-{first}", f"+{first}-{second}", f"-{first}+{second}"
        case Number():
            low, high = form.low, (1 << form.bits) - 1 if form.high is None else form.high
            exact = (str(low), str(high), str((low + high) // 2 // form.step * form.step))
            return (*exact, f"{high & 0xE:#x}/{high & 0xE:#x}", f"0/{high & 6:#x}") if form.maskable else exact
        case _:
            raise AssertionError(form)


def _matches() -> Iterator[Match]:
    yield ()
    yield normalise({"in_port": "internal_100"})
    yield normalise({"in_port": "nm-privacy"})
    yield from (normalise(word) for word in WORDS)
    for name, form in FIELDS.items():
        for beside in _BESIDE.get(name, ("",)):
            for text in _texts(form):
                if name not in beside:
                    yield normalise(f"{beside},{name}={text}".strip(","))
    yield from _pairs()


def _pairs() -> Iterator[Match]:
    """Two fields at a time, with what they need, where a packet can have both."""
    for (one, first), (other, second) in combinations(FIELDS.items(), 2):
        beside = (_BESIDE.get(one) or _BESIDE.get(other) or ("",))[0]
        if one not in beside and other not in beside:
            try:
                yield normalise(f"{beside},{one}={_texts(first)[0]},{other}={_texts(second)[-1]}".strip(","))
            except MatchError:
                continue


MATCHES: tuple[Match, ...] = tuple(dict.fromkeys(_matches()))

_IN = fields(in_port="internal_100")
_TO = Output("nm-privacy")


def _set() -> Iterator[tuple[Match, str, str]]:
    """(match that the field needs, field, value) for every field that can be set."""
    for name in sorted(SETTABLE):
        for beside in {**_BESIDE, **_BESIDE_SETTING}.get(name, ("",)):
            text = _texts(FIELDS[name])[0]
            yield normalise(beside), name, canonical(name, text)


# (match, actions, their text as read back)
ACTIONS: list[tuple[Match, tuple[Action, ...]]] = [
    (_IN, ()),
    (_IN, (_TO,)),
    (_IN, (GotoTable(20),)),
    (fields(in_port="internal_100", ip=""), (SetField("nw_dst", "192.0.2.7"), DecTtl(), _TO)),
    (fields(in_port="internal_100", ip=""), (_TO, SetField("nw_tos", "184"), GotoTable(30))),
    (_IN, (PushVlan(), SetField("vlan_vid", "5"), _TO)),
    (fields(vlan_vid="7"), (StripVlan(), _TO)),
    *((match, (SetField(name, text), _TO)) for match, name, text in _set()),
]
