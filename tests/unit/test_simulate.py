"""The flow-table simulator's own rules. Whether Open vSwitch agrees is tests/integration/test_differential.py's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.match import MatchError, normalise
from ryu_apps.flows.flow import DecTtl, FlowEntry, GotoTable, Output, PushVlan, SetField, StripVlan
from ryu_apps.packets.simulate import Sent, read_packet, simulate

PACKET = "in_port=a,tcp,nw_src=192.0.2.1,nw_dst=192.0.2.2,tp_dst=443,nw_ttl=64"


def entry(priority: int, match: str, *actions: object, table: int = 0) -> FlowEntry:
    return FlowEntry(table, priority, normalise(match), actions, f"{table}/{priority}/{match}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("match", "taken"),
    [
        ("", True),
        ("in_port=a", True),
        ("in_port=b", False),
        ("nw_dst=192.0.2.2", True),
        ("nw_dst=192.0.2.0/30", True),
        ("nw_dst=192.0.2.4/30", False),
        ("nw_dst=0.0.0.2/0.0.0.3", True),
        ("nw_dst=0.0.0.1/0.0.0.1", False),
        ("tcp", True),
        ("udp", False),
        ("udp,tp_dst=443", False),
        ("tcp,tp_dst=443", True),
        ("tcp,tp_dst=0x1b0/0xfff0", True),
        ("arp", False),
        ("ipv6", False),
        ("arp,arp_tpa=192.0.2.2", False),
        ("vlan_vid=none", True),
        ("vlan_vid=any", False),
        ("vlan_vid=0", False),
    ],
)
def test_a_match(match: str, taken: bool) -> None:
    assert simulate([entry(1, match, Output("out"))], PACKET).ports == (("out",) if taken else ())


def test_a_field_that_has_no_name_here_is_0_in_every_packet() -> None:
    entries = [entry(3, "", Output("no")), entry(2, "", Output("yes")), entry(1, "", Output("below"))]
    unnamed = [(("oxm_0x1_37", "0x00000001"),), (("oxm_0x1_120", "0x00000000/0xff000000"),), ()]
    held = [replace(one, match=match) for one, match in zip(entries, unnamed, strict=True)]
    assert simulate(held, PACKET).ports == ("yes",)


def test_the_highest_priority_wins_and_the_first_of_equals() -> None:
    entries = [entry(1, "", Output("low")), entry(7, "tcp", Output("high")), entry(7, "ip", Output("as high"))]
    assert simulate(entries, PACKET).ports == ("high",)


def test_a_table_without_an_entry_drops() -> None:
    trace = simulate([entry(1, "udp", Output("out"))], PACKET)
    assert (trace.ports, trace.steps[0].entry, trace.last) == ((), None, None)


def test_actions_in_their_order() -> None:
    first = entry(1, "tcp", Output("x"), SetField("nw_dst", "192.0.2.9"), Output("y"), GotoTable(20))
    second = entry(1, "nw_dst=192.0.2.9", Output("z"), table=20)
    trace = simulate([first, second, entry(0, "", table=20)], PACKET)
    assert trace.ports == ("x", "y", "z")
    assert [step.table for step in trace.steps] == [0, 20]
    assert [dict(sent.packet)["nw_dst"] for sent in trace.sent] == ["192.0.2.2", "192.0.2.9", "192.0.2.9"]


def test_nothing_goes_back_to_where_it_came_from() -> None:
    assert simulate([entry(1, "", Output("a"), Output("b"))], PACKET).ports == ("b",)


@pytest.mark.parametrize(("ttl", "ports"), [(64, ("x", "y")), (2, ("x", "y")), (1, ("x",)), (0, ("x",))])
def test_a_ttl_that_ends(ttl: int, ports: tuple[str, ...]) -> None:
    packet = PACKET.replace("nw_ttl=64", f"nw_ttl={ttl}")
    assert simulate([entry(1, "ip", Output("x"), DecTtl(), Output("y"))], packet).ports == ports


def test_what_has_no_ttl_keeps_going() -> None:
    assert simulate([entry(1, "", DecTtl(), Output("x"))], "in_port=a,arp").ports == ("x",)


def test_tags_are_a_stack() -> None:
    push = entry(1, "vlan_vid=5", PushVlan(), SetField("vlan_vid", "7"), Output("x"), StripVlan(), Output("y"))
    trace = simulate([push], "in_port=a,vlan_vid=5")
    assert [dict(sent.packet)["vlan_vid"] for sent in trace.sent] == ["7", "5"]


def test_the_same_packet_in_other_words() -> None:
    given = {"in_port": "a", "nw_src": 0xC0000201, "nw_dst": "192.0.2.2", "tcp_dst": 443, "nw_ttl": 64}
    assert read_packet(given) == read_packet(PACKET)
    for number in (0, 5):
        assert read_packet({"in_port": "a", "vlan_vid": number}) == read_packet(f"in_port=a,vlan_vid={number}")


def test_what_is_sent_is_named_as_it_came() -> None:
    assert simulate([entry(1, "", Output("x"))], PACKET).sent == (Sent("x", read_packet(PACKET)),)


@pytest.mark.parametrize("packet", ["ip", "in_port=a,nw_dst=192.0.2.0/24", "in_port=a,vlan_vid=any", "in_port=a,x=1"])
def test_what_is_no_packet(packet: str) -> None:
    with pytest.raises(MatchError):
        simulate([], packet)
