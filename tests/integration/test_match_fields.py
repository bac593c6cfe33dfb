"""Every match field and action there and back: what we encode, Open vSwitch reads as we wrote it. Needs root."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Sequence

import pytest
from match_examples import ACTIONS, MATCHES
from switch_entries import switch_entry
from switch_sandbox import Sandbox, Switch

from ryu_apps.flows.flow import Action, FlowEntry, Match
from ryu_apps.openflow import messages, wire
from ryu_apps.openflow.ofctl import entry_text, match_text
from ryu_apps.openflow.wire import SwitchEntry

PORTS = {"internal_100": 100, "nm-privacy": 2}
NAMES = {number: name for name, number in PORTS.items()}
BY_WIRE, BY_TEXT = "ovsbr0", "ovsbr1"
_ERROR, _MULTIPART_REPLY, _BARRIER_REPLY = 1, 19, 21


@pytest.fixture(scope="module")
def switch(shared: Sandbox) -> Switch:
    switch = Switch(shared, BY_WIRE)
    switch.add_bridge(BY_TEXT)
    for bridge in (BY_WIRE, BY_TEXT):
        commands: list[str] = []
        for name, number in PORTS.items():
            port = name if bridge == BY_WIRE else f"{name[:10]}.{number}"
            settings = ("type=internal", f"ofport_request={number}")
            commands += ["--", "add-port", bridge, port, "--", "set", "interface", port, *settings]
        switch.vsctl(*commands)
    return switch


def spoken(switch: Switch, requests: bytes) -> list[bytes]:
    """The switch's answers to the requests, up to that to a barrier behind them."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(switch.sandbox.directory / f"{BY_WIRE}.mgmt"))
        connection.sendall(bytes((4, 0, 0, 8, 0, 0, 0, 1)) + requests + messages.barrier_request(0xFFFF))
        answers, pending = [], b""
        while not answers or answers[-1][1] != _BARRIER_REPLY:
            pending += connection.recv(1 << 16)
            while len(pending) >= 8 and len(pending) >= (length := struct.unpack_from("!H", pending, 2)[0]):
                answers.append(pending[:length])
                pending = pending[length:]
        return answers


def program(switch: Switch, entries: Sequence[SwitchEntry]) -> list[SwitchEntry]:
    """Puts entries on the switch in place of all others; returns what it then says that it holds."""
    switch.ofctl("del-flows", BY_WIRE)
    answers = spoken(switch, b"".join(messages.add_message(entry, number) for number, entry in enumerate(entries)))
    refused = {messages.xid_of(answer): answer[8:12].hex() for answer in answers if answer[1] == _ERROR}
    assert not refused, [(code, entries[number]) for number, code in refused.items()]
    answers = spoken(switch, messages.flow_stats_request(1))
    return [
        reported.entry
        for answer in answers
        if answer[1] == _MULTIPART_REPLY
        for reported in messages.decode_flow_stats(answer)
    ]


def dump(switch: Switch, bridge: str) -> list[str]:
    """Sorted; with the ports by number, without the cookie's and the ports' names."""
    lines = switch.ofctl("--no-stats", "--no-names", "dump-flows", bridge).splitlines()
    return sorted(line.strip() for line in lines if "actions=" in line)


def test_matches(switch: Switch) -> None:
    entries = [FlowEntry(10, number + 1, match, (), "x") for number, match in enumerate(MATCHES)]
    there = {entry.priority: entry for entry in program(switch, [switch_entry(entry, PORTS) for entry in entries])}
    for entry in entries:
        assert there[entry.priority] == switch_entry(entry, PORTS), match_text(entry.match)
        assert wire.in_words(there[entry.priority], NAMES)[0] == entry.match
    switch.ofctl("del-flows", BY_TEXT)
    switch.ofctl("add-flows", BY_TEXT, "-", input="\n".join(by_number(entry_text(entry)) for entry in entries))
    assert dump(switch, BY_WIRE) == dump(switch, BY_TEXT)


@pytest.mark.parametrize(("match", "actions"), ACTIONS)
def test_actions(switch: Switch, match: Match, actions: tuple[Action, ...]) -> None:
    entry = FlowEntry(10, 5, match, actions, "x")
    wanted = switch_entry(entry, PORTS)
    assert program(switch, [wanted]) == [wanted]
    switch.ofctl("del-flows", BY_TEXT)
    switch.ofctl("add-flow", BY_TEXT, by_number(entry_text(entry)))
    assert dump(switch, BY_WIRE) == dump(switch, BY_TEXT)


def by_number(text: str) -> str:
    """Bridges of one switch cannot share port names: the text with the ports' numbers."""
    for name, number in PORTS.items():
        text = re.sub(rf'"?{name}"?', str(number), text)
    return text
