"""Flow entries in wire form: from names to the octets of a match and its instructions, and back for people.

Encoded with struct from the layouts of the OpenFlow 1.3.5 specification (7.2), because the objects of Ryu's parser
cost more than the switch's own work.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ryu_apps.flow import Action, FlowEntry, GotoTable, Match, SetField, item_cookie
from ryu_apps.oxm import decode_match
from ryu_apps.oxm_fields import BASIC
from ryu_apps.shapes import encode_oxms, match_octets
from ryu_apps.wire_actions import actions_text, encode_actions

_APPLY_ACTIONS, _GOTO_TABLE = 4, 1

_OXM_HEADER = struct.Struct("!I")
_HAS_MASK = 0x100


Identity = tuple[int, int, bytes]
"""What an OpenFlow table tells entries apart by: table, priority, match."""


class SwitchEntry(NamedTuple):
    """A flow entry as a switch holds it: port numbers, match and instructions in wire form.

    The match is its TLVs in the canonical form and order of ``oxm``, so two matches mean the same exactly when their
    octets are equal. A tuple, because a controller compares 200,000 of these at a time.
    """

    table: int
    priority: int
    match: bytes
    instructions: bytes
    cookie: int
    idle_timeout: int = 0
    hard_timeout: int = 0
    flags: int = 0

    @property
    def identity(self) -> Identity:
        return self[:3]


class InstalledEntry(NamedTuple):
    """What a switch reports of an entry it holds."""

    entry: SwitchEntry
    packets: int
    bytes: int
    seconds: int  # how long it has been there


class Malformed(Exception):
    """A message that breaks the specification: what comes from a switch need not be from a sane one."""


def resolve(
    entries: Iterable[FlowEntry], ports: Mapping[str, int]
) -> tuple[tuple[tuple[FlowEntry, SwitchEntry], ...], tuple[FlowEntry, ...]]:
    """(ready, waiting): the entries with their switch's port numbers, and those that wait for their in_port.

    An entry whose output port is absent drops until the port is there: left out, it would hand its packets on to
    entries below it that were never meant for them.
    """
    ready, waiting = [], []
    instructions: dict[tuple[Action, ...], bytes] = {}  # a large policy has few different ones
    for entry in entries:
        in_port = entry.in_port
        if in_port is not None and in_port not in ports:
            waiting.append(entry)
            continue
        actions = entry.actions
        if actions not in instructions or any(isinstance(action, SetField) for action in actions):
            there = all(port in ports for port in entry.outputs)
            instructions[actions] = encode_instructions(actions if there else (), ports, entry.match)
        octets = match_octets(entry.match, ports)
        wanted = SwitchEntry(entry.table, entry.priority, octets, instructions[actions], item_cookie(entry.item))
        ready.append((entry, wanted))
    return tuple(ready), tuple(waiting)


def switch_entry(entry: FlowEntry, ports: Mapping[str, int]) -> SwitchEntry:
    """Raises KeyError when the entry names a port that ``ports`` does not have."""
    return SwitchEntry(
        entry.table,
        entry.priority,
        match_octets(entry.match, ports),
        encode_instructions(entry.actions, ports, entry.match),
        entry.cookie,
    )


def encode_instructions(actions: Sequence[Action], ports: Mapping[str, int], match: Match = ()) -> bytes:
    """Apply the actions in order, then go to the table. No action: no instruction, which drops.

    ``match`` is the entry's: it says which protocol's field a SetField("tp_dst", ...) writes.
    """
    octets = encode_actions(actions, ports, match)
    apply = struct.pack("!HH4x", _APPLY_ACTIONS, 8 + len(octets)) + octets if octets else b""
    # The switch sorts instructions by the order in which it executes them; so do we.
    return apply + b"".join(
        struct.pack("!HHB3x", _GOTO_TABLE, 8, action.table) for action in actions if isinstance(action, GotoTable)
    )


def decode_instructions(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(instruction type, body) of each instruction."""
    offset = 0
    while offset < len(data):
        kind, length = struct.unpack_from("!HH", data, offset)
        yield kind, data[offset + 4 : offset + length]
        offset += length


def actions_of(instructions: bytes, ports: Mapping[int, str]) -> str:
    """Instructions as ovs-ofctl text, for people. What none of our entries would hold appears by its number."""
    return ",".join(instruction_texts(instructions, ports)) or "drop"


def instruction_texts(instructions: bytes, ports: Mapping[int, str]) -> list[str]:
    texts: list[str] = []
    for kind, body in decode_instructions(instructions):
        if kind == _GOTO_TABLE:
            texts.append(f"goto_table:{body[0]}")
        elif kind == _APPLY_ACTIONS:
            texts += actions_text(decode_instructions(body[4:]), ports)
        else:
            texts.append(f"instruction_{kind}")
    return texts


def canonical_match(tlvs: bytes) -> bytes:
    """The octets of a match as a switch tells them, in our canonical form: mostly they are that already.

    Raises Malformed.
    """
    offset, last = 0, -1
    try:
        while offset < len(tlvs):
            (header,) = _OXM_HEADER.unpack_from(tlvs, offset)
            if header <= last or header & _HAS_MASK or header >> 16 != BASIC:
                return encode_oxms(decode_match(tlvs))
            last = header
            offset += 4 + (header & 0xFF)
    except (struct.error, ValueError):
        raise Malformed("a match that ends within a field") from None
    if offset > len(tlvs):
        raise Malformed("a match that ends within a field")
    return tlvs
