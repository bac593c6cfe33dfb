"""Address prefixes by the hundred thousand: parsed, aggregated and compared as integers. Pure.

Inside this module a prefix is one integer, its *key*: the first address, shifted left by eight bits, and the length.
Keys sort by address, and of two that begin alike the wider comes first.
"""

from __future__ import annotations

import re
import socket
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

Family = Literal["ipv4", "ipv6"]
BITS: dict[Family, int] = {"ipv4": 32, "ipv6": 128}
ADDRESS_FAMILY: dict[Family, socket.AddressFamily] = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
FAMILY_NAMES: dict[int, Family] = {number: family for family, number in ADDRESS_FAMILY.items()}
LENGTHS = {str(length): length for length in range(129)}  # no sign, no blank, no leading zero
EVERYTHING = 0  # the key of the /0
SHOWN = 5  # bad lines that are told one by one
COMMENT = re.compile(r"[#;].*")


class BadPrefixes(ValueError):
    """A text that is no list of prefixes; ``problems`` says why, line by line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True)
class Seal:
    """What tells one content of a set from another when only the kernel's short answer is at hand."""

    count: int
    digest: int  # 32 bits


def seal(packed: bytes, family: Family) -> Seal:
    """The seal of entries as Prefixes keeps them; they need not be aggregated, but sorted."""
    return Seal(len(packed) // width(family), int.from_bytes(sha256(packed).digest()[:4]))


def width(family: Family) -> int:
    """Bytes of a packed entry: the address and one for the length."""
    return BITS[family] // 8 + 1


@dataclass(frozen=True)
class Prefixes:
    """A set of addresses of one family, as the fewest prefixes that cover it; equal if the addresses are.

    ``packed`` holds them in ascending order, each as its address in network order and one byte of length: 5 bytes for
    an IPv4 prefix, 17 for an IPv6 one. All addresses are kept as two halves, since no ipset holds a /0.
    """

    family: Family
    packed: bytes = b""

    @staticmethod
    def of(family: Family, networks: Iterable[IPv4Network | IPv6Network]) -> Prefixes:
        """From networks of the standard library. Raises ValueError for one of the other family."""
        keys = []
        for network in networks:
            if network.max_prefixlen != BITS[family]:
                raise ValueError(f"{network} among {family} prefixes")
            keys.append(int(network.network_address) << 8 | network.prefixlen)
        return from_keys(family, keys)

    def __len__(self) -> int:
        return len(self.packed) // width(self.family)

    def __iter__(self) -> Iterator[str]:
        """The prefixes as text, in order."""
        step, kind = width(self.family), ADDRESS_FAMILY[self.family]
        for at in range(0, len(self.packed), step):
            yield f"{socket.inet_ntop(kind, self.packed[at : at + step - 1])}/{self.packed[at + step - 1]}"

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        if address.max_prefixlen != BITS[self.family]:
            return False
        step = width(self.family)
        # The last prefix that begins at or before the address is the only one that can hold it.
        last = bisect_right(range(len(self)), address.packed, key=lambda n: self.packed[n * step : n * step + step - 1])
        if last == 0:
            return False
        start, length = self.packed[(last - 1) * step : last * step - 1], self.packed[last * step - 1]
        return (int.from_bytes(start) ^ int(address)) >> BITS[self.family] - length == 0

    def __sub__(self, other: Prefixes) -> Prefixes:
        """The addresses that are here and not there."""
        if self.family != other.family:
            raise ValueError("prefixes of two families")
        holes, left = [*other.ranges()], []
        at = 0
        for first, last in self.ranges():
            while at < len(holes) and holes[at][1] < first:
                at += 1
            cut = at
            while cut < len(holes) and holes[cut][0] <= last:
                if first < holes[cut][0]:
                    left.append((first, holes[cut][0] - 1))
                first = holes[cut][1] + 1
                cut += 1
            if first <= last:
                left.append((first, last))
        return from_ranges(self.family, left)

    @cached_property
    def seal(self) -> Seal:
        return seal(self.packed, self.family)

    def keys(self) -> list[int]:
        step = width(self.family)
        return [int.from_bytes(self.packed[at : at + step]) for at in range(0, len(self.packed), step)]

    def ranges(self) -> Iterator[tuple[int, int]]:
        """First and last address of each prefix."""
        bits = BITS[self.family]
        for key in self.keys():
            first = key >> 8
            yield first, first + (1 << bits - (key & 0xFF)) - 1


def from_keys(family: Family, keys: Iterable[int]) -> Prefixes:
    return _pack(family, aggregated(keys, BITS[family]))


def _pack(family: Family, whole: list[int]) -> Prefixes:
    if whole == [EVERYTHING]:
        whole = [1, 1 << BITS[family] - 1 << 8 | 1]
    size = width(family)
    return Prefixes(family, b"".join([key.to_bytes(size) for key in whole]))


def from_ranges(family: Family, ranges: Iterable[tuple[int, int]]) -> Prefixes:
    """From first and last addresses."""
    bits = BITS[family]
    return from_keys(family, (key for first, last in ranges for key in _keys_of_range(first, last, bits)))


def _keys_of_range(first: int, last: int, bits: int) -> Iterator[int]:
    while first <= last:
        aligned = (first & -first).bit_length() - 1 if first else bits
        power = min(aligned, (last - first + 1).bit_length() - 1)
        yield first << 8 | bits - power
        first += 1 << power


def aggregated(keys: Iterable[int], bits: int) -> list[int]:
    """The fewest keys that cover the same addresses, ascending."""
    whole: list[int] = []
    end = 0  # what is below is covered
    for key in sorted(keys):
        start = key >> 8
        if start < end:
            continue
        length = key & 0xFF
        size = 1 << bits - length
        end = start + size
        # An upper half whose lower half came just before makes one prefix with it, and that one perhaps with another.
        while start & size and whole and whole[-1] == (start ^ size) << 8 | length:
            whole.pop()
            start ^= size
            length -= 1
            size <<= 1
        whole.append(start << 8 | length)
    return whole


def parse(data: bytes, family: Family) -> Prefixes:
    """A list of prefixes or addresses, one a line; blank lines, and comments after "#" or ";", are allowed.

    Raises BadPrefixes: for a line that is anything else, for a prefix with bits set behind its length, and if the
    lines together cover every address: as a country's that would exempt all traffic.
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        line_number = data.count(b"\n", 0, error.start) + 1
        raise BadPrefixes([f"line {line_number}: not plain text"]) from None
    kind, bits = ADDRESS_FAMILY[family], BITS[family]
    beyond = {length: (1 << bits - length) - 1 for length in range(bits + 1)}
    keys: list[int] = []
    strange: list[tuple[int, str]] = []
    convert, number_of = socket.inet_pton, int.from_bytes  # local names: this loop is the parser's whole cost
    for number, line in enumerate(text.split("\n"), 1):
        address, _, length_text = line.partition("/")
        try:
            start, length = number_of(convert(kind, address)), LENGTHS[length_text]
            if start & beyond[length]:
                strange.append((number, line))
            keys.append(start << 8 | length)
        except (OSError, ValueError, KeyError):
            strange.append((number, line))
    problems = []
    for number, line in strange:
        plain = COMMENT.sub("", line).strip()
        if plain:
            found = _key(plain, family)
            if isinstance(found, int):
                keys.append(found)
            else:
                problems.append(f"line {number}: {found}")
                if plain.startswith("<"):
                    break
    if problems:
        more = [f"and {len(problems) - SHOWN} more lines"] if len(problems) > SHOWN else []
        raise BadPrefixes(problems[:SHOWN] + more)
    whole = aggregated(keys, bits)
    if whole == [EVERYTHING]:
        raise BadPrefixes([f"the lines together cover every {family} address"])
    return _pack(family, whole)


def _key(text: str, family: Family) -> int | str:
    """The key of one line without its comment, or what is wrong with it."""
    shown = repr(text if len(text) <= 60 else text[:57] + "...")
    if text.startswith("<"):
        return f"{shown}: a page of HTML, not a list of prefixes"
    address, slash, length_text = text.partition("/")
    other: Family = "ipv6" if family == "ipv4" else "ipv4"
    start = _address(address, family)
    if start is None:
        if _address(address, other) is not None:
            return f"{shown} is {other}, and this is a list for {family}"
        return f"{shown} is no {family} prefix"
    bits = BITS[family]
    length = LENGTHS.get(length_text, bits + 1) if slash else bits
    if length > bits:
        return f"{shown}: the length must be a number from 0 to {bits}"
    if start & (1 << bits - length) - 1:
        first = start >> bits - length << bits - length
        meant = socket.inet_ntop(ADDRESS_FAMILY[family], first.to_bytes(bits // 8))
        return f"{shown} has bits set behind its length; {meant}/{length} would be a prefix"
    return start << 8 | length


def _address(text: str, family: Family) -> int | None:
    try:
        return int.from_bytes(socket.inet_pton(ADDRESS_FAMILY[family], text))
    except (OSError, ValueError):
        return None
