"""The few OpenFlow 1.3 messages that carry flow entries and what is asked about them, as octets.

Made and read with struct from the layouts of the OpenFlow 1.3.5 specification (7.2-7.4) and of ONF's extension 230
(bundles for 1.3). What comes from a switch need not be from a sane one: whatever breaks the specification raises
``Malformed``, and no length of it is believed before it has been compared with what is there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from ryu_apps.flows.flow import COOKIE_MARK, COOKIE_MASK, is_ours
from ryu_apps.openflow.wire import (
    Identity,
    InstalledEntry,
    Malformed,
    SwitchEntry,
    canonical_match,
    sound_instructions,
)

VERSION = 4
HEADER = 8  # octets
LOCAL_PORT = 0xFFFFFFFE

_FLOW_STATS, _PORT_DESC = 1, 13
_ADD, _DELETE_STRICT = 0, 4
_NO_BUFFER = _ANY_PORT = _ANY_GROUP = 0xFFFFFFFF
_ALL_TABLES = 0xFF
_WHOLE_COOKIE = 0xFFFFFFFFFFFFFFFF

_FLOW_STATS_ENTRY = struct.Struct("!HBxI4xHHHH4xQQQ2xH")
_FIRST = 16  # the offset of the first entry in a reply
_FLOW_STATS_LENGTHS = struct.Struct("!H48xH")
_FLOW_MOD_BODY = struct.Struct("!QQBBHHHIIIH2x")
_HEADER_FORMAT = struct.Struct("!BBHI")
_BUNDLE_ADD_BODY = struct.Struct("!III2xH")

ONF = 0x4F4E4600
_BUNDLE_CONTROL, _BUNDLE_ADD = 2300, 2301
_ATOMIC_ORDERED = 0b11


class Kind(IntEnum):
    """Message types."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    FEATURES_REPLY = 6
    SET_CONFIG = 9
    PORT_STATUS = 12
    FLOW_MOD = 14
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    SET_ASYNC = 28


class Bundle(IntEnum):
    """Bundle control: the requests; each is answered by its number plus one."""

    OPEN = 0
    CLOSE = 2
    COMMIT = 4
    DISCARD = 6


@dataclass(frozen=True)
class SwitchError:
    """An error message: the failed request's xid, the type and code of the specification."""

    xid: int
    type: int
    code: int


def add_message(entry: SwitchEntry, xid: int) -> bytes:
    return _flow_mod(entry, xid, _ADD, entry.cookie, 0)


def delete_message(entry: SwitchEntry, xid: int) -> bytes:
    """Deletes what is still one of ours when the message arrives; an entry of others only with the cookie it had."""
    if is_ours(entry.cookie):
        return _flow_mod(entry, xid, _DELETE_STRICT, COOKIE_MARK, COOKIE_MASK)
    return _flow_mod(entry, xid, _DELETE_STRICT, entry.cookie, _WHOLE_COOKIE)


def _flow_mod(entry: SwitchEntry, xid: int, command: int, cookie: int, cookie_mask: int) -> bytes:
    idle, hard, flags = entry.timeouts_and_flags
    times = (idle, hard, entry.priority)
    ports = (_NO_BUFFER, _ANY_PORT, _ANY_GROUP)
    body = _FLOW_MOD_BODY.pack(cookie, cookie_mask, entry.table, command, *times, *ports, flags)
    return message(Kind.FLOW_MOD, xid, body + match(entry.match) + (entry.instructions if command == _ADD else b""))


def match(tlvs: bytes) -> bytes:
    """The match structure around its TLVs."""
    length = 4 + len(tlvs)
    return struct.pack("!HH", 1, length) + tlvs + bytes(-length % 8)


def message(kind: int, xid: int, body: bytes) -> bytes:
    return _HEADER_FORMAT.pack(VERSION, kind, HEADER + len(body), xid) + body


def bundle_control(request: Bundle, bundle_id: int, xid: int) -> bytes:
    return message(
        Kind.EXPERIMENTER, xid, struct.pack("!IIIHH", ONF, _BUNDLE_CONTROL, bundle_id, request, _ATOMIC_ORDERED)
    )


def bundle_add(added: bytes, bundle_id: int, xid: int) -> bytes:
    """Puts a message, which must carry the same xid, into a bundle."""
    return message(Kind.EXPERIMENTER, xid, _BUNDLE_ADD_BODY.pack(ONF, _BUNDLE_ADD, bundle_id, _ATOMIC_ORDERED) + added)


def barrier_request(xid: int) -> bytes:
    return message(Kind.BARRIER_REQUEST, xid, b"")


def no_packets_request(xid: int) -> bytes:
    """No packet and no expired entry shall be sent to us, in any role; port changes shall (7.3.10).

    And of a packet that comes nevertheless, no octet (7.3.2).
    """
    asynchronous = message(Kind.SET_ASYNC, xid, struct.pack("!IIIIII", 0, 0, 0b111, 0b111, 0, 0))
    return message(Kind.SET_CONFIG, xid, struct.pack("!HH", 0, 0)) + asynchronous


def multipart_request(kind: int, xid: int, body: bytes) -> bytes:
    return message(Kind.MULTIPART_REQUEST, xid, struct.pack("!HH4x", kind, 0) + body)


def port_desc_request(xid: int) -> bytes:
    return multipart_request(_PORT_DESC, xid, b"")


def flow_stats_request(xid: int, cookie: int = 0, cookie_mask: int = 0) -> bytes:
    """Asks for every entry of every table, or for those whose cookie has these bits."""
    body = struct.pack("!B3xII4xQQ", _ALL_TABLES, _ANY_PORT, _ANY_GROUP, cookie, cookie_mask)
    return multipart_request(_FLOW_STATS, xid, body + match(b""))


def item_stats_request(xid: int, cookie: int) -> bytes:
    """Asks for the entries with exactly this cookie: a switch finds them without looking at the others."""
    return flow_stats_request(xid, cookie, _WHOLE_COOKIE)


def decode_flow_stats(reply: bytes) -> Iterator[InstalledEntry]:
    """The entries in a flow statistics reply (the whole message with its header); none in any other message."""
    for offset, length, match_length in _flow_stats(reply):
        yield _installed(reply, offset, length, match_length)


def sift_flow_stats(reply: bytes, missing: dict[Identity, bytes]) -> Iterator[InstalledEntry]:
    """The same, but of the entries of the table ``missing`` those that are as it says are taken out of it instead.

    They are compared as octets, without a look into them, and most entries have the lengths of the one before them: a
    table that is as it should be costs next to nothing.
    """
    take, octets, offset = missing.pop, memoryview(reply), _FIRST
    end = len(reply) if multipart_kind(reply) == _FLOW_STATS else offset
    while offset < end:
        length, match_length = _lengths(reply, offset)
        alike = octets[offset : end - (end - offset) % length]
        for own, table, priority, head, match, tlvs, instructions in _layout(length, match_length).iter_unpack(alike):
            if own != length or match != match_length:
                break
            if take(table + priority + tlvs, None) != head + instructions:
                yield _installed(reply, offset, length, match_length)
            offset += length


@lru_cache(maxsize=256)
def _layout(length: int, match_length: int) -> struct.Struct:
    """Of an entry: length, table, priority, timeouts to cookie; the match's length and TLVs; the instructions."""
    padding = -match_length & 7
    rest = length - 48 - match_length - padding
    return struct.Struct(f"!Hs9x2s18s18xH{match_length - 4}s{padding}x{rest}s")


def _flow_stats(reply: bytes) -> Iterator[tuple[int, int, int]]:
    """(offset, length, length of the match) of each entry, known to lie within the reply."""
    if multipart_kind(reply) != _FLOW_STATS:
        return
    offset = _FIRST
    while offset < len(reply):
        length, match_length = _lengths(reply, offset)
        yield offset, length, match_length
        offset += length


def _lengths(reply: bytes, offset: int) -> tuple[int, int]:
    """Of the entry there and of its match, known to lie within the reply."""
    if len(reply) - offset < _FLOW_STATS_ENTRY.size:
        raise Malformed("a flow statistics reply that ends within an entry")
    length, match_length = _FLOW_STATS_LENGTHS.unpack_from(reply, offset)
    if match_length < 4 or length < 48 + match_length + (-match_length & 7) or offset + length > len(reply):
        raise Malformed("a flow statistics entry whose lengths contradict each other")
    return length, match_length


def _installed(reply: bytes, offset: int, length: int, match_length: int) -> InstalledEntry:
    _, table, seconds, priority, idle, hard, flags, cookie, packets, octets, _ = _FLOW_STATS_ENTRY.unpack_from(
        reply, offset
    )
    tlvs = canonical_match(reply[offset + 52 : offset + 48 + match_length])
    instructions = sound_instructions(reply[offset + 48 + (match_length + 7 & ~7) : offset + length])
    entry = SwitchEntry.of(table, priority, tlvs, instructions, cookie, idle, hard, flags)
    return InstalledEntry(entry, packets, octets, seconds)


def decode_ports(reply: bytes) -> Iterator[tuple[str, int]]:
    """(name, number) of each port in a port description reply, LOCAL too; none in any other message."""
    if multipart_kind(reply) != _PORT_DESC:
        return
    if len(reply) % 64 != 16:
        raise Malformed("a port description reply that ends within a port")
    for offset in range(16, len(reply), 64):
        number, name = struct.unpack_from("!I12x16s", reply, offset)
        yield name.rstrip(b"\0").decode(errors="replace"), number


def is_more(reply: bytes) -> bool:
    """Whether the message is part of a multipart reply and not the last part."""
    return reply[1] == Kind.MULTIPART_REPLY and bool(struct.unpack_from("!H", reply, 10)[0] & 1)


def xid_of(octets: bytes) -> int:
    return int.from_bytes(octets[4:8], "big")


def decode_error(octets: bytes) -> SwitchError | None:
    """The error that a message reports, None for any other message. Experimenter errors carry ONF's own code."""
    if octets[1] != Kind.ERROR:
        return None
    if len(octets) < 12:
        raise Malformed("an error without a code")
    xid, error, code = struct.unpack_from("!IHH", octets, 4)
    return SwitchError(xid, error, code)


def multipart_kind(octets: bytes) -> int | None:
    """What a multipart reply is about; None for any other message."""
    if octets[1] != Kind.MULTIPART_REPLY:
        return None
    if len(octets) < 16:
        raise Malformed("a multipart reply without its header")
    return int.from_bytes(octets[8:10], "big")
