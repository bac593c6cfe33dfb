"""Match fields: all forms come to one, and what ovs-ofctl would quietly ignore is made true or refused."""

from __future__ import annotations

import pytest

from policies.match import MatchError, normalise

VECTOR_DB = (("ip", ""), ("nw_dst", "100.104.70.10"))


@pytest.mark.parametrize(
    "given",
    [
        {"ip": "nw_dst=100.104.70.10"},
        {"nw_dst": "100.104.70.10"},
        {"ip": "", "nw_dst": "100.104.70.10/32"},
        {"ip": None, "ip_dst": "100.104.70.10/255.255.255.255"},
        {"ip": True, "ipv4_dst": "100.104.70.10"},
        {"dl_type": 0x0800, "nw_dst": "100.104.70.10"},
        {"eth_type": "0x800", "nw_dst": "100.104.70.10", "nw_src": "0.0.0.0/0"},
        "ip,nw_dst=100.104.70.10",
        "nw_dst=100.104.70.10 ip",
        " ip , nw_dst=100.104.70.10,",
    ],
)
def test_every_form_of_one_match_is_the_same(given: dict[str, object] | str) -> None:
    assert normalise(given) == VECTOR_DB


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ()),
        ({}, ()),
        ({"in_port": "warp0"}, "in_port=warp0"),
        ('in_port="nm-privacy"', "in_port=nm-privacy"),
        ({"tcp": "tp_dst=80"}, "tcp tp_dst=80"),
        ({"tcp_dst": 80}, "tcp tp_dst=80"),
        ({"udp_dst": "0x35", "ipv6": ""}, "tp_dst=53 udp6"),
        ({"udp_src": 53, "ipv6_dst": "2001:DB8:0::0/32"}, "ipv6_dst=2001:db8::/32 tp_src=53 udp6"),
        ({"ip": "", "nw_proto": 6, "tp_dst": 80}, "tcp tp_dst=80"),
        ("ip,nw_proto=1", "icmp"),
        ("ip,nw_proto=17", "udp"),
        ("ipv6,nw_proto=58", "icmp6"),
        ("ipv6,nw_proto=6", "tcp6"),
        ("ip,nw_proto=47,nw_tos=0xb8", "ip nw_proto=47 nw_tos=184"),
        ("ip,tcp", "tcp"),
        ("icmp6,icmp_type=135", "icmp6 icmp_type=135"),
        ("icmpv6_type=135,icmpv6_code=0", "icmp6 icmp_code=0 icmp_type=135"),
        ("icmp,icmp_code=3", "icmp icmp_code=3"),
        ("arp_tpa=192.0.2.1", "arp arp_tpa=192.0.2.1"),
        ("arp,nw_src=192.0.2.1,nw_dst=192.0.2.0/24,nw_proto=2", "arp arp_op=2 arp_spa=192.0.2.1 arp_tpa=192.0.2.0/24"),
        ("dl_type=0x0806", "arp"),
        ("dl_type=0x88CC", "dl_type=0x88cc"),
        ("ipv6_src=::/0", "ipv6"),
        ("nw_src=192.0.2.0/255.255.255.0", "ip nw_src=192.0.2.0/24"),
        ("dl_vlan=10", "vlan_vid=10"),
        ("eth_src=02:00:00:00:00:AA", "dl_src=02:00:00:00:00:aa"),
        ("dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"),
        ("dl_dst=02:00:00:00:00:01/ff:ff:ff:ff:ff:ff", "dl_dst=02:00:00:00:00:01"),
        ("eth_dst=00:00:00:00:00:00/00:00:00:00:00:00", ""),
    ],
)
def test_normal_forms(given: dict[str, object] | str, expected: str | tuple[()]) -> None:
    words = [part.partition("=") for part in expected.split()] if isinstance(expected, str) else []
    assert normalise(given) == tuple((name, text) for name, _, text in words)


@pytest.mark.parametrize(
    ("given", "key", "message"),
    [
        ({"in_prt": "warp0"}, "in_prt", "did you mean in_port?"),
        ({"quux": "1"}, "quux", "known are arp"),
        ({"ip": "nw_dest=1.2.3.4"}, "ip", 'unknown match field "nw_dest"; did you mean nw_dst?'),
        ("ip,priority=5", "", "priority is no match field"),
        ({"actions": "drop"}, "actions", "no match field"),
        ({"ip": "192.0.2.1"}, "ip", "is a protocol"),
        ({"ip": False}, "ip", "is a protocol"),
        ({"ip": 1}, "ip", "is a protocol"),
        ("ip=4", "", "has no value"),
        ("nw_dst", "", "needs a value"),
        ({"in_port": None}, "in_port", "expected text or a whole number, got null"),
        ({"nw_dst": ["192.0.2.1"]}, "nw_dst", "expected text or a whole number, got a list"),
        ({"nw_dst": True}, "nw_dst", "expected text or a whole number"),
        ({"in_port": 1}, "in_port", "name of a switch port"),
        ({"in_port": "a b"}, "in_port", "name of a switch port"),
        ({"nw_dst": "192.0.2.1/24"}, "nw_dst", "host bits set outside its mask: write 192.0.2.0/24"),
        ({"nw_dst": "192.0.2.0/0.0.0.255"}, "nw_dst", "expected an IPv4 address"),
        ({"nw_dst": "192.0.2.0/33"}, "nw_dst", "expected an IPv4 address"),
        ({"nw_dst": "192.0.2.01"}, "nw_dst", "expected an IPv4 address"),
        ({"nw_dst": "vps.example.com"}, "nw_dst", "expected an IPv4 address"),
        ({"nw_dst": "2001:db8::1"}, "nw_dst", "expected an IPv4 address"),
        ({"ipv6_dst": "fe80::1%eth0"}, "ipv6_dst", "expected an IPv6 address"),
        ({"ipv6_dst": "2001:db8::/255.255.0.0"}, "ipv6_dst", "expected an IPv6 address"),
        ({"ipv6_dst": "2001:db8::1/32"}, "ipv6_dst", "host bits"),
        ({"dl_dst": "02:00:00:00:00"}, "dl_dst", "expected an Ethernet address"),
        ({"dl_dst": "01:00:00:00:00:01/01:00:00:00:00:00"}, "dl_dst", "bits set that its mask leaves out"),
        ({"ip": "", "nw_tos": 3}, "nw_tos", "multiple of 4"),
        ({"vlan_vid": 4096}, "vlan_vid", "from 0 to 4095"),
        ({"tcp": "", "tp_dst": "080"}, "tp_dst", "from 0 to 65535"),
        ({"tcp": "", "tp_dst": -1}, "tp_dst", "from 0 to 65535"),
        ({"tp_dst": 80}, "tp_dst", "needs tcp or udp"),
        ({"ip": "tp_dst=80"}, "ip", "needs tcp or udp"),
        ({"icmp_type": 8}, "icmp_type", "needs icmp or icmp6"),
        ({"nw_proto": 6}, "nw_proto", "needs ip or ipv6"),
        ({"nw_tos": 4}, "nw_tos", "needs ip or ipv6"),
        ({"arp": "", "nw_tos": 4}, "nw_tos", "needs ip or ipv6"),
        ({"arp": "", "tp_dst": 4}, "tp_dst", "needs tcp or udp"),
        ({"tcp": "", "ipv6_dst": "2001:db8::1"}, "ipv6_dst", "means IPv6, but tcp means IPv4"),
        ({"ip": "", "arp": ""}, "arp", "no packet is both"),
        ({"dl_type": 0x86DD, "nw_dst": "192.0.2.1"}, "nw_dst", "no packet is both"),
        ({"tcp": "", "udp_dst": 53}, "udp_dst", "means UDP, but tcp means TCP"),
        ({"ip": "", "nw_proto": 58}, "nw_proto", "ICMPv6, which IPv4 does not carry"),
        ({"ipv6": "", "nw_proto": 1}, "nw_proto", "ICMP, which IPv6 does not carry"),
        ({"nw_dst": "192.0.2.1", "ip_dst": "192.0.2.1"}, "ip_dst", "another name of nw_dst"),
        ({"arp": "", "arp_tpa": "192.0.2.1", "nw_dst": "192.0.2.1"}, "nw_dst", "another name of arp_tpa"),
        ("nw_dst=192.0.2.1,nw_dst=192.0.2.1", "", "given twice"),
    ],
)
def test_refusals_name_the_key(given: dict[str, object] | str, key: str, message: str) -> None:
    with pytest.raises(MatchError) as caught:
        normalise(given)
    ((found, said),) = caught.value.problems
    assert (found, message in said) == (key, True), said


def test_all_problems_of_a_match_come_at_once() -> None:
    with pytest.raises(MatchError) as caught:
        normalise({"in_prt": "warp0", "nw_dst": "x", "tcp": "tp_dst=99999"})
    assert [key for key, _ in caught.value.problems] == ["in_prt", "nw_dst", "tcp"]
