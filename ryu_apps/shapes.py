"""The octets of the matches that a policy has by the thousand: one look at a shape, then only addresses are filled in.

A shape is the names of a match. What is not a word, a port or one IPv4 address goes the general way of ``oxm``, and so
does what has a mask; both ways give the same octets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from socket import inet_aton

from policies.match_fields import WORDS
from ryu_apps.flow import Match
from ryu_apps.oxm import Oxm, encode_match
from ryu_apps.oxm_fields import BASIC, BY_NAME

Fill = Callable[[str, Mapping[str, int]], bytes]

_ADDRESSES = ("nw_src", "nw_dst", "arp_spa", "arp_tpa")


def match_octets(match: Match, ports: Mapping[str, int]) -> bytes:
    """The TLVs of a match in canonical form.

    Raises KeyError for a port or a field that has no number, ValueError for text that is none of its field's values.
    """
    shape = _shape(tuple([name for name, _ in match]))
    if shape is not None:
        try:
            return b"".join([head + fill(match[index][1], ports) for head, index, fill in shape])
        except OSError:
            pass  # a mask, or no address at all
    return encode_oxms(encode_match(match, ports))


def encode_oxms(oxms: tuple[Oxm, ...]) -> bytes:
    return b"".join([oxm.encode() for oxm in oxms])


@lru_cache(maxsize=1024)
def _shape(names: tuple[str, ...]) -> tuple[tuple[bytes, int, Fill], ...] | None:
    """(octets, index of the field in the match, what gives the rest) of each TLV in order; None for other shapes."""
    parts: list[tuple[int, bytes, int, Fill]] = []
    words = [name for name in names if name in WORDS]
    if len(words) > 1:
        return None
    for index, name in enumerate(names):
        if name in WORDS:
            octets = encode_oxms(encode_match(((name, ""),), {}))
            parts.append((BY_NAME["dl_type"].number, octets, index, _nothing))
        elif name == "in_port":
            parts.append((0, _head(0), index, _port))
        elif name in _ADDRESSES:
            parts.append((BY_NAME[name].number, _head(BY_NAME[name].number), index, _address))
        else:
            return None
    return tuple((octets, index, fill) for _, octets, index, fill in sorted(parts, key=lambda part: part[0]))


def _head(number: int) -> bytes:
    """The header of a field of four octets."""
    return Oxm(BASIC, number, bytes(4)).encode()[:4]


def _nothing(_text: str, _ports: Mapping[str, int]) -> bytes:
    return b""


def _port(text: str, ports: Mapping[str, int]) -> bytes:
    return ports[text].to_bytes(4, "big")


def _address(text: str, _ports: Mapping[str, int]) -> bytes:
    return inet_aton(text)
