"""How messages of netlink(7) are framed: headers, attributes, answers. Pure.

Numbers are in the machine's byte order, but where a protocol on top says otherwise.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300  # flags of a question
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400  # of an order: ACK comes with each
INTERRUPTED, CAPPED, EXPLAINED = 0x10, 0x100, 0x200  # flags of an answer
ERROR, DONE = 2, 3  # message types
EXPLANATION = 1  # NLMSGERR_ATTR_MSG
NESTED, NETWORK_ORDER, KIND = 0x8000, 0x4000, 0x3FFF  # parts of an attribute's type
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
NUMBER = struct.Struct("=I")


def message(kind: int, flags: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body


def numbered(message: bytes, sequence: int) -> bytes:
    return message[:8] + NUMBER.pack(sequence) + message[12:]


def attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def number(kind: int, value: int) -> bytes:
    return attribute(kind, NUMBER.pack(value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and body of each message of a datagram."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        yield kind, flags, sequence, data[at + HEADER.size : at + length]
        at += max(HEADER.size, length + -length % 4)


def attributes(data: bytes, at: int = 0) -> dict[int, bytes]:
    """The attributes that begin there: type -> value."""
    found = {}
    end, unpack, head = len(data), ATTRIBUTE.unpack_from, ATTRIBUTE.size  # local: a reading is mostly this
    while at + head <= end:
        length, kind = unpack(data, at)
        found[kind & KIND] = data[at + head : at + length]
        at += (length + 3 & ~3) or head
    return found


def each_attribute(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    end = len(data)
    while at + ATTRIBUTE.size <= end:
        length, kind = ATTRIBUTE.unpack_from(data, at)
        yield kind & KIND, data[at + ATTRIBUTE.size : at + length]
        at += (length + 3 & ~3) or ATTRIBUTE.size


def number_of(value: bytes | None) -> int:
    """0 for an attribute that is not there: so the kernel means it."""
    return int(NUMBER.unpack_from(value)[0]) if value else 0


def text_of(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def error_of(flags: int, body: bytes) -> tuple[int, str]:
    """The error number at the start of the body of an ERROR or DONE message, 0 if all is well; and what the kernel
    explains in an ERROR."""
    (code,) = struct.unpack_from("=i", body)
    if not flags & EXPLAINED:
        return -code, ""
    echoed = HEADER.size if flags & CAPPED else NUMBER.unpack_from(body, 4)[0]
    return -code, text_of(attributes(body, 4 + echoed).get(EXPLANATION, b""))
