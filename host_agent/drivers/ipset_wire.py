"""Messages of the kernel's ipset interface (nfnetlink subsystem 6), made and read as bytes. Pure.

Source: ``linux/netfilter/ipset/ip_set.h``. Numbers of headers are in the machine's order, those in attributes in
network order. The entries of a set all have one shape, so a hundred thousand are written by repeating one element
and laying each byte of the addresses over all of them at once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from host_agent.drivers import netlink_wire as framing
from host_agent.drivers.netlink_wire import (
    ACK,
    CREATE,
    DUMP,
    EXCLUSIVE,
    NESTED,
    NETWORK_ORDER,
    REQUEST,
    attribute,
    attributes,
    each_attribute,
    text,
    text_of,
)
from host_agent.prefixes import ADDRESS_FAMILY, BITS, Family, width

PROTOCOL = 6  # the interface's version that all kernels in use speak
TYPE = "hash:net"

SUBSYSTEM = 6
Command = Literal["create", "destroy", "rename", "swap", "list", "add", "type"]
COMMANDS: dict[Command, int] = {"create": 2, "destroy": 3, "rename": 5, "swap": 6, "list": 7, "add": 9, "type": 13}

HEAD = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource id

# Attributes of a message, of a set's data, and of an entry.
A_PROTOCOL, A_NAME, A_TYPE, A_SECOND_NAME, A_REVISION, A_FAMILY, A_FLAGS, A_DATA, A_ENTRIES, A_LINE = (
    1, 2, 3, 3, 4, 5, 6, 7, 8, 9,
)  # fmt: skip
ADDRESS_ATTRIBUTE: dict[Family, int] = {"ipv4": 1, "ipv6": 2}
D_INITVAL, D_HASHSIZE, D_MAXELEM, D_ELEMENTS = 17, 18, 19, 24
E_ADDRESS, E_LENGTH = 1, 3
HEADERS_ONLY = 1 << 2

PER_MESSAGE = 1500  # entries: an attribute is smaller than 64 KiB
LEAST_BUCKETS = 64


@dataclass(frozen=True)
class Header:
    """What the kernel says of a set without its entries."""

    name: str
    type_name: str
    family: int
    capacity: int  # maxelem
    count: int
    start_value: int | None  # initval; kernels before 5.11 do not have it


class Shape:
    """The one form that entries of a family have in a message, with an address and a length of 0."""

    def __init__(self, family: Family) -> None:
        size = BITS[family] // 8
        self.sent = _entry(ADDRESS_ATTRIBUTE[family] | NETWORK_ORDER, size)
        self.received = _entry(ADDRESS_ATTRIBUTE[family], size)  # the kernel asks for the flag and does not set it
        start = 4 + 4 + 4  # behind the heads of the entry, of its address, and of the address by family
        self.places = (*range(start, start + size), start + size + 4)  # of the bytes of a packed entry


def _entry(kind: int, size: int) -> bytes:
    address = attribute(E_ADDRESS | NESTED, attribute(kind, bytes(size)))
    return attribute(A_DATA | NESTED, address + attribute(E_LENGTH, b"\0"))


def number(kind: int, value: int) -> bytes:
    return attribute(kind | NETWORK_ORDER, struct.pack(">I", value))


SHAPES: dict[Family, Shape] = {family: Shape(family) for family in BITS}


def message(command: Command, attributes: bytes, flags: int = REQUEST | ACK) -> bytes:
    body = HEAD.pack(2, 0, 0) + attribute(A_PROTOCOL, bytes([PROTOCOL])) + attributes
    return framing.message(SUBSYSTEM << 8 | COMMANDS[command], flags, body)


def type_question(family: Family) -> bytes:
    """Which revisions of the set type the kernel has."""
    return message("type", text(A_TYPE, TYPE) + attribute(A_FAMILY, bytes([ADDRESS_FAMILY[family]])))


def create(name: str, family: Family, revision: int, count: int, capacity: int, start_value: int) -> bytes:
    """An empty set with buckets for ``count`` entries, so that it never has to grow while it is filled."""
    buckets = max(LEAST_BUCKETS, 1 << (count // 2).bit_length())
    data = number(D_HASHSIZE, buckets) + number(D_MAXELEM, capacity) + number(D_INITVAL, start_value)
    return message(
        "create",
        text(A_NAME, name)
        + text(A_TYPE, TYPE)
        + attribute(A_REVISION, bytes([revision]))
        + attribute(A_FAMILY, bytes([ADDRESS_FAMILY[family]]))
        + attribute(A_DATA | NESTED, data),
        REQUEST | ACK | CREATE | EXCLUSIVE,
    )


def additions(name: str, family: Family, packed: bytes) -> Iterator[bytes]:
    """Messages that add all entries."""
    step, shape = width(family), SHAPES[family]
    start = text(A_NAME, name) + number(A_LINE, 1)
    for at in range(0, len(packed), PER_MESSAGE * step):
        part = packed[at : at + PER_MESSAGE * step]
        entries = bytearray(shape.sent * (len(part) // step))
        for byte, place in enumerate(shape.places):
            entries[place :: len(shape.sent)] = part[byte::step]
        yield message("add", start + attribute(A_ENTRIES | NESTED, bytes(entries)))


def rename(old: str, new: str) -> bytes:
    return message("rename", text(A_NAME, old) + text(A_SECOND_NAME, new))


def swap(one: str, other: str) -> bytes:
    return message("swap", text(A_NAME, one) + text(A_SECOND_NAME, other))


def destroy(name: str) -> bytes:
    return message("destroy", text(A_NAME, name))


def headers() -> bytes:
    """The headers of all sets."""
    return message("list", number(A_FLAGS, HEADERS_ONLY), REQUEST | DUMP)


def listing(name: str) -> bytes:
    """One set with its entries."""
    return message("list", text(A_NAME, name), REQUEST | DUMP)


def header(body: bytes) -> Header | None:
    """A set's header from an answer to ``headers``; None if the answer goes on with entries of an earlier one."""
    found = attributes(body, HEAD.size)
    if A_TYPE not in found or A_DATA not in found:
        return None
    data = attributes(found[A_DATA])
    return Header(
        text_of(found[A_NAME]),
        text_of(found[A_TYPE]),
        found[A_FAMILY][0],
        int.from_bytes(data.get(D_MAXELEM, b"")),
        int.from_bytes(data.get(D_ELEMENTS, b"")),
        int.from_bytes(data[D_INITVAL]) if D_INITVAL in data else None,
    )


def revision(body: bytes) -> int:
    """The newest revision of the set type, from the answer to ``type_question``."""
    return attributes(body, HEAD.size)[A_REVISION][0]


def entries(body: bytes, family: Family) -> bytes:
    """The packed entries in an answer to ``listing``, in the kernel's order. One with more to it than address and
    length (as "nomatch") gets a length that no prefix has."""
    data = attributes(body, HEAD.size).get(A_ENTRIES, b"")
    step, shape = width(family), SHAPES[family]
    size = len(shape.received)
    count = len(data) // size
    blank, packed = bytearray(data), bytearray(step * count)
    if count * size == len(data):
        for byte, place in enumerate(shape.places):
            packed[byte::step] = data[place::size]
            blank[place::size] = bytes(count)
        if blank == shape.received * count:
            return bytes(packed)
    return b"".join(_odd(attributes(entry)) for _, entry in each_attribute(data))


def same_entries(found: bytes, wanted: bytes, family: Family) -> bool:
    """Whether both are the same packed entries, in whatever order. ``wanted`` has none twice, nor has a set."""
    if len(found) != len(wanted):
        return False
    return family == "ipv4" and set(_numbers(found)) == set(_numbers(wanted))


def _numbers(packed: bytes) -> memoryview:
    """The entries of an IPv4 set as numbers of eight bytes, which C compares."""
    padded = bytearray(8 * (len(packed) // 5))
    for byte in range(5):
        padded[byte::8] = packed[byte::5]
    return memoryview(padded).cast("Q")


def sorted_entries(packed: bytes, family: Family) -> list[bytes]:
    step = width(family)
    return sorted(packed[at : at + step] for at in range(0, len(packed), step))


def _odd(entry: dict[int, bytes]) -> bytes:
    (address,) = attributes(entry[E_ADDRESS]).values()
    return address + (entry[E_LENGTH] if set(entry) == {E_ADDRESS, E_LENGTH} else b"\xff")
