"""OpenFlow 1.3 on the wire, for the few messages that carry flow entries.

Encoded with struct from the layouts of the OpenFlow 1.3.5 specification (7.2-7.4) and of ONF's extension 230 (bundles
for 1.3), because the objects of Ryu's parser cost more than the switch's own work.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ryu_apps.flow import COOKIE_MARK, COOKIE_MASK, Action, FlowEntry, Output
from ryu_apps.oxm import OxmMatch, decode_match, encode_match

VERSION = 4
_ERROR, _EXPERIMENTER, _FLOW_MOD, _MULTIPART_REQUEST, _MULTIPART_REPLY, _BARRIER_REQUEST = 1, 4, 14, 18, 19, 20
_FLOW_STATS, _PORT_DESC = 1, 13
_APPLY_ACTIONS, _GOTO_TABLE = 4, 1
_ADD, _DELETE_STRICT = 0, 4
_NO_BUFFER = _ANY_PORT = _ANY_GROUP = 0xFFFFFFFF
_ALL_TABLES = 0xFF
LOCAL_PORT = 0xFFFFFFFE

_ONF = 0x4F4E4600
_BUNDLE_CONTROL, _BUNDLE_ADD = 2300, 2301
_ATOMIC_ORDERED = 0b11


class Bundle(IntEnum):
    """Bundle control: the requests; each is answered by its number plus one."""

    OPEN = 0
    CLOSE = 2
    COMMIT = 4
    DISCARD = 6


@dataclass(frozen=True)
class SwitchEntry:
    """A flow entry as a switch holds it: port numbers, and instructions in wire form."""

    table: int
    priority: int
    match: OxmMatch
    instructions: bytes
    cookie: int
    idle_timeout: int = 0
    hard_timeout: int = 0
    flags: int = 0

    @property
    def identity(self) -> tuple[int, int, OxmMatch]:
        return self.table, self.priority, self.match


@dataclass(frozen=True)
class InstalledEntry:
    """What a switch reports of an entry it holds."""

    entry: SwitchEntry
    packets: int
    bytes: int
    seconds: int  # how long it has been there


@dataclass(frozen=True)
class SwitchError:
    """An error message: the failed request's xid, the type and code of the specification."""

    xid: int
    type: int
    code: int


def resolve(
    entries: Iterable[FlowEntry], ports: Mapping[str, int]
) -> tuple[tuple[tuple[FlowEntry, SwitchEntry], ...], tuple[FlowEntry, ...]]:
    """(ready, waiting): the entries with their switch's port numbers, and those that name a port it does not have."""
    ready, waiting = [], []
    for entry in entries:
        if all(port in ports for port in entry.ports):
            ready.append((entry, switch_entry(entry, ports)))
        else:
            waiting.append(entry)
    return tuple(ready), tuple(waiting)


def switch_entry(entry: FlowEntry, ports: Mapping[str, int]) -> SwitchEntry:
    """Raises KeyError when the entry names a port that ``ports`` does not have."""
    return SwitchEntry(
        entry.table,
        entry.priority,
        encode_match(entry.match, ports),
        encode_instructions(entry.actions, ports),
        entry.cookie,
    )


def encode_instructions(actions: Sequence[Action], ports: Mapping[str, int]) -> bytes:
    """Apply the outputs in order, then go to the table. No action: no instruction, which drops."""
    outputs = b"".join(
        struct.pack("!HHIH6x", 0, 16, ports[action.port], 0) for action in actions if isinstance(action, Output)
    )
    apply = struct.pack("!HH4x", _APPLY_ACTIONS, 8 + len(outputs)) + outputs if outputs else b""
    # The switch sorts instructions by the order in which it executes them; so do we.
    return apply + b"".join(
        struct.pack("!HHB3x", _GOTO_TABLE, 8, action.table) for action in actions if not isinstance(action, Output)
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
    texts: list[str] = []
    for kind, body in decode_instructions(instructions):
        if kind == _GOTO_TABLE:
            texts.append(f"goto_table:{body[0]}")
        elif kind == _APPLY_ACTIONS:
            texts += [_action_text(action, data, ports) for action, data in decode_instructions(body[4:])]
        else:
            texts.append(f"instruction_{kind}")
    return ",".join(texts) or "drop"


def _action_text(action: int, data: bytes, ports: Mapping[int, str]) -> str:
    if action != 0:
        return f"action_{action}"
    (port,) = struct.unpack_from("!I", data)
    return f"output:{ports.get(port, port)}"


def add_message(entry: SwitchEntry, xid: int) -> bytes:
    return _flow_mod(entry, xid, _ADD, entry.cookie, 0)


def delete_message(entry: SwitchEntry, xid: int) -> bytes:
    """Deletes the entry only if it still is one of ours when the message arrives."""
    return _flow_mod(entry, xid, _DELETE_STRICT, COOKIE_MARK, COOKIE_MASK)


def _flow_mod(entry: SwitchEntry, xid: int, command: int, cookie: int, cookie_mask: int) -> bytes:
    match = _match(entry.match)
    instructions = entry.instructions if command == _ADD else b""
    body = struct.pack(
        "!QQBBHHHIIIH2x",
        cookie,
        cookie_mask,
        entry.table,
        command,
        entry.idle_timeout,
        entry.hard_timeout,
        entry.priority,
        _NO_BUFFER,
        _ANY_PORT,
        _ANY_GROUP,
        entry.flags,
    )
    return _message(_FLOW_MOD, xid, body + match + instructions)


def _match(oxms: OxmMatch) -> bytes:
    tlvs = b"".join(oxm.encode() for oxm in oxms)
    length = 4 + len(tlvs)
    return struct.pack("!HH", 1, length) + tlvs + bytes(-length % 8)


def _message(kind: int, xid: int, body: bytes) -> bytes:
    return struct.pack("!BBHI", VERSION, kind, 8 + len(body), xid) + body


def bundle_control(request: Bundle, bundle_id: int, xid: int) -> bytes:
    body = struct.pack("!IIIHH", _ONF, _BUNDLE_CONTROL, bundle_id, request, _ATOMIC_ORDERED)
    return _message(_EXPERIMENTER, xid, body)


def bundle_add(message: bytes, bundle_id: int, xid: int) -> bytes:
    """Puts a message, which must carry the same xid, into a bundle."""
    body = struct.pack("!III2xH", _ONF, _BUNDLE_ADD, bundle_id, _ATOMIC_ORDERED)
    return _message(_EXPERIMENTER, xid, body + message)


def barrier_request(xid: int) -> bytes:
    return _message(_BARRIER_REQUEST, xid, b"")


def port_desc_request(xid: int) -> bytes:
    return _message(_MULTIPART_REQUEST, xid, struct.pack("!HH4x", _PORT_DESC, 0))


def flow_stats_request(xid: int) -> bytes:
    """Asks for every entry of every table."""
    body = struct.pack("!HH4xB3xII4xQQ", _FLOW_STATS, 0, _ALL_TABLES, _ANY_PORT, _ANY_GROUP, 0, 0)
    return _message(_MULTIPART_REQUEST, xid, body + _match(()))


def decode_flow_stats(message: bytes) -> Iterator[InstalledEntry]:
    """The entries in a flow statistics reply (the whole message with its header); none in any other message."""
    if _multipart_kind(message) != _FLOW_STATS:
        return
    offset = 16
    while offset < len(message):
        length, table, seconds, _, priority, idle, hard, flags, cookie, packets, octets = struct.unpack_from(
            "!HBxIIHHHH4xQQQ", message, offset
        )
        (match_length,) = struct.unpack_from("!H", message, offset + 50)
        match = decode_match(message[offset + 52 : offset + 48 + match_length])
        instructions = message[offset + 48 + match_length + -match_length % 8 : offset + length]
        entry = SwitchEntry(table, priority, match, instructions, cookie, idle, hard, flags)
        yield InstalledEntry(entry, packets, octets, seconds)
        offset += length


def decode_ports(message: bytes) -> Iterator[tuple[str, int]]:
    """(name, number) of each port in a port description reply, LOCAL too; none in any other message."""
    if _multipart_kind(message) != _PORT_DESC:
        return
    for offset in range(16, len(message), 64):
        number, name = struct.unpack_from("!I12x16s", message, offset)
        yield name.rstrip(b"\0").decode(errors="replace"), number


def is_more(message: bytes) -> bool:
    """Whether the message is part of a multipart reply and not the last part."""
    return message[1] == _MULTIPART_REPLY and bool(struct.unpack_from("!H", message, 10)[0] & 1)


def xid_of(message: bytes) -> int:
    return int(struct.unpack_from("!I", message, 4)[0])


def decode_error(message: bytes) -> SwitchError | None:
    """The error that a message reports, None for any other message. Experimenter errors carry ONF's own code."""
    if message[1] != _ERROR:
        return None
    xid, error, code = struct.unpack_from("!IHH", message, 4)
    return SwitchError(xid, error, code)


def _multipart_kind(message: bytes) -> int | None:
    return int(struct.unpack_from("!H", message, 8)[0]) if message[1] == _MULTIPART_REPLY else None
