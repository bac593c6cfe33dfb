"""A session that sends a change while it is being made: what must be as if it were made before."""

from __future__ import annotations

import logging
from collections.abc import Collection

import pytest
from session_world import EXAMPLE, MOVED, POLICY, PORTS, World, compiled, wanted
from table_switch import TableSwitch

from ryu_apps.flows.flow import FlowEntry
from ryu_apps.openflow.ofctl import entry_text
from ryu_apps.openflow.wire import Encoder, Identity, resolve
from ryu_apps.policy.changes import HANGUP


@pytest.fixture
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryu_apps.switches.target._PORTION", 4)
    monkeypatch.setattr("ryu_apps.switches.bundle._PORTION", 3)


@pytest.fixture
def empty(few_at_a_time: None, world: World) -> World:
    """A switch that has lost its entries, and a session that will find out."""
    world.switch.table.clear()
    world.forget()
    return world


def test_it_is_one_bundle_all_the_same(empty: World) -> None:
    before, sizes = empty.switch.opened, []
    empty.switch.on_added = sizes.append
    empty.session.wake(HANGUP)
    empty.switch.settle()
    assert set(empty.switch.table.values()) == wanted(EXAMPLE)
    assert empty.switch.opened == before + 1 and sizes == list(range(1, len(EXAMPLE.entries) + 1))


def test_the_first_messages_are_sent_before_the_last_are_made(empty: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, *rest: (made.append(len(made)), encode(self, *rest))[1])
    at: list[int] = []
    empty.switch.on_added = lambda _count: at.append(len(made))
    empty.policy = compiled(POLICY)
    empty.session.wake(HANGUP)
    empty.session._target = None
    empty.switch.settle()
    assert at[0] == 1 and at[-1] > 5


def test_nothing_to_change_opens_no_bundle(few_at_a_time: None, world: World, caplog: pytest.LogCaptureFixture) -> None:
    before = world.switch.opened
    world.session.wake(HANGUP)
    world.load(compiled(POLICY))
    world.switch.ports["other"] = 99
    world.session.wake("port other added")
    world.switch.settle()
    assert world.session.work["targets"] > 1 and world.switch.opened == before
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_refusal_late_in_the_bundle_names_its_entry(empty: World) -> None:
    refused = sorted(wanted(EXAMPLE))[-1]
    empty.switch.refuses = lambda entry: entry == refused
    empty.session.wake(HANGUP)
    empty.switch.settle()
    last = empty.session.account.last_change
    assert empty.switch.table == {} and empty.switch.bundles == {}
    assert last is not None and last.refusal is not None and not last.confirmed
    flow = next(flow for flow, entry in resolve(EXAMPLE.entries, PORTS)[0] if entry == refused)
    assert last.refusal.entry == entry_text(flow) and last.messages == len(EXAMPLE.entries)


def test_a_connection_lost_in_mid_fill_leaves_no_half_state(empty: World) -> None:
    def end(count: int) -> None:
        if count == 10:
            empty.switch.close()
            empty.session.disconnect(empty.connection)

    empty.switch.on_added = end
    empty.session.wake(HANGUP)
    empty.switch.settle()
    assert empty.switch.table == {} and empty.switch.messages == []
    empty.switch = TableSwitch(PORTS)
    empty.connect()
    assert set(empty.switch.table.values()) == wanted(EXAMPLE)


def test_another_policy_in_mid_fill_comes_next(empty: World) -> None:
    def write(count: int) -> None:
        if count == 10:
            empty.policy = MOVED
            empty.session.wake("policy file written")

    empty.switch.on_added = write
    empty.session.wake(HANGUP)
    empty.switch.settle()
    assert set(empty.switch.table.values()) == wanted(MOVED)
    assert empty.session.work["bundles"] == 2


def test_a_fault_in_mid_fill_discards_the_bundle(empty: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Encoder, flows: Collection[FlowEntry], table: dict[Identity, bytes]) -> list[FlowEntry]:
        if count[0] == 3:
            raise KeyError("a fault")
        count[0] += 1
        return encode(self, flows, table)

    encode, count, before = Encoder.encode, [0], empty.switch.opened
    empty.session._target = None
    with monkeypatch.context() as patched:
        patched.setattr(Encoder, "encode", fail)
        empty.session.wake(HANGUP)
        empty.switch.settle()
    assert empty.switch.opened == before + 1 and empty.switch.bundles == {} and empty.switch.table == {}
    empty.session.wake("port other added")
    empty.switch.settle()
    assert set(empty.switch.table.values()) == wanted(EXAMPLE)
