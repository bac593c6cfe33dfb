"""Match fields: all forms come to one, and what ovs-ofctl would quietly ignore is made true or refused."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from policies.field_forms import ipv4_number
from policies.kinds import Unfit
from policies.match import MatchError, _by_its_shape, _with_care, normalise
from policies.match_fields import FIELDS, WORDS, canonical

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
        ("nw_src=0.0.0.1/0.0.0.1", "ip nw_src=0.0.0.1/0.0.0.1"),
        ("nw_src=10.0.1.0/255.0.255.0", "ip nw_src=10.0.1.0/255.0.255.0"),
        ("ipv6_src=::1/::ffff", "ipv6 ipv6_src=::1/::ffff"),
        ("sctp_dst=5000", "sctp tp_dst=5000"),
        ("tcp,tp_dst=0x1000/0xf000", "tcp tp_dst=0x1000/0xf000"),
        ("tcp_flags=+syn-ack", "tcp tcp_flags=+syn-ack"),
        ("tcp6,tcp_flags=0x2/0x12", "tcp6 tcp_flags=+syn-ack"),
        ("ct_state=+trk+est", "ct_state=+est+trk"),
        ("ct_state=0x20/0x21,ct_mark=7,ct_zone=1", "ct_mark=0x7 ct_state=-new+trk ct_zone=0x1"),
        ("reg0=5,metadata=0x10/0xf0,pkt_mark=256", "metadata=0x10/0xf0 pkt_mark=0x100 reg0=0x5"),
        ("tunnel_id=1", "tun_id=0x1"),
        ("ip,ip_dscp=46,ip_ecn=1,nw_ttl=64", "ip nw_ecn=1 nw_tos=184 nw_ttl=64"),
        ("ip,nw_frag=not_later", "ip ip_frag=not_later"),
        ("ipv6_label=0x12345", "ipv6 ipv6_label=0x12345"),
        ("nd_target=2001:db8::1,icmp_type=135,icmp_code=0", "icmp6 icmp_code=0 icmp_type=135 nd_target=2001:db8::1"),
        (
            "arp_sha=02:00:00:00:00:01,arp_tha=00:00:00:00:00:00",
            "arp arp_sha=02:00:00:00:00:01 arp_tha=00:00:00:00:00:00",
        ),
        ("dl_type=0x8847,mpls_label=17,mpls_bos=1", "mpls mpls_bos=1 mpls_label=17"),
        ("dl_vlan_pcp=3", "vlan_pcp=3 vlan_vid=any"),
        ("dl_vlan=0xffff", "vlan_vid=none"),
        ("vlan_vid=0x4/0xf", "vlan_vid=0x4/0xf"),
    ],
)
def test_normal_forms(given: dict[str, object] | str, expected: str | tuple[()]) -> None:
    words = [part.partition("=") for part in expected.split()] if isinstance(expected, str) else []
    assert normalise(given) == tuple((name, text) for name, _, text in words)


@pytest.mark.parametrize(
    ("given", "key", "message"),
    [
        ({"in_prt": "warp0"}, "in_prt", "did you mean in_port?"),
        ({"nw_dts": "192.0.2.1"}, "nw_dts", "did you mean nw_dst?"),  # nw_tos is as near
        ({"quux": "1"}, "quux", 'unknown match field "quux"; docs/policy.md lists all'),
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
        ({"vlan_tci": "0x1000"}, "vlan_tci", "is vlan_vid and vlan_pcp in one"),
        ({"conj_id": 1}, "conj_id", "needs conjunction"),
        ({"ct_state": "+foo"}, "ct_state", "expected flags such as +new"),
        ({"ct_state": "+trk-trk"}, "ct_state", "each once"),
        ({"tcp_flags": "+syn", "udp": ""}, "udp", "means UDP"),
        ({"tcp_flags": "+syn", "arp": ""}, "tcp_flags", "needs tcp"),
        ({"mpls_label": 5}, "mpls_label", "needs mpls"),
        ({"mpls": "tcp_dst=80"}, "mpls", "needs tcp or udp"),
        ({"nd_target": "2001:db8::1"}, "nd_target", "needs icmp6, icmp_type=135 or 136 and icmp_code=0"),
        ({"vlan_pcp": 3, "vlan_vid": "none"}, "vlan_pcp", "needs a VLAN tag"),
        ({"ip": "", "nw_ttl": "64/255"}, "nw_ttl", "without a mask"),
        ({"reg0": "0x100000000"}, "reg0", "from 0 to 0xffffffff"),
        ({"reg0": "5/4"}, "reg0", "bits set that its mask leaves out"),
        ({"ip": "", "ip_frag": "maybe"}, "ip_frag", "expected no, yes, first"),
    ],
)
def test_refusals_name_the_key(given: dict[str, object] | str, key: str, message: str) -> None:
    with pytest.raises(MatchError) as caught:
        normalise(given)
    ((found, said),) = caught.value.problems
    assert (found, message in said) == (key, True), said


@pytest.mark.parametrize("seed", range(4))
def test_the_quick_way_and_the_careful_way_agree(seed: int) -> None:
    random = Random(seed)
    quick = 0
    for _ in range(2000):
        given = _random_match(random)
        try:
            careful: object = _with_care(given)
        except MatchError as error:
            careful = error.problems
        try:
            found: object = normalise(given)
        except MatchError as error:
            found = error.problems
        assert found == careful, given
        quick += _by_its_shape(given) is not None
    assert quick > 100


def _random_match(random: Random) -> dict[str, object] | str:
    names = random.sample(_NAMES, random.choice((1, 2, 2, 3, 4)))
    fields = {name: random.choice(_TEXTS) if name not in WORDS else "" for name in names}
    texts = [f"{name}={text}" if text or random.random() < 0.1 else name for name, text in fields.items()]
    way = random.random()
    if way < 0.3:
        return random.choice((",", ", ", " ")).join(texts)
    if way < 0.6:
        return {random.choice(("ip", "tcp", "udp", "in_port", "")): random.choice((",", ",,")).join(texts), "tcp": ""}
    if way < 0.7:
        return {"ip": texts[0], "tcp": ",".join(texts[1:]) or None}
    odd: tuple[object, ...] = (None, True, 80, 1.5, [], {})
    return {name: random.choice(odd) if random.random() < 0.1 else text for name, text in fields.items()}


_NAMES = (
    *("ip", "tcp", "udp", "arp", "nw_dst", "nw_src", "ip_dst", "tp_dst", "tcp_dst", "in_port", "nw_proto", "dl_type"),
    *("vlan_vid", "vlan_pcp", "dl_src", "ip_dscp", "nw_tos", "reg0", "ct_state", "icmp_type", "xyz", ""),
)
_TEXTS = (
    *("192.0.2.1", "192.0.2.0/24", "0.0.0.0/0", "01.2.3.4", "80", "80/0", "5", " 5", "warp0", '"warp0"', "0x0800"),
    *("6", "none", "any", "02:00:00:00:00:01", "+trk", "", "192.0.2.1 ", "192.0.2.1\n", "1.2.3", "é"),
)


def test_the_text_of_an_ipv4_address_is_what_its_number_is_written_as() -> None:
    random = Random(1)
    form = FIELDS["nw_dst"]
    octets = ("0", "1", "9", "10", "255", "256", "00", "01", "", "-1", "1e1", "٣")
    for _ in range(5000):
        text = random.choice((".", ".", ".", "..", " ")).join(random.choices(octets, k=4))
        text += random.choice(("", "", "", " ", "\n", "\0", ".", "/32"))
        try:
            expected = form.text(*form.parse(text))
        except Unfit:
            with pytest.raises(Unfit):
                canonical("nw_dst", text)
        else:
            assert canonical("nw_dst", text) == expected


def test_an_address_has_the_number_that_its_form_reads() -> None:
    assert ipv4_number("100.104.70.20") == FIELDS["nw_dst"].parse("100.104.70.20")[0]
    for text in ("010.0.0.1", "10.1", "10.0.0.1 ", "10.0.0.1/32", "x"):
        with pytest.raises(OSError):
            ipv4_number(text)


@pytest.mark.parametrize("name", FIELDS)
def test_a_form_has_one_text_for_each_value_and_mask(name: str) -> None:
    """And reads it as the same, if it takes it: some bits are no value of the field."""
    random, form, read = Random(name), FIELDS[name], 0
    full = (1 << form.bits) - 1
    means: dict[str, tuple[int, int]] = {}
    for _ in range(3000):
        mask = random.choice((full, full, full >> 1, 1 << random.randrange(form.bits), random.randint(1, full)))
        value = random.choice((0, 1, random.getrandbits(form.bits), full)) & mask
        text = form.text(value, mask)
        assert means.setdefault(text, (value, mask)) == (value, mask), text
        with suppress(Unfit):
            bits = form.parse(text)
            assert bits == (value, mask), text
            read += 1
    assert read


def test_all_problems_of_a_match_come_at_once() -> None:
    with pytest.raises(MatchError) as caught:
        normalise({"in_prt": "warp0", "nw_dst": "x", "tcp": "tp_dst=99999"})
    assert [key for key, _ in caught.value.problems] == ["in_prt", "nw_dst", "tcp"]
