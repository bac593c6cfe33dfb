"""The identities of the entries that a policy has by the thousand: one look at a shape, then only addresses follow.

A shape is table, priority and the names of a match. What is not a word, a port and one IPv4 address goes the general
way of ``oxm``, and so does what has a mask; both ways give the same octets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from socket import inet_aton
from typing import NamedTuple

from policies.match_fields import WORDS
from ryu_apps.flows.flow import FlowEntry, Match
from ryu_apps.openflow.oxm import Oxm, encode_match, encode_oxms
from ryu_apps.openflow.oxm_fields import BASIC, BY_NAME

Identity = bytes
"""What an OpenFlow table tells entries apart by: table, priority and the TLVs of the match in canonical form."""

IDENTITY = struct.Struct("!BH")  # table, priority; the TLVs follow

_ADDRESSES = ("nw_src", "nw_dst", "arp_spa", "arp_tpa")
_NAME = itemgetter(0)


class _Shape(NamedTuple):
    """Where the parts of an identity come from: ``starts[match[start][1]]``, then the address ``match[address][1]``."""

    starts: Mapping[str, bytes]  # by the port; where no port is matched, by the empty text of the word
    start: int
    address: int


_OTHER = _Shape({}, 0, 0)  # goes the general way


class IdentityEncoder:
    """With one switch's port numbers."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = ports
        self._shapes: dict[tuple[object, ...], _Shape] = {}

    def identities(self, flows: Iterable[FlowEntry]) -> Iterator[Identity | None]:
        """Of each entry; None: the switch has no such in_port.

        Raises KeyError for a field that has no number, ValueError for text that is none of its field's values.
        """
        shapes = self._shapes
        for flow in flows:
            table, priority, match = flow.table, flow.priority, flow.match
            key = (table, priority, *map(_NAME, match))
            shape = shapes.get(key)
            if shape is None:
                shape = shapes[key] = self._shape(table, priority, key[2:])
            if shape is _OTHER:
                yield self._any(table, priority, match)
                continue
            starts, start, address = shape
            try:
                text = match[start][1]
                yield starts[text] + inet_aton(match[address][1]) if text in starts else None
            except OSError:  # a mask, or no address at all
                yield self._any(table, priority, match)

    def _shape(self, table: int, priority: int, names: tuple[str, ...]) -> _Shape:
        words = [name for name in names if name in WORDS]
        addresses = [name for name in names if name in _ADDRESSES]
        if len(words) != 1 or len(addresses) != 1 or {*names} - {*words, *addresses, "in_port"}:
            return _OTHER
        head, word = IDENTITY.pack(table, priority), encode_oxms(encode_match(((words[0], ""),), {}))
        before = word + Oxm(BASIC, BY_NAME[addresses[0]].number, bytes(4)).encode()[:4]
        address = names.index(addresses[0])
        if "in_port" not in names:
            return _Shape({"": head + before}, names.index(words[0]), address)
        starts = {name: head + _in_port(number) + before for name, number in self._ports.items()}
        return _Shape(starts, names.index("in_port"), address)

    def _any(self, table: int, priority: int, match: Match) -> Identity | None:
        if any(name == "in_port" and text not in self._ports for name, text in match):
            return None
        return IDENTITY.pack(table, priority) + encode_oxms(encode_match(match, self._ports))


def _in_port(number: int) -> bytes:
    return Oxm(BASIC, 0, number.to_bytes(4, "big")).encode()
