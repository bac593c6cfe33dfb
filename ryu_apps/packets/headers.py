"""Header space: a packet is one integer, a match is a ternary cube over its bits.

Every field that occurs gets its own bits in one long integer (P. Kazemian, G. Varghese, N. McKeown, Header Space
Analysis, NSDI 2012). To meet, to contain and to exclude are then a few operations on integers, whatever the fields
are. Which fields there are, and how they are written, is known by ``policies.match_fields`` and ``oxm_fields``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from socket import inet_ntoa
from typing import NamedTuple

from policies.field_forms import Bits
from policies.kinds import Unfit
from policies.match import MatchError, normalise
from ryu_apps.flows.flow import Match
from ryu_apps.openflow.oxm import Oxm, OxmMatch, encode_match, match_of
from ryu_apps.openflow.oxm_fields import BASIC, BY_NAME, NAMES, protocol_of, wire_field
from ryu_apps.packets.cubes import Cube

_IN_PORT = BASIC, 0
_VLAN_PRESENT = 0x1000


class Slot(NamedTuple):
    """Where a field's bits are."""

    offset: int
    width: int

    @property
    def bits(self) -> int:
        return (1 << self.width) - 1 << self.offset


def exchanged(bits: int, one: Slot, other: Slot) -> int:
    """With what stands in two fields of the same width exchanged: an answer's source and destination, for one."""
    differing = (bits >> one.offset ^ bits >> other.offset) & (1 << one.width) - 1
    return bits ^ (differing << one.offset | differing << other.offset)


class _PortNumbers(dict[str, int]):
    """Numbers for port names in the order in which they are met, from 1."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self) + 1
        return number


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the texts of one field, each text once."""

    offset: int
    known: dict[str, Bits]
    parse: Callable[[str], Bits]

    def read(self, text: str) -> Bits:
        try:
            bits = self.known[text] = self.parse(text)
        except Unfit as unfit:
            raise ValueError(str(unfit)) from None
        return bits


def _refuse(text: str) -> Bits:
    raise Unfit(f"a protocol has no value, got {text}")


@dataclass
class Space:
    """Which field has which bits. It grows with the fields that are met."""

    ports: dict[str, int] = field(default_factory=_PortNumbers)
    _slots: dict[tuple[int, int], Slot] = field(default_factory=dict)
    _readers: dict[str, _Reader] = field(default_factory=dict)
    _known: dict[int, dict[str, Bits]] = field(default_factory=dict)  # form (which lives for ever) -> what it has read

    def __post_init__(self) -> None:
        self._slots[_IN_PORT] = slot = Slot(0, 32)
        self._readers["in_port"] = _Reader(0, {}, lambda name: (self.ports[name], slot.bits))

    @property
    def in_port(self) -> Slot:
        return self._slots[_IN_PORT]

    def port(self, name: str) -> Cube:
        """Everything that comes in by this port."""
        return Cube(self.in_port.bits, self.ports[name])

    def cube(self, match: Match) -> Cube:
        """The packets of a match. Raises KeyError or ValueError for a match that OpenFlow cannot say."""
        mask = value = 0
        for name, text in match:
            reader = self._readers.get(name)
            if reader is None:
                part = self._field(name, text, protocol_of(match)) if text else self._word(name)
                mask |= part.mask
                value |= part.value
            else:
                bits = reader.known.get(text) or reader.read(text)
                mask |= bits[1] << reader.offset
                value |= bits[0] << reader.offset
        return Cube(mask, value)

    def _word(self, name: str) -> Cube:
        """A protocol word such as "tcp"."""
        cube = self.of(encode_match(((name, ""),), self.ports))
        self._readers[name] = _Reader(0, {"": (cube.value, cube.mask)}, _refuse)
        return cube

    def _field(self, name: str, text: str, protocol: int) -> Cube:
        wire = wire_field(name, protocol)
        slot = self._slots.get(wire.key) or self._new_slot(wire.key, wire.size)
        if name in BY_NAME and not wire.shift:  # one meaning, whatever the protocol
            self._readers[name] = _Reader(slot.offset, self._known.setdefault(id(wire.form), {}), wire.form.parse)
        try:
            value, mask = wire.form.parse(text)
        except Unfit as unfit:
            raise ValueError(f"{name}: {unfit}") from None
        mask >>= wire.shift
        return Cube(mask << slot.offset, (value >> wire.shift & mask) << slot.offset)

    def of(self, oxms: OxmMatch) -> Cube:
        mask = value = 0
        for oxm in oxms:
            key = oxm.oxm_class, oxm.field
            slot = self._slots.get(key) or self._new_slot(key, len(oxm.value))
            bits = (1 << slot.width) - 1
            if oxm.mask:
                bits &= int.from_bytes(oxm.mask, "big")
            mask |= bits << slot.offset
            value |= (int.from_bytes(oxm.value, "big") & bits) << slot.offset
        return Cube(mask, value)

    def field(self, name: str, text: str, context: Match) -> Cube:
        """One field alone; ``context`` is a match that says which protocol's field it is (tp_dst: tcp or udp)."""
        return self._field(name, text, protocol_of(context))

    def impossible(self) -> tuple[Cube, ...]:
        """What no packet is: a VLAN id or priority without a tag. Nothing while no match is about VLANs."""
        vid, pcp = self._slots.get(BY_NAME["vlan_vid"].key), self._slots.get(BY_NAME["vlan_pcp"].key)
        if vid is None:
            return ()
        untagged = _VLAN_PRESENT << vid.offset
        bits = [1 << vid.offset + bit for bit in range(12)]
        bits += [1 << pcp.offset + bit for bit in range(pcp.width)] if pcp else []
        return tuple(Cube(untagged | bit, bit) for bit in bits)

    def bits_among(self, keys: Container[tuple[int, int]]) -> int:
        """The bits of those of these fields (OXM class and number) that have been met."""
        return sum(slot.bits for key, slot in self._slots.items() if key in keys)

    def slot(self, key: tuple[int, int]) -> Slot:
        """The bits of the field with this OXM class and number."""
        known = NAMES[key][1]
        return self._slots.get(key) or self._new_slot(key, known.size)

    def slot_of(self, name: str, context: Match) -> Slot:
        """The bits of a field; ``context`` is a match that says which protocol's field it is (tp_dst: tcp or udp)."""
        return self.slot(wire_field(name, protocol_of(context)).key)

    @property
    def width(self) -> int:
        """The number of bits so far."""
        last = next(reversed(self._slots.values()))
        return last.offset + last.width

    def bits(self, *names: str) -> int:
        """The bits of the fields with these names that are the same for every protocol."""
        found = 0
        for name in names:
            found |= self.slot(BY_NAME[name].key).bits
        return found

    def ipv4_addresses(self, header: int) -> list[str]:
        """What stands in the fields for addresses of IPv4 and ARP."""
        slots = (self.slot(BY_NAME[name].key) for name in ("nw_src", "nw_dst", "arp_spa", "arp_tpa"))
        return [inet_ntoa((header >> slot.offset & 0xFFFFFFFF).to_bytes(4, "big")) for slot in slots]

    def fields_of(self, bits: int) -> int:
        """The bits of every field that has one of these bits."""
        return sum(slot.bits for slot in self._slots.values() if slot.bits & bits)

    def match(self, cube: Cube) -> Match:
        """The cube in ovs-fields(7) names, for people."""
        names = {number: name for name, number in self.ports.items()}
        fields = match_of(tuple(sorted(self._oxms(cube))), names)
        try:
            return normalise(dict(fields))
        except MatchError:  # what no packet and no policy says, an IP protocol without IP for one
            return fields

    def _oxms(self, cube: Cube) -> Iterator[Oxm]:
        for (oxm_class, number), slot in self._slots.items():
            bits = (cube.mask & slot.bits) >> slot.offset
            if bits:
                size = -(-slot.width // 8)
                value = ((cube.value & slot.bits) >> slot.offset).to_bytes(size, "big")
                whole = bits == (1 << slot.width) - 1
                yield Oxm(oxm_class, number, value, b"" if whole else bits.to_bytes(size, "big"))

    def _new_slot(self, key: tuple[int, int], size: int) -> Slot:
        known = NAMES.get(key)
        width = known[1].form.bits - known[1].shift if known else 8 * size
        slot = self._slots[key] = Slot(self.width, width)
        return slot
