"""Where each match field stands on the wire: OpenFlow's basic class (1.3.5, 7.2.3.7) or Nicira's (ovs-fields(7)).

Names and texts are those of ``policies.match_fields``; here are class, number and length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from policies.field_forms import Bits, Form
from policies.match_fields import FIELDS, WORDS

BASIC, NICIRA = 0x8000, 0x0001
ETH_TYPE, IP_PROTO = 5, 10


@dataclass(frozen=True)
class WireField:
    """``shift``: by how many bits the value on the wire is shorter than in the text (nw_tos: the DSCP)."""

    oxm_class: int
    number: int
    size: int  # octets of the value
    form: Form
    shift: int = 0

    @property
    def key(self) -> tuple[int, int]:
        return self.oxm_class, self.number


def _basic(name: str, number: int, size: int, shift: int = 0) -> WireField:
    return WireField(BASIC, number, size, FIELDS[name], shift)


def _nicira(name: str, number: int, size: int) -> WireField:
    return WireField(NICIRA, number, size, FIELDS[name])


BY_NAME: dict[str, WireField] = {
    name: _basic(name, number, size)
    for name, number, size in (
        ("metadata", 2, 8),
        ("dl_dst", 3, 6),
        ("dl_src", 4, 6),
        ("dl_type", ETH_TYPE, 2),
        ("vlan_vid", 6, 2),
        ("vlan_pcp", 7, 1),
        ("nw_ecn", 9, 1),
        ("nw_proto", IP_PROTO, 1),
        ("nw_src", 11, 4),
        ("nw_dst", 12, 4),
        ("arp_op", 21, 2),
        ("arp_spa", 22, 4),
        ("arp_tpa", 23, 4),
        ("arp_sha", 24, 6),
        ("arp_tha", 25, 6),
        ("ipv6_src", 26, 16),
        ("ipv6_dst", 27, 16),
        ("ipv6_label", 28, 4),
        ("nd_target", 31, 16),
        ("nd_sll", 32, 6),
        ("nd_tll", 33, 6),
        ("mpls_label", 34, 4),
        ("mpls_tc", 35, 1),
        ("mpls_bos", 36, 1),
        ("tun_id", 38, 8),
    )
}
BY_NAME["nw_tos"] = _basic("nw_tos", 8, 1, shift=2)
BY_NAME |= {
    name: _nicira(name, number, size)
    for name, number, size in (
        ("ip_frag", 26, 1),
        ("nw_ttl", 29, 1),
        ("mpls_ttl", 30, 1),
        ("tun_src", 31, 4),
        ("tun_dst", 32, 4),
        ("pkt_mark", 33, 4),
        ("tcp_flags", 34, 2),
        ("ct_state", 105, 4),
        ("ct_zone", 106, 2),
        ("ct_mark", 107, 4),
        ("ct_label", 108, 16),
        ("tun_ipv6_src", 109, 16),
        ("tun_ipv6_dst", 110, 16),
        *((f"reg{number}", number, 4) for number in range(16)),
    )
}

# The fields that have a number of their own for each IP protocol.
BY_PROTOCOL: dict[tuple[str, int], WireField] = {
    ("tp_src", 6): _basic("tp_src", 13, 2),
    ("tp_dst", 6): _basic("tp_dst", 14, 2),
    ("tp_src", 17): _basic("tp_src", 15, 2),
    ("tp_dst", 17): _basic("tp_dst", 16, 2),
    ("tp_src", 132): _basic("tp_src", 17, 2),
    ("tp_dst", 132): _basic("tp_dst", 18, 2),
    ("icmp_type", 1): _basic("icmp_type", 19, 1),
    ("icmp_code", 1): _basic("icmp_code", 20, 1),
    ("icmp_type", 58): _basic("icmp_type", 29, 1),
    ("icmp_code", 58): _basic("icmp_code", 30, 1),
}

NAMES: dict[tuple[int, int], tuple[str, WireField]] = {wire.key: (name, wire) for name, wire in BY_NAME.items()}
NAMES |= {wire.key: (name, wire) for (name, _), wire in BY_PROTOCOL.items()}


def protocol_of(match: tuple[tuple[str, str], ...]) -> int:
    """The IP protocol that a match says, 0 if it says none: what tp_dst and icmp_type depend on."""
    for name, text in match:
        if name == "nw_proto":
            return int(text, 0)
        if name in WORDS and (protocol := WORDS[name][1]) is not None:
            return protocol
    return 0


@dataclass(frozen=True)
class _Octets:
    """What a switch says of a field that we have no name or no words for: "0x0001", or value/mask."""

    bits: int

    def parse(self, text: str) -> Bits:
        value, slash, mask = text.partition("/")
        bits = int(mask, 16) if slash else (1 << self.bits) - 1
        return int(value, 16) & bits, bits

    def text(self, value: int, mask: int) -> str:
        return f"{value:#x}/{mask:#x}"


_NUMBERED = re.compile(r"oxm_(0x[0-9a-f]+)_([0-9]+)")
_LONGEST = 255  # octets


def wire_field(name: str, protocol: int) -> WireField:
    """Raises KeyError for a name that has no place on the wire."""
    numbered = _NUMBERED.fullmatch(name)
    if numbered is None:
        return BY_NAME.get(name) or BY_PROTOCOL[name, protocol]
    key = int(numbered[1], 16), int(numbered[2])
    if key not in NAMES:
        return WireField(*key, _LONGEST, _Octets(8 * _LONGEST))
    _, wire = NAMES[key]
    return WireField(*key, wire.size, _Octets(wire.form.bits - wire.shift))
