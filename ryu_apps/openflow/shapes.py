"""The identities of the entries that a policy has by the thousand: one look at a shape, then only addresses follow.

A shape is table, priority and the names of a match. What is not a word, a port and one IPv4 address goes the general
way of ``oxm``, and so does what has a mask; both ways give the same octets.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from operator import itemgetter
from socket import inet_aton

from policies.match_fields import WORDS
from ryu_apps.flows.flow import Match
from ryu_apps.openflow.oxm import Oxm, encode_match, encode_oxms
from ryu_apps.openflow.oxm_fields import BASIC, BY_NAME

Identity = bytes
"""What an OpenFlow table tells entries apart by: table, priority and the TLVs of the match in canonical form."""

IDENTITY = struct.Struct("!BH")  # table, priority; the TLVs follow

_Encode = Callable[[Match], Identity | None]
_ADDRESSES = ("nw_src", "nw_dst", "arp_spa", "arp_tpa")
_NAME = itemgetter(0)


class IdentityEncoder:
    """With one switch's port numbers."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = ports
        self._shapes: dict[tuple[int, int, tuple[str, ...]], _Encode] = {}

    def __call__(self, table: int, priority: int, match: Match) -> Identity | None:
        """None: the switch has no such in_port.

        Raises KeyError for a field that has no number, ValueError for text that is none of its field's values.
        """
        shape = table, priority, tuple(map(_NAME, match))
        encode = self._shapes.get(shape)
        if encode is None:
            encode = self._shapes[shape] = self._encode(*shape)
        try:
            return encode(match)
        except OSError:  # a mask, or no address at all
            return self._any(IDENTITY.pack(table, priority))(match)

    def _encode(self, table: int, priority: int, names: tuple[str, ...]) -> _Encode:
        head = IDENTITY.pack(table, priority)
        words = [name for name in names if name in WORDS]
        addresses = [name for name in names if name in _ADDRESSES]
        if len(words) != 1 or len(addresses) != 1 or {*names} - {*words, *addresses, "in_port"}:
            return self._any(head)
        word = encode_oxms(encode_match(((words[0], ""),), {}))
        before = word + Oxm(BASIC, BY_NAME[addresses[0]].number, bytes(4)).encode()[:4]
        address = names.index(addresses[0])
        if "in_port" not in names:
            start = head + before
            return lambda match: start + inet_aton(match[address][1])
        port = names.index("in_port")
        starts = {name: head + _in_port(number) + before for name, number in self._ports.items()}

        def encode(match: Match) -> Identity | None:
            start = starts.get(match[port][1])
            return None if start is None else start + inet_aton(match[address][1])

        return encode

    def _any(self, head: bytes) -> _Encode:
        def encode(match: Match) -> Identity | None:
            if any(name == "in_port" and text not in self._ports for name, text in match):
                return None
            return head + encode_oxms(encode_match(match, self._ports))

        return encode


def _in_port(number: int) -> bytes:
    return Oxm(BASIC, 0, number.to_bytes(4, "big")).encode()
