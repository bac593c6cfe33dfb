"""The wire encoding, octet for octet against Ryu's own serialiser, and back."""

from __future__ import annotations

import random
import struct

import pytest
from ryu.ofproto import ofproto_v1_3 as ofp
from ryu.ofproto import ofproto_v1_3_parser as parser
from ryu.ofproto.ofproto_protocol import ProtocolDesc
from switch_entries import switch_entry

from ryu_apps.flows.flow import COOKIE_MARK, COOKIE_MASK, FlowEntry, GotoTable, Output, fields
from ryu_apps.openflow import messages, wire
from ryu_apps.openflow.messages import Bundle, SwitchError
from ryu_apps.openflow.ofctl import match_text
from ryu_apps.openflow.oxm import Oxm, decode_match, encode_match, match_of
from ryu_apps.openflow.wire import SwitchEntry
from ryu_apps.packets.headers import Space

DATAPATH = ProtocolDesc(ofp.OFP_VERSION)
PORTS = {"internal_100": 3, "warp0": 17}
XID = 0xDEADBEEF

# (match of the policy, the same for Ryu)
MATCHES = [
    (fields(), {}),
    (fields(in_port="warp0"), {"in_port": 17}),
    (fields(ip="", nw_src="10.100.0.0/24"), {"eth_type": 0x800, "ipv4_src": ("10.100.0.0", "255.255.255.0")}),
    (fields(ip="", nw_dst="192.0.2.1", nw_tos="184"), {"eth_type": 0x800, "ipv4_dst": "192.0.2.1", "ip_dscp": 46}),
    (fields(ip="", nw_proto="47"), {"eth_type": 0x800, "ip_proto": 47}),
    (fields(tcp="", tp_src="1", tp_dst="443"), {"eth_type": 0x800, "ip_proto": 6, "tcp_src": 1, "tcp_dst": 443}),
    (fields(udp="", tp_src="53", tp_dst="54"), {"eth_type": 0x800, "ip_proto": 17, "udp_src": 53, "udp_dst": 54}),
    (
        fields(icmp="", icmp_type="8", icmp_code="0"),
        {"eth_type": 0x800, "ip_proto": 1, "icmpv4_type": 8, "icmpv4_code": 0},
    ),
    (fields(tcp6="", tp_dst="80"), {"eth_type": 0x86DD, "ip_proto": 6, "tcp_dst": 80}),
    (fields(udp6="", tp_dst="80"), {"eth_type": 0x86DD, "ip_proto": 17, "udp_dst": 80}),
    (
        fields(icmp6="", icmp_type="135", icmp_code="0"),
        {"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_type": 135, "icmpv6_code": 0},
    ),
    (
        fields(ipv6="", ipv6_src="2001:db8::/32", ipv6_dst="2001:db8::1"),
        {"eth_type": 0x86DD, "ipv6_src": ("2001:db8::", "ffff:ffff::"), "ipv6_dst": "2001:db8::1"},
    ),
    (
        fields(arp="", arp_op="1", arp_spa="10.99.0.1", arp_tpa="10.99.0.0/24"),
        {"eth_type": 0x806, "arp_op": 1, "arp_spa": "10.99.0.1", "arp_tpa": ("10.99.0.0", "255.255.255.0")},
    ),
    (
        fields(dl_src="02:00:00:00:00:01", dl_dst="01:00:00:00:00:00/01:00:00:00:00:00", dl_type="0x88cc"),
        {"eth_src": "02:00:00:00:00:01", "eth_dst": ("01:00:00:00:00:00", "01:00:00:00:00:00"), "eth_type": 0x88CC},
    ),
    (fields(in_port="internal_100", vlan_vid="5"), {"in_port": 3, "vlan_vid": 5 | ofp.OFPVID_PRESENT}),
]
ACTIONS = [
    ((), []),
    ((Output("warp0"),), [17]),
    ((Output("warp0"), Output("internal_100")), [17, 3]),
]


def ryu_octets(message: parser.MsgBase) -> bytes:
    message.set_xid(XID)
    message.serialize()
    return bytes(message.buf)


def flow_mod(
    entry: SwitchEntry, match: dict[str, object], instructions: list[object], **more: int
) -> parser.OFPFlowMod:
    return parser.OFPFlowMod(
        DATAPATH,
        table_id=entry.table,
        priority=entry.priority,
        match=parser.OFPMatch(**match),
        instructions=instructions,
        out_port=ofp.OFPP_ANY,
        out_group=ofp.OFPG_ANY,
        **more,
    )


def outputs(ports: list[int]) -> list[object]:
    actions = [parser.OFPActionOutput(port, 0) for port in ports]
    return [parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions)] if actions else []


@pytest.mark.parametrize(("ours", "ryus"), MATCHES)
def test_add_equals_ryus(ours: tuple[tuple[str, str], ...], ryus: dict[str, object]) -> None:
    for actions, ports in ACTIONS:
        entry = switch_entry(FlowEntry(10, 65535, ours, actions, "an item"), PORTS)
        message = flow_mod(entry, ryus, outputs(ports), cookie=entry.cookie, command=ofp.OFPFC_ADD)
        assert messages.add_message(entry, XID).hex() == ryu_octets(message).hex()


def test_goto_table_equals_ryus() -> None:
    entry = switch_entry(FlowEntry(0, 7, (), (GotoTable(20),), "an item"), PORTS)
    message = flow_mod(entry, {}, [parser.OFPInstructionGotoTable(20)], cookie=entry.cookie, command=ofp.OFPFC_ADD)
    assert messages.add_message(entry, XID) == ryu_octets(message)


@pytest.mark.parametrize(("ours", "ryus"), MATCHES)
def test_delete_equals_ryus_and_asks_for_our_mark(ours: tuple[tuple[str, str], ...], ryus: dict[str, object]) -> None:
    entry = switch_entry(FlowEntry(20, 90, ours, (Output("warp0"),), "an item"), PORTS)
    message = flow_mod(entry, ryus, [], cookie=COOKIE_MARK, cookie_mask=COOKIE_MASK, command=ofp.OFPFC_DELETE_STRICT)
    assert messages.delete_message(entry, XID) == ryu_octets(message)


def test_bundle_messages_equal_ryus() -> None:
    flags = ofp.ONF_BF_ATOMIC | ofp.ONF_BF_ORDERED
    for ours, ryus in (
        (Bundle.OPEN, ofp.ONF_BCT_OPEN_REQUEST),
        (Bundle.CLOSE, ofp.ONF_BCT_CLOSE_REQUEST),
        (Bundle.COMMIT, ofp.ONF_BCT_COMMIT_REQUEST),
        (Bundle.DISCARD, ofp.ONF_BCT_DISCARD_REQUEST),
    ):
        message = parser.ONFBundleCtrlMsg(DATAPATH, 9, ryus, flags, [])
        assert messages.bundle_control(ours, 9, XID) == ryu_octets(message)
    entry = switch_entry(FlowEntry(10, 100, fields(in_port="warp0"), (Output("internal_100"),), "x"), PORTS)
    inner = flow_mod(entry, {"in_port": 17}, outputs([3]), cookie=entry.cookie, command=ofp.OFPFC_ADD)
    message = parser.ONFBundleAddMsg(DATAPATH, 9, flags, inner, [])
    assert messages.bundle_add(messages.add_message(entry, XID), 9, XID) == ryu_octets(message)


def test_requests_equal_ryus() -> None:
    everything = parser.OFPFlowStatsRequest(
        DATAPATH, 0, ofp.OFPTT_ALL, ofp.OFPP_ANY, ofp.OFPG_ANY, 0, 0, parser.OFPMatch()
    )
    assert messages.flow_stats_request(XID) == ryu_octets(everything)
    assert messages.port_desc_request(XID) == ryu_octets(parser.OFPPortDescStatsRequest(DATAPATH, 0))
    assert messages.barrier_request(XID) == ryu_octets(parser.OFPBarrierRequest(DATAPATH))


def stats_reply(entries: list[SwitchEntry], more: bool = False) -> bytes:
    """A flow statistics reply as a switch sends it, with the fields of each match in another order."""
    body = b""
    for number, entry in enumerate(entries):
        oxms = list(decode_match(entry.match))
        random.Random(number).shuffle(oxms)
        tlvs = b"".join(oxm.encode() for oxm in oxms)
        match = struct.pack("!HH", 1, 4 + len(tlvs)) + tlvs + bytes(-(4 + len(tlvs)) % 8)
        head = (48 + len(match) + len(entry.instructions), entry.table, 60, 5, entry.priority, 0, 0, 0, entry.cookie)
        body += struct.pack("!HBxIIHHHH4xQQQ", *head, 10 + number, 1000 + number) + match + entry.instructions
    return struct.pack("!BBHIHH4x", 4, 19, 16 + len(body), XID, 1, int(more)) + body


def test_what_is_read_back_equals_what_was_wanted() -> None:
    wanted = [
        switch_entry(FlowEntry(10, number, match, (Output("warp0"), GotoTable(20)), "x"), PORTS)
        for number, (match, _) in enumerate(MATCHES)
    ]
    found = list(messages.decode_flow_stats(stats_reply(wanted)))
    assert [installed.entry for installed in found] == wanted
    assert (found[3].packets, found[3].bytes, found[3].seconds) == (13, 1003, 60)
    # Ryu reads the same reply in the same way.
    ryus = parser.OFPMultipartReply.parser(DATAPATH, 4, 19, len(stats_reply(wanted)), XID, stats_reply(wanted))
    assert [stats.cookie for stats in ryus.body] == [entry.cookie for entry in wanted]


def test_parts_of_a_reply_are_told_apart() -> None:
    assert messages.is_more(stats_reply([], more=True)) and not messages.is_more(stats_reply([]))
    assert not messages.is_more(messages.barrier_request(1)) and messages.xid_of(stats_reply([])) == XID
    assert (
        list(messages.decode_ports(stats_reply([])))
        == list(messages.decode_flow_stats(messages.barrier_request(1)))
        == []
    )


def test_ports_are_read_with_their_numbers() -> None:
    ports = b"".join(
        struct.pack("!I4x6s2x16sIIIIIIII", number, b"\2\0\0\0\0\1", name, 0, ofp.OFPPS_LINK_DOWN, 0, 0, 0, 0, 0, 0)
        for number, name in ((3, b"internal_100"), (ofp.OFPP_LOCAL, b"ovsbr0"), (9, b"fifteen-letters"))
    )
    reply = struct.pack("!BBHIHH4x", 4, 19, 16 + len(ports), XID, 13, 0) + ports
    assert list(messages.decode_ports(reply)) == [
        ("internal_100", 3),
        ("ovsbr0", messages.LOCAL_PORT),
        ("fifteen-letters", 9),
    ]


def test_errors_are_read() -> None:
    message = parser.OFPErrorMsg(DATAPATH, ofp.OFPET_FLOW_MOD_FAILED, ofp.OFPFMFC_TABLE_FULL, b"12345678")
    assert messages.decode_error(ryu_octets(message)) == SwitchError(XID, 5, 1)
    assert messages.decode_error(messages.barrier_request(1)) is None


def test_masks_take_one_form() -> None:
    exact = Oxm(0x8000, 12, b"\xc0\0\2\1")
    full = Oxm(0x8000, 12, b"\xc0\0\2\1", b"\xff" * 4)
    assert decode_match(full.encode()) == (exact,)
    assert decode_match(Oxm(0x8000, 12, b"\xc0\0\2\1", bytes(4)).encode()) == ()
    assert decode_match(Oxm(0x8000, 12, b"\xc0\0\2\1", b"\xff\xff\xff\0").encode())[0].value == b"\xc0\0\2\0"


def test_a_match_can_be_said_again_in_words() -> None:
    match = fields(in_port="warp0", tcp="", nw_dst="192.0.2.0/24", tp_dst="443", vlan_vid="5")
    assert match_of(encode_match(match, PORTS), {17: "warp0"}) == match
    assert match_of((Oxm(1, 99, b"\0\1"),), {}) == (("oxm_0x1_99", "0x0001"),)


VLAN_VID, DL_TYPE = 6, 5


@pytest.mark.parametrize(
    ("oxm", "said"),
    [
        # "vlan_tci=0/0x1000", ovs-ofctl's packets without a tag; our own word for them is another match on the wire.
        (Oxm(0x8000, VLAN_VID, b"\0\0", b"\x10\0"), ("oxm_0x8000_6", "0x0000/0x1000")),
        (Oxm(0x8000, VLAN_VID, b"\0\5", b"\x0f\xff"), ("oxm_0x8000_6", "0x0005/0x0fff")),
        (Oxm(0x8000, DL_TYPE, b"\5\xff"), ("oxm_0x8000_5", "0x05ff")),  # no Ethernet II
        (Oxm(0x8000, VLAN_VID, b"\0\0", b"\x1f\xff"), ("vlan_vid", "none")),
    ],
)
def test_what_our_words_cannot_say_appears_by_its_number(oxm: Oxm, said: tuple[str, str]) -> None:
    match = match_of(decode_match(oxm.encode()), {})
    assert match == (said,) and match_text(match)
    space = Space()
    assert space.cube(match) == space.of((oxm,))  # and can be read again


APPLY = struct.Struct("!HH4x")


def applied(action: bytes) -> bytes:
    return APPLY.pack(4, APPLY.size + len(action)) + action


@pytest.mark.parametrize(
    ("tlvs", "instructions"),
    [
        (Oxm(0x8000, 12, b"\xc0\0\2").encode(), b""),  # an IPv4 address of three octets
        (Oxm(0x8000, 12, bytes(16)).encode(), b""),
        (Oxm(0x8000, 12, bytes(4), b"\xff\xff").encode(), b""),
        (Oxm(1, 29, b"\1\1").encode(), b""),  # a TTL of two octets, in Nicira's class
        (Oxm(0x8000, 7, b"\x08").encode(), b""),  # a VLAN priority of 8
        (Oxm(0x8000, 99, b"").encode(), b""),
        (Oxm(1, 99, bytes(8)).encode()[:-1], b""),
        (b"", bytes.fromhex("0001000000000000")),  # an instruction without a length
        (b"", bytes.fromhex("000100100a000000")),
        (b"", applied(bytes.fromhex("0012000400000000"))),  # an action that is too short
        (b"", applied(struct.pack("!HH", 25, 16) + Oxm(0x8000, 12, bytes(6)).encode() + bytes(2))),
        (b"", applied(struct.pack("!HH", 25, 16) + Oxm(0x8000, 6, b"\0\0", b"\0\0").encode() + bytes(4))),
        (b"", applied(struct.pack("!HH", 25, 16) + Oxm(0x8000, 6, b"\x10\0", b"\x10\0").encode() + bytes(4))),
        (b"", applied(struct.pack("!HH", 25, 8) + Oxm(0x8000, 12, bytes(4)).encode()[:4])),
    ],
)
def test_fields_and_actions_of_another_length_are_malformed(tlvs: bytes, instructions: bytes) -> None:
    with pytest.raises(wire.Malformed):
        list(messages.decode_flow_stats(as_reply(tlvs, instructions)))


def as_reply(tlvs: bytes, instructions: bytes) -> bytes:
    content = messages.match(tlvs) + instructions
    body = struct.pack("!HBxI4xHHHH4xQQQ", 48 + len(content), 10, 1, 5, 0, 0, 0, 7, 1, 1) + content
    return struct.pack("!BBHIHH4x", 4, 19, 16 + len(body), XID, 1, 0) + body


def test_entries_wait_for_their_ports() -> None:
    entries = [
        FlowEntry(10, 1, fields(in_port="warp0"), (Output("internal_100"),), "ready"),
        FlowEntry(10, 2, fields(in_port="warp0"), (Output("internal_101"),), "waits for its output"),
        FlowEntry(10, 3, fields(in_port="internal_101"), (), "waits for its in_port"),
        FlowEntry(10, 4, (), (), "needs none"),
    ]
    ready, waiting = wire.resolve(entries, PORTS)
    assert [entry.item for entry, _ in ready] == ["ready", "waits for its output", "needs none"]
    assert ready[1][1].instructions == b"" and ready[0][1].instructions  # it drops meanwhile
    assert [entry.item for entry in waiting] == ["waits for its in_port"]


def test_unusable_text_is_refused() -> None:
    for match in (fields(nw_proto="256"), fields(arp="", arp_spa="somewhere"), fields(tcp="", tp_dst="x")):
        with pytest.raises(ValueError):
            encode_match(match, PORTS)
    with pytest.raises(KeyError):
        encode_match(fields(tp_dst="80"), PORTS)
