"""The match fields of ovs-fields(7) that a policy may use, their other names, and what they need beside them.

One field has one name here and one text for each value, so that two matches are the same exactly when
their texts are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET, inet_pton

from policies.field_forms import ANY, Address, Flags, Form, Mac, Number, Vlan, Words
from policies.kinds import KERNEL_NAME, Unfit, described

__all__ = ["ALIASES", "ANY", "FIELDS", "IMPLIED", "KNOWN", "REFUSED", "WORDS", "canonical", "value_text", "writer"]

_IPV4 = Address(32, "IPv4", "192.0.2.1 or 192.0.2.0/24")
_IPV6 = Address(128, "IPv6", "2001:db8::1 or 2001:db8::/32")
_MAC = Mac()
_PORT = Number(16, maskable=True)
_CT_STATE = {"new": 1, "est": 2, "rel": 4, "rpl": 8, "inv": 16, "trk": 32, "snat": 64, "dnat": 128}
_TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128, "ns": 256}
_FRAGMENTS = {"no": (0, 3), "yes": (1, 1), "first": (1, 3), "later": (2, 2), "not_later": (0, 2)}


def _mark(bits: int) -> Number:
    return Number(bits, maskable=True, hexadecimal=True)


# Every field but in_port, whose value is the name of a port.
FIELDS: dict[str, Form] = {
    "dl_src": _MAC,
    "dl_dst": _MAC,
    "dl_type": Number(16, hexadecimal=True, digits=4, low=0x600),
    "vlan_vid": Vlan(),
    "vlan_pcp": Number(3),
    "mpls_label": Number(20),
    "mpls_tc": Number(3),
    "mpls_bos": Number(1),
    "mpls_ttl": Number(8),
    "nw_src": _IPV4,
    "nw_dst": _IPV4,
    "nw_proto": Number(8),
    "nw_tos": Number(8, high=252, step=4),  # the two lowest bits are ECN, not part of the field
    "nw_ecn": Number(2),
    "nw_ttl": Number(8),
    "ip_frag": Words(2, _FRAGMENTS),
    "ipv6_src": _IPV6,
    "ipv6_dst": _IPV6,
    "ipv6_label": Number(20, maskable=True, hexadecimal=True),
    "tp_src": _PORT,
    "tp_dst": _PORT,
    "tcp_flags": Flags(12, _TCP_FLAGS),
    "icmp_type": Number(8),
    "icmp_code": Number(8),
    "nd_target": _IPV6,
    "nd_sll": _MAC,
    "nd_tll": _MAC,
    "arp_op": Number(16, high=255),
    "arp_spa": _IPV4,
    "arp_tpa": _IPV4,
    "arp_sha": _MAC,
    "arp_tha": _MAC,
    "metadata": _mark(64),
    "pkt_mark": _mark(32),
    "tun_id": _mark(64),
    "tun_src": _IPV4,
    "tun_dst": _IPV4,
    "tun_ipv6_src": _IPV6,
    "tun_ipv6_dst": _IPV6,
    "ct_state": Flags(32, _CT_STATE),
    "ct_zone": Number(16, hexadecimal=True),
    "ct_mark": _mark(32),
    "ct_label": _mark(128),
    **{f"reg{number}": _mark(32) for number in range(16)},
}

# Protocol words, with the Ethernet type and the IP protocol that they stand for.
WORDS: dict[str, tuple[int, int | None]] = {
    "ip": (0x0800, None),
    "ipv6": (0x86DD, None),
    "arp": (0x0806, None),
    "rarp": (0x8035, None),
    "mpls": (0x8847, None),
    "mplsm": (0x8848, None),
    "icmp": (0x0800, 1),
    "tcp": (0x0800, 6),
    "udp": (0x0800, 17),
    "sctp": (0x0800, 132),
    "tcp6": (0x86DD, 6),
    "udp6": (0x86DD, 17),
    "sctp6": (0x86DD, 132),
    "icmp6": (0x86DD, 58),
}

ALIASES: dict[str, str] = {
    "eth_src": "dl_src",
    "eth_dst": "dl_dst",
    "eth_type": "dl_type",
    "dl_vlan": "vlan_vid",
    "dl_vlan_pcp": "vlan_pcp",
    "ip_src": "nw_src",
    "ipv4_src": "nw_src",
    "ip_dst": "nw_dst",
    "ipv4_dst": "nw_dst",
    "ip_proto": "nw_proto",
    "ip_dscp": "nw_tos",
    "ip_ecn": "nw_ecn",
    "ip_ttl": "nw_ttl",
    "nw_frag": "ip_frag",
    "tcp_src": "tp_src",
    "udp_src": "tp_src",
    "sctp_src": "tp_src",
    "tcp_dst": "tp_dst",
    "udp_dst": "tp_dst",
    "sctp_dst": "tp_dst",
    "icmpv6_type": "icmp_type",
    "icmpv6_code": "icmp_code",
    "tunnel_id": "tun_id",
}

# What a name says about the packet beyond its value: Ethernet type, IP protocol (None: says nothing).
IMPLIED: dict[str, tuple[int | None, int | None]] = {
    **WORDS,
    **dict.fromkeys(("ip_src", "ip_dst", "ipv4_src", "ipv4_dst"), (0x0800, None)),
    **dict.fromkeys(("ipv6_src", "ipv6_dst", "ipv6_label"), (0x86DD, None)),
    **dict.fromkeys(("arp_spa", "arp_tpa", "arp_op", "arp_sha", "arp_tha"), (0x0806, None)),
    **dict.fromkeys(("tcp_src", "tcp_dst", "tcp_flags"), (None, 6)),
    **dict.fromkeys(("udp_src", "udp_dst"), (None, 17)),
    **dict.fromkeys(("sctp_src", "sctp_dst"), (None, 132)),
    **dict.fromkeys(("icmpv6_type", "icmpv6_code", "nd_target", "nd_sll", "nd_tll"), (0x86DD, 58)),
}

# Fields that Open vSwitch has, and why a policy cannot match on them.
REFUSED: dict[str, str] = {
    **dict.fromkeys(("xreg0", "xxreg0"), "is made of other registers: match on reg0 to reg15"),
    "vlan_tci": "is vlan_vid and vlan_pcp in one: match on those",
    "conj_id": "needs conjunction actions, which a policy does not have",
    "in_port_oxm": "is another form of in_port, by number: match on in_port, by name",
    "actset_output": "reads the action set, which stays empty here",
    "skb_priority": "is no field that OpenFlow can carry",
    **dict.fromkeys(
        ("ct_nw_src", "ct_nw_dst", "ct_nw_proto", "ct_ipv6_src", "ct_ipv6_dst", "ct_tp_src", "ct_tp_dst"),
        "needs a tracked connection, and no entry of this bridge tracks any",
    ),
    "packet_type": "is always Ethernet on this bridge",
}

KNOWN = frozenset(FIELDS) | frozenset(WORDS) | frozenset(ALIASES) | {"in_port"}


def _port_name(text: str) -> str:
    name = text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text
    if not KERNEL_NAME.fullmatch(name):
        raise Unfit(f"expected the name of a switch port, got {described(text)}")
    return name


def _dscp(text: str) -> str:
    """nw_tos is the whole octet, of which ip_dscp is the upper six bits."""
    return str(Number(6).parse(text)[0] << 2)


def _ipv4(text: str) -> str:
    """inet_pton(3) takes an IPv4 address in one spelling only, so that one without a mask is canonical."""
    try:
        inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return _IPV4.text(*_IPV4.parse(text))
    return text


_OWN_WAY: dict[str, Callable[[str], str]] = {"in_port": _port_name, "ip_dscp": _dscp}


def writer(given: str) -> Callable[[str], str]:
    """What makes of a text the one text for the value of the field, which may be given by any of its names."""
    if given in _OWN_WAY:
        return _OWN_WAY[given]
    form = FIELDS[ALIASES.get(given, given)]
    if form is _IPV4:
        return _ipv4
    return lambda text: form.text(*form.parse(text))


def canonical(given: str, text: str) -> str:
    """Raises Unfit."""
    return writer(given)(text)


def value_text(name: str, text: str) -> str:
    """The text of one value, without a mask, as set_field needs it. Raises Unfit."""
    form = FIELDS[name]
    value, mask = form.parse(text)
    if mask != (1 << form.bits) - 1:
        raise Unfit(f"expected one value without a mask, got {described(text)}")
    return form.text(value, mask)
