"""The flow monitor on the wire, by what Open vSwitch 3.1 sends; and messages that nobody should believe."""

from __future__ import annotations

import random
from typing import Any

import pytest
from ryu.controller.handler import CONFIG_DISPATCHER, DEAD_DISPATCHER, HANDSHAKE_DISPATCHER, MAIN_DISPATCHER
from ryu.ofproto import ofproto_v1_3 as ofp
from ryu.ofproto.ofproto_protocol import ProtocolDesc

from ryu_apps.openflow import messages, monitor
from ryu_apps.openflow.monitor import Event, Update
from ryu_apps.openflow.wire import Malformed, SwitchEntry
from ryu_apps.switches import intake, peers

HEAD = "ffff0000000000004f4e46000000074e"
ADDED = "00300000000000050000000000120a0000000000000000770001001280000a0208008000180401020304000000000000"
DELETED = (
    "00480001000200050000000000120a0000000000000000780001001280000a0208008000180401020304000000000000"
    "000400180000000000000010000000010000000000000000"
)
OWN = "0008000300000385"
MATCH = bytes.fromhex("80000a0208008000180401020304")


@pytest.fixture(autouse=True)
def no_minute_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept back for a minute would be told when other tests run."""
    monkeypatch.setattr(peers.hub, "spawn_after", lambda *_: None)


def reply(*updates: str) -> bytes:
    body = bytes.fromhex(HEAD + "".join(updates))
    return messages.message(messages.Kind.MULTIPART_REPLY, 0, body)


def test_updates_as_open_vswitch_sends_them() -> None:
    assert monitor.is_update(reply())
    output = bytes.fromhex("000400180000000000000010000000010000000000000000")
    assert list(monitor.decode_updates(reply(ADDED, OWN, DELETED))) == [
        Update(Event.ADDED, SwitchEntry.of(10, 5, MATCH, b"", 0x77)),
        Update(Event.DELETED, SwitchEntry.of(10, 5, MATCH, output, 0x78)),
    ]


def test_pauses_are_told_from_other_messages() -> None:
    paused = messages.message(messages.Kind.EXPERIMENTER, 0, bytes.fromhex("4f4e46000000074e"))
    resumed = messages.message(messages.Kind.EXPERIMENTER, 0, bytes.fromhex("4f4e46000000074f"))
    assert monitor.is_gap(paused) and monitor.is_gap(resumed)
    for other in (reply(ADDED), messages.bundle_control(messages.Bundle.OPEN, 1, 2), messages.barrier_request(1)):
        assert not monitor.is_gap(other)
    assert not monitor.is_update(messages.barrier_request(1))


@pytest.mark.parametrize("cut", range(1, len(ADDED) // 2))
def test_a_cut_update_is_malformed(cut: int) -> None:
    with pytest.raises(Malformed):
        list(monitor.decode_updates(reply(ADDED[: 2 * cut])))


class Peer(ProtocolDesc):  # type: ignore[misc]
    """What Ryu's parser asks of a datapath."""

    def __init__(self, state: str) -> None:
        super().__init__(ofp.OFP_VERSION)
        self.state, self.id, self.address = state, None, ("192.0.2.1", 1)
        self.socket = self

    def close(self) -> None:
        self.state = DEAD_DISPATCHER

    def shutdown(self, _how: int) -> None:
        pass


def parse(peer: Peer, octets: bytes) -> Any:
    length = max(8, int.from_bytes(octets[2:4], "big"))
    return intake._parse(peer, octets[0], octets[1], length, 0, bytearray(octets))


GOOD = [
    messages.message(messages.Kind.HELLO, 1, bytes.fromhex("0001000800000010")),
    messages.message(messages.Kind.ECHO_REQUEST, 1, b"abc"),
    messages.message(messages.Kind.FEATURES_REPLY, 1, bytes(24)),
    messages.message(messages.Kind.PORT_STATUS, 1, bytes(72)),
    messages.message(messages.Kind.ERROR, 1, bytes(12)),
    messages.message(messages.Kind.MULTIPART_REPLY, 1, bytes.fromhex("000d000000000000") + bytes(64)),
    messages.message(messages.Kind.MULTIPART_REPLY, 1, bytes.fromhex("0003000000000000") + bytes(24)),
    messages.message(
        messages.Kind.MULTIPART_REPLY,
        1,
        bytes.fromhex("0001000000000000" "00580a00") + bytes(44) + bytes.fromhex("0001000400000000") + bytes.fromhex(
            "0004001800000000" "0000001000000001" "0000000000000000" "0001000814000000"
        ),
    ),
    messages.message(messages.Kind.EXPERIMENTER, 1, bytes.fromhex("4f4e4600000008fc") + bytes(8)),
    reply(ADDED, OWN),
]  # fmt: skip


@pytest.mark.parametrize("state", [HANDSHAKE_DISPATCHER, CONFIG_DISPATCHER, MAIN_DISPATCHER])
def test_no_message_hangs_or_kills(state: str, caplog: pytest.LogCaptureFixture) -> None:
    """Mutated messages end in a message of Ryu's, in nothing, or in the end of the connection. Always soon."""
    chances = random.Random(state)
    for _ in range(20_000):
        octets = bytearray(chances.choice(GOOD))
        for _ in range(chances.randrange(4)):
            octets[chances.randrange(len(octets))] = chances.choice((0, 1, 4, 7, 8, 255, chances.randrange(256)))
        if chances.random() < 0.3:
            octets = octets[: chances.randrange(8, len(octets) + 1)]
        if chances.random() < 0.7:
            octets[2:4] = len(octets).to_bytes(2, "big")
        parse(Peer(state), bytes(octets))
    assert "Encountered an error" not in caplog.text  # Ryu's own, with the whole message in hexadecimal


def test_nonsense_of_every_type_drowns_no_other_complaint(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "complaints", peers.Complaints(peers.LINES_A_MINUTE))
    for kind in range(256):
        parse(Peer(MAIN_DISPATCHER), bytes((4, kind, 0, 7, 0, 0, 0, 0)))
    before = len(caplog.records)
    assert 0 < before < 50
    intake.hang_up(Peer(MAIN_DISPATCHER), "another connection with the same datapath id is alive")
    assert len(caplog.records) == before + 1


def test_good_messages_reach_ryu_in_their_state() -> None:
    hello, echo, features, port, error, ports, *_ = GOOD
    assert parse(Peer(HANDSHAKE_DISPATCHER), hello).elements[0].versions == [4]
    assert parse(Peer(HANDSHAKE_DISPATCHER), b"\x09" + hello[1:]).version == 9  # refused by Ryu, politely
    assert parse(Peer(MAIN_DISPATCHER), echo).data == b"abc"
    assert parse(Peer(CONFIG_DISPATCHER), features) and parse(Peer(MAIN_DISPATCHER), features) is None
    assert parse(Peer(MAIN_DISPATCHER), port) and parse(Peer(CONFIG_DISPATCHER), ports)
    refused = Peer(HANDSHAKE_DISPATCHER)
    assert parse(refused, error) is None and refused.state == DEAD_DISPATCHER


def test_what_answers_a_question_never_reaches_ryu() -> None:
    peer, taken = Peer(MAIN_DISPATCHER), []
    intake.hand_to(peer, lambda octets: bool(taken.append(octets)) or True)  # type: ignore[func-returns-value]
    assert parse(peer, GOOD[-1]) is None and taken == [GOOD[-1]]
