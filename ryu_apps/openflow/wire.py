"""Flow entries in wire form: from names to the octets of a match and its instructions, and back for people.

Encoded with struct from the layouts of the OpenFlow 1.3.5 specification (7.2), because the objects of Ryu's parser
cost more than the switch's own work.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from ryu_apps.flows.flow import Action, FlowEntry, Foreign, GotoTable, Match, SetField, item_cookie
from ryu_apps.openflow.actions import SET_FIELD, decode_action, encode_actions
from ryu_apps.openflow.oxm import decode_match, encode_oxms, match_of
from ryu_apps.openflow.oxm_fields import BASIC, NAMES
from ryu_apps.openflow.shapes import IDENTITY, IdentityEncoder
from ryu_apps.openflow.shapes import Identity as Identity

_GOTO_TABLE, _WRITE_ACTIONS, _APPLY_ACTIONS = 1, 3, 4

_OXM_HEADER = struct.Struct("!I")
# The headers of exact matches, where any octets are a value of the field.
_PLAIN = {BASIC << 16 | 4} | {  # the former: in_port
    BASIC << 16 | number << 9 | wire.size
    for (oxm_class, number), (_, wire) in NAMES.items()
    if oxm_class == BASIC and wire.form.bits == 8 * wire.size and not wire.shift
}

_CONTENT = struct.Struct("!HHH4xQ")  # idle and hard timeout, flags, cookie; the instructions follow


class SwitchEntry(NamedTuple):
    """A flow entry as a switch holds it: port numbers, match and instructions in wire form.

    Two texts of octets, because a controller keeps and compares 400,000 of these: a table of them is a plain dict from
    identity to content. The parts stand in the order of a flow statistics reply (7.3.5.2), so that an entry in a reply
    is compared by slices of it. The match is its TLVs in the canonical form and order of ``oxm``, so two matches mean
    the same exactly when their octets are equal.
    """

    identity: Identity
    content: bytes

    @classmethod
    def of(
        cls,
        table: int,
        priority: int,
        match: bytes,
        instructions: bytes,
        cookie: int,
        idle_timeout: int = 0,
        hard_timeout: int = 0,
        flags: int = 0,
    ) -> SwitchEntry:
        content = _CONTENT.pack(idle_timeout, hard_timeout, flags, cookie) + instructions
        return cls(IDENTITY.pack(table, priority) + match, content)

    @property
    def table(self) -> int:
        return self.identity[0]

    @property
    def priority(self) -> int:
        return int.from_bytes(self.identity[1:3], "big")

    @property
    def match(self) -> bytes:
        return self.identity[IDENTITY.size :]

    @property
    def cookie(self) -> int:
        return int.from_bytes(self.content[10:18], "big")

    @property
    def timeouts_and_flags(self) -> tuple[int, int, int]:
        """Idle timeout, hard timeout, flags: of ours all are 0."""
        idle, hard, flags, _ = _CONTENT.unpack_from(self.content)
        return idle, hard, flags

    @property
    def instructions(self) -> bytes:
        return self.content[_CONTENT.size :]


class InstalledEntry(NamedTuple):
    """What a switch reports of an entry it holds."""

    entry: SwitchEntry
    packets: int
    bytes: int
    seconds: int  # how long it has been there


class Malformed(Exception):
    """A message that breaks the specification: what comes from a switch need not be from a sane one."""


class Encoder:
    """From flow entries to what one switch shall hold. What many entries have in common is encoded once.

    An entry whose output port is absent drops until the port is there: left out, it would hand its packets on to
    entries below it that were never meant for them.
    """

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = ports
        self._identity = IdentityEncoder(ports)
        self._contents: dict[tuple[str, int], tuple[bytes, bool]] = {}
        # By the id of the actions, which are kept so that no others get that id.
        self._instructions: dict[int, tuple[bytes, bool, tuple[Action, ...]]] = {}

    def encode(self, flows: Collection[FlowEntry], table: dict[Identity, bytes]) -> list[FlowEntry]:
        """Puts the entries into the table; returns those that wait for a port, be they left out or dropping."""
        waiting = []
        contents, instructions = self._contents, self._instructions
        item: str | None = None
        actions: tuple[Action, ...] = ()
        for flow, identity in zip(flows, self._identity.identities(flows), strict=True):
            if identity is None:
                waiting.append(flow)
                continue
            if flow.item is not item or flow.actions is not actions:  # else it is as the one before
                item, actions = flow.item, flow.actions
                content, drops = contents.get((item, id(actions))) or self._content(flow)
                if id(actions) not in instructions:
                    item = None  # not even the next of the same item need have the same octets
            table[identity] = content
            if drops:
                waiting.append(flow)
        return waiting

    def _content(self, flow: FlowEntry) -> tuple[bytes, bool]:
        """(content, whether an output port is absent)."""
        instructions, drops, _ = self._instructions.get(id(flow.actions)) or self._encoded(flow)
        made = _CONTENT.pack(0, 0, 0, item_cookie(flow.item)) + instructions, drops
        if id(flow.actions) in self._instructions:
            self._contents[flow.item, id(flow.actions)] = made
        return made

    def _encoded(self, flow: FlowEntry) -> tuple[bytes, bool, tuple[Action, ...]]:
        drops = any(port not in self._ports for port in flow.outputs)
        made = encode_instructions(() if drops else flow.actions, self._ports, flow.match), drops, flow.actions
        if not any(isinstance(action, SetField) for action in flow.actions):  # whose octets the match decides
            self._instructions[id(flow.actions)] = made
        return made


def resolve(
    entries: Iterable[FlowEntry], ports: Mapping[str, int]
) -> tuple[tuple[tuple[FlowEntry, SwitchEntry], ...], tuple[FlowEntry, ...]]:
    """(ready, waiting): the entries with their switch's port numbers, and those that wait for their in_port."""
    ready, waiting = [], []
    encoder = Encoder(ports)
    for entry in entries:
        table: dict[Identity, bytes] = {}
        encoder.encode((entry,), table)
        if table:
            ready.append((entry, SwitchEntry(*table.popitem())))
        else:
            waiting.append(entry)
    return tuple(ready), tuple(waiting)


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


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each instruction, or of each action. Raises Malformed."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < 8:
            raise Malformed("instructions that end too soon")
        kind, length = struct.unpack_from("!HH", data, offset)
        if length < 8 or offset + length > len(data):
            raise Malformed("an instruction or action whose length cannot be")
        yield kind, data[offset + 4 : offset + length]
        offset += length


@lru_cache(maxsize=4096)
def sound_instructions(instructions: bytes) -> bytes:
    """The same octets, once every instruction in them, and every action in those, is known to end where it says.

    And every field that is set to have its own length, and no mask. Raises Malformed.
    """
    for kind, body in _records(instructions):
        for action, content in _records(body[4:]) if kind in (_WRITE_ACTIONS, _APPLY_ACTIONS) else ():
            if action == SET_FIELD and (canonical_match(content[: 4 + content[3]]) == b"" or content[2] & 1):
                raise Malformed("a field to set that has a mask")
    return instructions


def in_words(entry: SwitchEntry, ports: Mapping[int, str]) -> tuple[Match, tuple[Action, ...]]:
    """What an entry of a switch takes and what it does, with the names of the ports."""
    return match_of(decode_match(entry.match), ports), tuple(_actions(entry.instructions, ports))


def _actions(instructions: bytes, ports: Mapping[int, str]) -> Iterator[Action]:
    for kind, body in _records(instructions):
        if kind == _GOTO_TABLE:
            yield GotoTable(body[0])
        elif kind == _APPLY_ACTIONS:
            for action, content in _records(body[4:]):
                yield decode_action(action, content, ports)
        else:
            yield Foreign(f"instruction_{kind}")


def canonical_match(tlvs: bytes) -> bytes:
    """The octets of a match as a switch tells them, in our canonical form: mostly they are that already.

    Raises Malformed.
    """
    offset, last = 0, -1
    try:
        while offset < len(tlvs):
            (header,) = _OXM_HEADER.unpack_from(tlvs, offset)
            if header <= last or header not in _PLAIN:
                return encode_oxms(decode_match(tlvs))
            last = header
            offset += 4 + (header & 0xFF)
    except (struct.error, ValueError):
        raise Malformed("a match with a field that is too long or too short, or no value of its own") from None
    if offset > len(tlvs):
        raise Malformed("a match that ends within a field")
    return tlvs
