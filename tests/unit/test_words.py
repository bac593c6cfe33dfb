"""What a switch holds, in the words of a policy: the way back from octets."""

from __future__ import annotations

import struct

import pytest
from match_examples import ACTIONS, MATCHES
from switch_entries import switch_entry

from ryu_apps.flows.flow import Action, FlowEntry, Foreign, GotoTable, Match, Output, fields
from ryu_apps.openflow.ofctl import actions_text, match_text
from ryu_apps.openflow.oxm import Oxm, match_of
from ryu_apps.openflow.wire import SwitchEntry, in_words

PORTS = {"internal_100": 100, "nm-privacy": 2}
NAMES = {number: name for name, number in PORTS.items()}
APPLY, OUTPUT = struct.Struct("!HH4x"), struct.Struct("!HHIH6x")


@pytest.mark.parametrize(("match", "actions"), [*((match, ()) for match in MATCHES), *ACTIONS], ids=str)
def test_an_entry_of_ours_comes_back_as_the_policy_has_it(match: Match, actions: tuple[Action, ...]) -> None:
    assert in_words(switch_entry(FlowEntry(10, 5, match, actions, "x"), PORTS), NAMES) == (match, actions)


def test_a_protocol_without_a_word_of_its_own_keeps_its_number() -> None:
    def said(**numbers: int) -> str:
        sizes = {"eth": (5, 2), "proto": (10, 1)}
        oxms = (Oxm(0x8000, sizes[name][0], value.to_bytes(sizes[name][1], "big")) for name, value in numbers.items())
        return match_text(match_of(tuple(oxms), {}))

    assert said(eth=0x0800) == "ip" and said(eth=0x0800, proto=47) == "ip,nw_proto=47"
    assert (
        said(eth=0x86DD, proto=6) == "tcp6" and said(eth=0x88CC) == "dl_type=0x88cc" and said(proto=6) == "nw_proto=6"
    )


def held(*actions: bytes, more: bytes = b"") -> tuple[Action, ...]:
    octets = b"".join(actions)
    apply = APPLY.pack(4, APPLY.size + len(octets)) + octets
    return in_words(SwitchEntry.of(0, 1, b"", apply + more, 7), NAMES)[1]


def test_what_none_of_our_entries_does_appears_by_its_number() -> None:
    output = [OUTPUT.pack(0, 16, port, 0) for port in (2, 77, 0xFFFFFFFA)]
    assert held(*output) == (Output("nm-privacy"), Foreign("output:77"), Output("normal"))
    resubmit = struct.pack("!HHIHHB3x", 0xFFFF, 16, 0x2320, 14, 0xFFF8, 5)
    provider_tag = struct.pack("!HHH2x", 17, 8, 0x88A8)
    meter = struct.pack("!HHI", 6, 8, 1)
    goto = struct.pack("!HHB3x", 1, 8, 20)
    actions = held(resubmit, provider_tag, more=meter + goto)
    assert actions == (Foreign("action_65535"), Foreign("push_vlan:0x88a8"), Foreign("instruction_6"), GotoTable(20))
    assert actions_text((*actions, Output("nm-privacy")), fields()) == (
        "action_65535,push_vlan:0x88a8,instruction_6,goto_table:20,output:nm-privacy"
    )
