"""The match fields of ovs-fields(7) that a policy may use, their other names, and how a value is written.

One field has one name here and one text for each value, so that two matches are the same exactly when
their texts are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from policies.kinds import Unfit, described

Canonical = Callable[[str], str]

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,8}|0|[1-9][0-9]{0,9}")
_ALL_ONES = "ff:ff:ff:ff:ff:ff"

ANY = ""  # the canonical text of a value that matches everything (a mask without bits)


def _number(low: int, high: int, step: int = 1, form: str = "d") -> Canonical:
    def canonical(text: str) -> str:
        value = int(text, 0) if _NUMBER.fullmatch(text) else -1
        if not low <= value <= high or value % step:
            multiple = f" that is a multiple of {step}" if step > 1 else ""
            raise Unfit(f"expected a number from {low} to {high}{multiple}, got {described(text)}")
        return f"0x{value:04x}" if form == "x" else str(value)

    return canonical


def _port_name(text: str) -> str:
    name = text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", name):
        raise Unfit(f"expected the name of a switch port, got {described(text)}")
    return name


def _mac(text: str) -> str:
    address, slash, mask = text.lower().partition("/")
    mask = mask if slash else _ALL_ONES
    if not _MAC.fullmatch(address) or not _MAC.fullmatch(mask):
        raise Unfit(f"expected an Ethernet address such as 02:00:00:00:00:01, got {described(text)}")
    if _bits(address) & ~_bits(mask):
        raise Unfit(f"{described(text)} has bits set that its mask leaves out")
    if not _bits(mask):
        return ANY
    return address if mask == _ALL_ONES else f"{address}/{mask}"


def _bits(mac: str) -> int:
    return int(mac.replace(":", ""), 16)


def _ipv4(text: str) -> str:
    address, slash, mask = text.partition("/")
    try:
        network = IPv4Network((address, _ipv4_length(mask) if slash else 32), strict=False)
    except ValueError:
        raise _not_an_address("IPv4", "192.0.2.1 or 192.0.2.0/24", text) from None
    return _whole(text, IPv4Address(address), network)


def _ipv6(text: str) -> str:
    address, slash, mask = text.partition("/")
    try:
        network = IPv6Network((address, _length(mask) if slash else 128), strict=False)
        if "%" in address:
            raise ValueError("a zone")
    except ValueError:
        raise _not_an_address("IPv6", "2001:db8::1 or 2001:db8::/32", text) from None
    return _whole(text, IPv6Address(address), network)


def _not_an_address(family: str, example: str, text: str) -> Unfit:
    return Unfit(f"expected an {family} address or subnet such as {example}, got {described(text)}")


def _whole(text: str, address: IPv4Address | IPv6Address, network: IPv4Network | IPv6Network) -> str:
    if network.network_address != address:
        raise Unfit(f"{described(text)} has host bits set outside its mask: write {network}")
    if network.prefixlen == 0:
        return ANY
    return str(address) if network.prefixlen == network.max_prefixlen else str(network)


def _ipv4_length(mask: str) -> int:
    """Of "24" or "255.255.255.0". ``ipaddress`` alone would take the wildcard mask 0.0.0.255 for a /24."""
    if "." not in mask:
        return _length(mask)
    bits = f"{int(IPv4Address(mask)):032b}"
    if "01" in bits:
        raise ValueError("not a netmask")
    return bits.count("1")


def _length(text: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,2}", text):
        raise ValueError("not a prefix length")
    return int(text)


VALUES: dict[str, Canonical] = {
    "in_port": _port_name,
    "dl_src": _mac,
    "dl_dst": _mac,
    "dl_type": _number(0x600, 0xFFFF, form="x"),
    "vlan_vid": _number(0, 4095),
    "nw_src": _ipv4,
    "nw_dst": _ipv4,
    "nw_proto": _number(0, 255),
    "nw_tos": _number(0, 252, step=4),  # the two lowest bits are ECN, not part of the field
    "ipv6_src": _ipv6,
    "ipv6_dst": _ipv6,
    "tp_src": _number(0, 65535),
    "tp_dst": _number(0, 65535),
    "arp_spa": _ipv4,
    "arp_tpa": _ipv4,
    "arp_op": _number(0, 255),
    "icmp_type": _number(0, 255),
    "icmp_code": _number(0, 255),
}

# Protocol words, with the Ethernet type and the IP protocol that they stand for.
WORDS: dict[str, tuple[int, int | None]] = {
    "ip": (0x0800, None),
    "ipv6": (0x86DD, None),
    "arp": (0x0806, None),
    "icmp": (0x0800, 1),
    "tcp": (0x0800, 6),
    "udp": (0x0800, 17),
    "tcp6": (0x86DD, 6),
    "udp6": (0x86DD, 17),
    "icmp6": (0x86DD, 58),
}

ALIASES: dict[str, str] = {
    "eth_src": "dl_src",
    "eth_dst": "dl_dst",
    "eth_type": "dl_type",
    "dl_vlan": "vlan_vid",
    "ip_src": "nw_src",
    "ipv4_src": "nw_src",
    "ip_dst": "nw_dst",
    "ipv4_dst": "nw_dst",
    "ip_proto": "nw_proto",
    "tcp_src": "tp_src",
    "udp_src": "tp_src",
    "tcp_dst": "tp_dst",
    "udp_dst": "tp_dst",
    "icmpv6_type": "icmp_type",
    "icmpv6_code": "icmp_code",
}

# What a name says about the packet beyond its value: Ethernet type, IP protocol (None: says nothing).
IMPLIED: dict[str, tuple[int | None, int | None]] = {
    **WORDS,
    "ip_src": (0x0800, None),
    "ip_dst": (0x0800, None),
    "ipv4_src": (0x0800, None),
    "ipv4_dst": (0x0800, None),
    "ipv6_src": (0x86DD, None),
    "ipv6_dst": (0x86DD, None),
    "arp_spa": (0x0806, None),
    "arp_tpa": (0x0806, None),
    "arp_op": (0x0806, None),
    "tcp_src": (None, 6),
    "tcp_dst": (None, 6),
    "udp_src": (None, 17),
    "udp_dst": (None, 17),
    "icmpv6_type": (0x86DD, 58),
    "icmpv6_code": (0x86DD, 58),
}

KNOWN = frozenset(VALUES) | frozenset(WORDS) | frozenset(ALIASES)
