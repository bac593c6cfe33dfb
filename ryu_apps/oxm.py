"""OpenFlow extensible match (OpenFlow 1.3.5, 7.2.3): from ovs-fields(7) names to TLVs, and back for people.

Each TLV is brought to the form in which a switch returns it (value and mask ANDed, a full mask left out, an empty one
dropped with its field), sorted by field. So two matches mean the same exactly when their TLVs are equal.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network

from ryu_apps.flow import Match

OPENFLOW_BASIC = 0x8000


@dataclass(frozen=True, order=True)
class Oxm:
    """One match field on the wire. ``mask`` is empty for an exact match."""

    oxm_class: int
    field: int
    value: bytes
    mask: bytes = b""

    def encode(self) -> bytes:
        body = self.value + self.mask
        return struct.pack("!HBB", self.oxm_class, self.field << 1 | bool(self.mask), len(body)) + body


OxmMatch = tuple[Oxm, ...]


@dataclass(frozen=True)
class _Kind:
    """How the text of a field is read and written; ``size`` is the value's length in octets."""

    size: int
    read: Callable[[str], int]
    write: Callable[[int], str]


def _number(text: str) -> int:
    return int(text, 0)


def _mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


def _mac_text(value: int) -> str:
    return value.to_bytes(6, "big").hex(":")


_IPV4 = _Kind(4, lambda text: int(IPv4Address(text)), lambda value: str(IPv4Address(value)))
_IPV6 = _Kind(16, lambda text: int(IPv6Address(text)), lambda value: str(IPv6Address(value)))
_MAC = _Kind(6, _mac, _mac_text)
_BYTE = _Kind(1, _number, str)
_SHORT = _Kind(2, _number, str)
_HEX = _Kind(2, _number, hex)
# nw_tos is the whole octet in ovs-fields(7), of which OpenFlow matches the upper six bits.
_TOS = _Kind(1, lambda text: _number(text) >> 2, lambda value: str(value << 2))
# A VLAN id; on the wire the bit above it says that there is a tag at all.
_VLAN_PRESENT = 0x1000
_VLAN = _Kind(2, lambda text: _number(text) | _VLAN_PRESENT, lambda value: str(value & ~_VLAN_PRESENT))

_IN_PORT, _ETH_TYPE, _IP_PROTO = 0, 5, 10
_FIELDS = {
    "dl_dst": (3, _MAC),
    "dl_src": (4, _MAC),
    "dl_type": (_ETH_TYPE, _HEX),
    "vlan_vid": (6, _VLAN),
    "nw_tos": (8, _TOS),
    "nw_proto": (_IP_PROTO, _BYTE),
    "nw_src": (11, _IPV4),
    "nw_dst": (12, _IPV4),
    "arp_op": (21, _SHORT),
    "arp_spa": (22, _IPV4),
    "arp_tpa": (23, _IPV4),
    "ipv6_src": (26, _IPV6),
    "ipv6_dst": (27, _IPV6),
}
_BY_PROTOCOL = {
    ("tp_src", 6): (13, _SHORT),
    ("tp_dst", 6): (14, _SHORT),
    ("tp_src", 17): (15, _SHORT),
    ("tp_dst", 17): (16, _SHORT),
    ("icmp_type", 1): (19, _BYTE),
    ("icmp_code", 1): (20, _BYTE),
    ("icmp_type", 58): (29, _BYTE),
    ("icmp_code", 58): (30, _BYTE),
}
_NAMES = {number: (name, kind) for name, (number, kind) in _FIELDS.items()}
_NAMES |= {number: (name, kind) for (name, _), (number, kind) in _BY_PROTOCOL.items()}

# word -> (Ethernet type, IP protocol)
_WORDS = {
    "ip": (0x0800, None),
    "ipv6": (0x86DD, None),
    "arp": (0x0806, None),
    "tcp": (0x0800, 6),
    "udp": (0x0800, 17),
    "icmp": (0x0800, 1),
    "tcp6": (0x86DD, 6),
    "udp6": (0x86DD, 17),
    "icmp6": (0x86DD, 58),
}


def encode_match(match: Match, ports: Mapping[str, int]) -> OxmMatch:
    """The TLVs of a match.

    Raises KeyError for a port or a field that has no number, ValueError for text that is none of its field's values.
    """
    fields: dict[int, Oxm] = {}
    protocol = _protocol(match)
    for name, text in match:
        for oxm in _encode(name, text, protocol, ports):
            fields[oxm.field] = oxm
    return canonical(tuple(fields.values()))


def canonical(match: OxmMatch) -> OxmMatch:
    return tuple(sorted(oxm for oxm in map(_canonical, match) if any(oxm.mask) or not oxm.mask))


def _encode(name: str, text: str, protocol: int | None, ports: Mapping[str, int]) -> list[Oxm]:
    if name in _WORDS:
        eth_type, ip_proto = _WORDS[name]
        oxms = [Oxm(OPENFLOW_BASIC, _ETH_TYPE, eth_type.to_bytes(2, "big"))]
        return oxms if ip_proto is None else [*oxms, Oxm(OPENFLOW_BASIC, _IP_PROTO, bytes((ip_proto,)))]
    if name == "in_port":
        return [Oxm(OPENFLOW_BASIC, _IN_PORT, ports[text].to_bytes(4, "big"))]
    number, kind = _FIELDS.get(name) or _BY_PROTOCOL[name, protocol or 0]
    value, _, mask = text.partition("/")
    if not mask:
        return [Oxm(OPENFLOW_BASIC, number, _octets(kind, kind.read(value)))]
    bits = _mask(kind, value, mask)
    return [Oxm(OPENFLOW_BASIC, number, _octets(kind, kind.read(value)), _octets(kind, bits))]


def _mask(kind: _Kind, value: str, mask: str) -> int:
    if kind in (_IPV4, _IPV6) and mask.isdigit():
        return int(ip_network(f"{value}/{mask}", strict=False).netmask)
    return kind.read(mask)


def _octets(kind: _Kind, value: int) -> bytes:
    try:
        return value.to_bytes(kind.size, "big")
    except OverflowError:
        raise ValueError(f"{value} does not fit into {kind.size} octets") from None


def _protocol(match: Match) -> int | None:
    for name, text in match:
        if name == "nw_proto":
            return _number(text)
        if name in _WORDS and _WORDS[name][1] is not None:
            return _WORDS[name][1]
    return None


def _canonical(oxm: Oxm) -> Oxm:
    if not oxm.mask:
        return oxm
    if all(octet == 0xFF for octet in oxm.mask):
        return Oxm(oxm.oxm_class, oxm.field, oxm.value)
    masked = bytes(value & mask for value, mask in zip(oxm.value, oxm.mask, strict=True))
    return Oxm(oxm.oxm_class, oxm.field, masked, oxm.mask)


def decode_match(data: bytes) -> OxmMatch:
    """TLVs as they came from a switch; fields we do not know are kept as they are."""
    oxms = []
    offset = 0
    while offset < len(data):
        oxm_class, field, length = struct.unpack_from("!HBB", data, offset)
        body = data[offset + 4 : offset + 4 + length]
        half = length // 2 if field & 1 else length
        oxms.append(Oxm(oxm_class, field >> 1, body[:half], body[half:]))
        offset += 4 + length
    return canonical(tuple(oxms))


def match_of(oxms: OxmMatch, ports: Mapping[int, str]) -> Match:
    """The match in ovs-fields(7) names, for people. A field without a name of ours appears by its number."""
    return tuple(_text(oxm, ports) for oxm in oxms)


def _text(oxm: Oxm, ports: Mapping[int, str]) -> tuple[str, str]:
    if oxm.oxm_class != OPENFLOW_BASIC or (oxm.field != _IN_PORT and oxm.field not in _NAMES):
        mask = f"/0x{oxm.mask.hex()}" if oxm.mask else ""
        return f"oxm_{oxm.oxm_class:#x}_{oxm.field}", f"0x{oxm.value.hex()}{mask}"
    value = int.from_bytes(oxm.value, "big")
    if oxm.field == _IN_PORT:
        return "in_port", ports.get(value, str(value))
    name, kind = _NAMES[oxm.field]
    mask = f"/{kind.write(int.from_bytes(oxm.mask, 'big'))}" if oxm.mask else ""
    return name, kind.write(value) + mask
