"""OpenFlow extensible match (OpenFlow 1.3.5, 7.2.3): from ovs-fields(7) names to TLVs, and back for people.

Each TLV is brought to the form in which a switch returns it (value and mask ANDed, a full mask left out, an empty one
dropped with its field), sorted by field. So two matches mean the same exactly when their TLVs are equal.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from policies.kinds import Unfit
from policies.match_fields import WORDS
from ryu_apps.flows.flow import Match
from ryu_apps.openflow.oxm_fields import BASIC, BY_NAME, ETH_TYPE, IP_PROTO, NAMES, WireField, protocol_of, wire_field

_IN_PORT = 0
_EXPERIMENTER, _ONF_TCP_FLAGS = 0xFFFF, 42
_WORD_OF: dict[tuple[int | None, int | None], str] = {meaning: word for word, meaning in WORDS.items()}


@dataclass(frozen=True, order=True)
class Oxm:
    """One match field on the wire. ``mask`` is empty for an exact match."""

    oxm_class: int
    field: int
    value: bytes
    mask: bytes = b""

    def encode(self) -> bytes:
        body = self.value + self.mask
        return struct.pack("!HBB", self.oxm_class, self.field << 1 | bool(self.mask), len(body)) + body


OxmMatch = tuple[Oxm, ...]


def encode_oxms(oxms: OxmMatch) -> bytes:
    return b"".join([oxm.encode() for oxm in oxms])


def encode_match(match: Match, ports: Mapping[str, int]) -> OxmMatch:
    """The TLVs of a match.

    Raises KeyError for a port or a field that has no number, ValueError for text that is none of its field's values.
    """
    fields: dict[tuple[int, int], Oxm] = {}
    protocol = protocol_of(match)
    for name, text in match:
        for oxm in _encode(name, text, protocol, ports):
            fields[oxm.oxm_class, oxm.field] = oxm
    return canonical(tuple(fields.values()))


def encode_value(name: str, text: str, match: Match) -> Oxm:
    """The TLV that sets a field to a value, in an entry with this match. Raises as ``encode_match`` does."""
    (oxm,) = _encode(name, text, protocol_of(match), {})
    if oxm.mask:
        raise ValueError(f"{text} is not one value of {name}")
    return oxm


def canonical(match: OxmMatch) -> OxmMatch:
    kept = (oxm for oxm in map(_canonical, match) if any(oxm.mask) or not oxm.mask)
    # A field must stand behind what it needs (7.2.3.6): of the basic class, which then has rising numbers.
    return tuple(sorted(kept, key=lambda oxm: (oxm.oxm_class != BASIC, oxm)))


def _encode(name: str, text: str, protocol: int, ports: Mapping[str, int]) -> list[Oxm]:
    if name in WORDS:
        eth_type, ip_proto = WORDS[name]
        oxms = [Oxm(BASIC, ETH_TYPE, eth_type.to_bytes(2, "big"))]
        return oxms if ip_proto is None else [*oxms, Oxm(BASIC, IP_PROTO, bytes((ip_proto,)))]
    if name == "in_port":
        return [Oxm(BASIC, _IN_PORT, ports[text].to_bytes(4, "big"))]
    wire = wire_field(name, protocol)
    try:
        value, mask = wire.form.parse(text)
    except Unfit as unfit:
        raise ValueError(f"{name}: {unfit}") from None
    octets = (value >> wire.shift).to_bytes(wire.size, "big")
    if mask == (1 << wire.form.bits) - 1:
        return [Oxm(wire.oxm_class, wire.number, octets)]
    return [Oxm(wire.oxm_class, wire.number, octets, (mask >> wire.shift).to_bytes(wire.size, "big"))]


def _canonical(oxm: Oxm) -> Oxm:
    if not oxm.mask or oxm.oxm_class == _EXPERIMENTER:
        return oxm
    name = NAMES.get((oxm.oxm_class, oxm.field))
    mask = int.from_bytes(oxm.mask, "big")
    if all(octet == 0xFF for octet in oxm.mask) or (name and mask & _full(name[1]) == _full(name[1])):
        return Oxm(oxm.oxm_class, oxm.field, oxm.value)
    masked = bytes(value & mask for value, mask in zip(oxm.value, oxm.mask, strict=True))
    return Oxm(oxm.oxm_class, oxm.field, masked, oxm.mask)


def _full(wire: WireField) -> int:
    """Every bit that the field has: fewer than its octets for a VLAN id, say."""
    return ((1 << wire.form.bits) - 1) >> wire.shift


def decode_match(data: bytes) -> OxmMatch:
    """TLVs as they came from a switch; fields we do not know are kept as they are.

    Raises ValueError or struct.error for a field that has not the length or holds none of the values of its number.
    """
    oxms = []
    offset = 0
    while offset < len(data):
        oxm_class, field, length = struct.unpack_from("!HBB", data, offset)
        body = data[offset + 4 : offset + 4 + length]
        prefix = 4 if oxm_class == _EXPERIMENTER else 0  # the experimenter's number, of which there is no mask
        half = prefix + (length - prefix) // 2 if field & 1 else length
        oxm = _in_niciras_words(Oxm(oxm_class, field >> 1, body[:half], body[half:]))
        if len(body) < length or not _fits(oxm):
            raise ValueError(f"{len(body)} octets of field {oxm_class:#x}, {field >> 1}")
        oxms.append(oxm)
        offset += 4 + length
    return canonical(tuple(oxms))


def _fits(oxm: Oxm) -> bool:
    """Whether it has as many octets and bits as the field; one that we do not know may have any, but some."""
    if (oxm.oxm_class, oxm.field) not in NAMES:
        return bool(oxm.value)
    _, wire = NAMES[oxm.oxm_class, oxm.field]
    right = len(oxm.value) == wire.size and len(oxm.mask) in (0, wire.size)
    return right and int.from_bytes(oxm.value, "big") <= _full(wire)


def _in_niciras_words(oxm: Oxm) -> Oxm:
    """Open vSwitch takes tcp_flags in Nicira's form, and returns them as an experimenter's field."""
    if (oxm.oxm_class, oxm.field) != (_EXPERIMENTER, _ONF_TCP_FLAGS):
        return oxm
    return Oxm(*BY_NAME["tcp_flags"].key, oxm.value[4:], oxm.mask)


def match_of(oxms: OxmMatch, ports: Mapping[int, str]) -> Match:
    """The match as a policy's is kept: in ovs-fields(7) names, sorted, with a word for its protocol if it has one."""
    numbers = {oxm.field: int.from_bytes(oxm.value, "big") for oxm in oxms if oxm.oxm_class == BASIC and not oxm.mask}
    ethernet, protocol = numbers.get(ETH_TYPE), numbers.get(IP_PROTO)
    word = _WORD_OF.get((ethernet, protocol)) or _WORD_OF.get((ethernet, None))
    if word is None:
        return tuple(sorted(field_of(oxm, ports) for oxm in oxms))
    said = {ETH_TYPE} if WORDS[word][1] is None else {ETH_TYPE, IP_PROTO}
    fields = (field_of(oxm, ports) for oxm in oxms if oxm.oxm_class != BASIC or oxm.field not in said)
    return tuple(sorted([(word, ""), *fields]))


def field_of(oxm: Oxm, ports: Mapping[int, str]) -> tuple[str, str]:
    """One field: its name and its text. What we have no name or no words for appears by its number, in octets."""
    value = int.from_bytes(oxm.value, "big")
    if (oxm.oxm_class, oxm.field) == (BASIC, _IN_PORT):
        return "in_port", ports.get(value, str(value))
    if (oxm.oxm_class, oxm.field) in NAMES:
        name, wire = NAMES[oxm.oxm_class, oxm.field]
        mask = int.from_bytes(oxm.mask, "big") if oxm.mask else _full(wire)
        bits = value << wire.shift, mask << wire.shift | ((1 << wire.shift) - 1)
        text = wire.form.text(*bits)
        with suppress(Unfit):
            if wire.form.parse(text) == bits:
                return name, text
    octets = f"0x{oxm.value.hex()}/0x{oxm.mask.hex()}" if oxm.mask else f"0x{oxm.value.hex()}"
    return f"oxm_{oxm.oxm_class:#x}_{oxm.field}", octets
