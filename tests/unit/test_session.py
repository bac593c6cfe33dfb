"""A session against a switch in memory: what it sends, how much it computes for that, and what it never does."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable

import pytest
from eventlet import Timeout, sleep
from session_world import EXAMPLE, MOVED, POLICY, PORTS, World, compiled, wanted
from table_switch import ADD, TableSwitch

from ryu_apps.openflow.wire import SwitchEntry
from ryu_apps.policy.changes import HANGUP
from ryu_apps.switches import session as session_module
from ryu_apps.switches.session import Session


def eventually(condition: Callable[[], bool]) -> None:
    with Timeout(10):
        while not condition():
            sleep(0.005)


# The three invariants of any controller that leaves a network in peace.


def test_apply_then_revert_gives_the_same_table(world: World) -> None:
    before = dict(world.switch.table)
    assert set(before.values()) == wanted(EXAMPLE)
    world.load(MOVED)
    assert set(world.switch.table.values()) == wanted(MOVED) != wanted(EXAMPLE)
    world.load(EXAMPLE)
    assert world.switch.table == before


def test_a_reload_is_never_a_delete_of_everything(world: World) -> None:
    """The switch refuses every delete but a strict one; and the messages are as many as the changed entries."""
    world.forget()
    world.load(MOVED)
    changed = wanted(MOVED) ^ wanted(EXAMPLE)
    identities = {entry.identity for entry in changed}
    assert len(world.switch.messages) == len(identities) < len(EXAMPLE.entries) / 2


def test_a_second_controller_with_the_same_policy_sends_nothing(world: World) -> None:
    before = dict(world.switch.table)
    world.session.disconnect(world.connection)
    world.start()
    world.forget()
    world.session.wake(HANGUP)
    world.switch.settle()
    assert world.switch.table == before and world.switch.messages == []


# How much an event may cost.


def test_first_programming_is_one_reading_one_bundle(world: World) -> None:
    assert world.session.work == {
        "readings": 1, "targets": 1, "plans": 1, "bundles": 1, "messages": len(EXAMPLE.entries),
    }  # fmt: skip
    assert world.switch.requests == ["watch", "barrier", "ports", "ports", "entries", "barrier", "ports", "entries"]


def test_an_edit_reads_only_what_it_changes(world: World) -> None:
    world.forget()
    world.load(MOVED)
    messages = len(world.switch.messages)
    assert world.session.work == {"targets": 1, "plans": 1, "bundles": 1, "messages": messages}
    assert "entries" not in world.switch.requests


def test_an_edit_that_changes_nothing_costs_a_plan(world: World) -> None:
    world.forget()
    world.load(compiled(POLICY))
    assert world.session.work == {"targets": 1, "plans": 1}


def test_many_port_events_at_once_are_one_look(world: World) -> None:
    world.forget()
    for number in range(500):
        world.session.wake(f"port p{number} modified")
    world.switch.settle()
    assert world.session.work == {"plans": 1}  # the ports are the same: not even a target


def test_a_port_event_does_not_read_the_table(world: World) -> None:
    world.forget()
    number = world.switch.ports.pop("internal_201")
    world.session.wake("port internal_201 deleted")
    world.switch.settle()
    assert world.session.work["readings"] == 0 and world.session.work["bundles"] == 1
    world.switch.ports["internal_201"] = number
    world.session.wake("port internal_201 added")
    world.switch.settle()
    assert set(world.switch.table.values()) == wanted(EXAMPLE)


def test_a_repair_reads_and_sends_one_entry(world: World) -> None:
    world.forget()
    lost = world.entry(20, 0)
    world.switch.foreign(gone=lost)
    world.switch.settle()
    assert world.switch.messages == [(ADD, lost)]
    assert world.session.work == {"readings of items": 1, "plans": 1, "bundles": 1, "messages": 1}
    world.switch.foreign(SwitchEntry.of(lost.table, lost.priority, lost.match, lost.instructions, 3))
    world.switch.settle()
    assert world.entry(20, 0) == lost and "entries" not in world.switch.requests


def test_our_own_changes_and_foreign_ones_that_do_not_matter_cost_nothing(world: World) -> None:
    world.load(MOVED)
    world.forget()
    world.switch.foreign(SwitchEntry.of(99, 1, b"", b"", 3))  # not our table
    same = world.entry(20, 0)
    world.switch.foreign(same)  # written again, as it is
    world.switch.settle()
    assert world.session.work == {} and world.switch.requests == []


# What others do.


def test_foreign_entries_go_or_stay_as_the_policy_says(world: World) -> None:
    stranger, elsewhere = SwitchEntry.of(0, 60000, b"", b"", 3), SwitchEntry.of(77, 1, b"", b"", 3)
    world.switch.foreign(elsewhere)
    world.switch.foreign(stranger)
    world.switch.settle()
    assert set(world.switch.table.values()) == {*wanted(EXAMPLE), elsewhere}
    keeping = dataclasses.replace(POLICY, openflow=dataclasses.replace(POLICY.openflow, foreign_flows="keep"))
    world.load(compiled(keeping))
    world.switch.foreign(stranger)
    world.switch.settle()
    assert stranger in world.switch.table.values()
    world.load(EXAMPLE)
    assert set(world.switch.table.values()) == {*wanted(EXAMPLE), elsewhere}


def test_what_was_deleted_while_nobody_looked_is_found_at_connecting(world: World) -> None:
    world.session.disconnect(world.connection)
    world.switch.table.clear()
    world.connect()
    assert set(world.switch.table.values()) == wanted(EXAMPLE)


def test_of_much_drift_some_is_told_line_by_line(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ryu_apps.switches.session_log._LINES", 2)
    for entry in sorted(wanted(EXAMPLE))[:3]:
        world.switch.foreign(gone=entry)
    world.switch.settle()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.partition(":")[0] for line in warnings] == ["ovsbr0"] * 3
    assert all("somebody deleted" in line for line in warnings[:2]) and warnings[2].endswith("drift: 1 flow entry more")


def test_what_cannot_be_told_is_done_and_known_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ryu_apps.switches.session_log.drift_lines", lambda *_: 1 / 0)
    world.forget()
    lost = world.entry(20, 0)
    for _ in range(2):
        world.switch.foreign(gone=lost)
        world.switch.settle()
        assert lost in world.switch.table.values(), "at once, also after the first report has failed"
    assert "report_drift: cannot be told" in caplog.text
    assert world.session.work["readings"] == 0, "what the switch holds is known"


def test_only_a_port_that_goes_is_worth_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "privacy_router")
    ports = world.switch.ports
    gone = {name: ports.pop(name) for name in ("internal_201", "nm-privacy")}
    world.session.wake("ports deleted")
    world.switch.settle()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    (warning,) = warnings
    assert warning.endswith("ports internal_201, nm-privacy are not there yet: 7 flow entries wait, 4 drop meanwhile")
    ports["internal_201"] = gone["internal_201"]
    world.session.wake("port internal_201 added")
    world.switch.settle()
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_a_fight_is_fought_slowly(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ryu_apps.switches.repairs.SECONDS_IN_A_FIGHT", 0.5)
    lost, began = world.entry(20, 0), 0.0
    for _ in range(10):
        began = time.monotonic()
        world.switch.foreign(gone=lost)
        eventually(lambda: lost in world.switch.table.values())
        world.switch.settle()
    assert "again and again" in caplog.text
    world.switch.foreign(gone=lost)
    eventually(lambda: lost in world.switch.table.values())
    assert time.monotonic() - began > 0.5


def test_a_fight_goes_on_slowly_over_a_new_connection(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryu_apps.switches.repairs.SECONDS_IN_A_FIGHT", 0.5)
    lost = world.entry(20, 0)
    for _ in range(11):
        world.switch.foreign(gone=lost)
        world.switch.settle()
    world.session.disconnect(world.connection)
    world.connect()
    world.switch.foreign(gone=lost)
    eventually(lambda: lost in world.switch.table.values())


def test_without_a_monitor_the_switch_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "POLL_SECONDS", 0.05)
    switch = TableSwitch(PORTS, watchable=False)
    session = Session(7, lambda: EXAMPLE)
    connection = session.open(switch)
    switch.settle()
    switch.table.clear()
    eventually(lambda: set(switch.table.values()) == wanted(EXAMPLE))
    session.disconnect(connection)


def test_drift_in_very_many_entries_is_one_reading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "FEW", 3)
    before = dict(world.switch.table)
    world.forget()
    for entry in sorted(wanted(EXAMPLE))[:5]:
        world.switch.foreign(gone=entry)
    world.switch.settle()
    assert world.switch.table == before
    assert world.session.work == {"readings": 1, "plans": 1, "bundles": 1, "messages": 5}
    last = world.session.account.last_change
    assert last is not None and last.trigger == "drift in 5 flow entries"


# What goes wrong.


def test_a_refused_bundle_leaves_the_old_state_and_names_entry_and_line(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = dict(world.switch.table)
    added = wanted(MOVED) - wanted(EXAMPLE)
    world.switch.refuses = lambda entry: entry in added
    with caplog.at_level(logging.ERROR, "privacy_router"):
        world.load(MOVED)
    assert world.switch.table == before
    last = world.session.account.last_change
    assert last is not None and not last.confirmed and last.reason is not None
    assert "TABLE_FULL" in last.reason and "function route blob_store" in last.reason
    # The old state is in force, and is looked after.
    world.switch.foreign(gone=world.entry(20, 0))
    world.switch.settle()
    assert world.switch.table == before
    world.switch.refuses = lambda _entry: False
    world.session.wake(HANGUP)
    world.switch.settle()
    assert set(world.switch.table.values()) == wanted(MOVED)


def test_a_refused_repair_is_no_word_of_something_put_back(world: World, caplog: pytest.LogCaptureFixture) -> None:
    lost = world.entry(20, 0)
    world.switch.refuses = lambda entry: entry == lost
    world.switch.foreign(gone=lost)
    world.switch.settle()
    assert lost not in world.switch.table.values()
    assert "TABLE_FULL" in caplog.text and "put back" not in caplog.text and "added" not in caplog.text


def test_what_the_read_back_lacks_is_not_confirmed_and_is_read_next_time(world: World) -> None:
    lost = next(iter(wanted(MOVED) - wanted(EXAMPLE)))
    apply = world.switch._apply
    world.switch._apply = lambda command, entry, *rest: None if entry == lost else apply(command, entry, *rest)  # type: ignore[method-assign]
    world.load(MOVED)
    last = world.session.account.last_change
    assert last is not None and not last.confirmed and "differs in 1 flow entry" in str(last.reason)
    world.switch._apply = apply  # type: ignore[method-assign]
    world.forget()
    world.session.wake("port other added")
    world.switch.settle()
    assert world.session.work["readings"] == 1 and set(world.switch.table.values()) == wanted(MOVED)


def test_what_failed_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "AGAIN_SECONDS", 0.05)
    world.switch.refuses = lambda _entry: True
    world.load(MOVED)
    world.switch.refuses = lambda _entry: False
    eventually(lambda: set(world.switch.table.values()) == wanted(MOVED))
    world.switch.settle()
    assert world.session.account.last_change is not None and world.session.account.last_change.trigger == "tried again"


def test_a_silent_switch_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryu_apps.switches.connection.ANSWER_TIMEOUT", 0.05)
    world.switch.mute = True
    world.session.wake(HANGUP)
    eventually(lambda: world.switch.closed)


def test_readers_of_a_silent_switch_get_the_last_reading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.session.reading(0)
    assert first is not None and len(first.installed) == len(EXAMPLE.entries)
    monkeypatch.setattr("ryu_apps.switches.last_reading.PATIENCE", 0.05)
    world.switch.mute = True
    assert world.session.reading(60) is first
    assert world.session.reading(0) is first


def test_a_living_connection_is_not_taken_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "TAKEOVER_PATIENCE", 0.1)
    impostor = TableSwitch(PORTS)
    world.session.open(impostor)
    impostor.settle()
    assert impostor.closed and world.session.connection is world.connection
    # One that does not answer any more has to go.
    world.switch.mute = True
    again = TableSwitch(PORTS)
    connection = world.session.open(again)
    eventually(lambda: set(again.table.values()) == wanted(EXAMPLE))
    assert world.session.connection is connection and world.switch.closed
    world.connection = connection


def test_a_bridge_of_another_name_is_left_alone() -> None:
    switch = TableSwitch(PORTS, name="other0")
    session = Session(7, lambda: EXAMPLE)
    connection = session.open(switch)
    switch.settle()
    assert switch.messages == [] and not session.account.ours
    session.disconnect(connection)


def test_what_a_large_look_took_is_given_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[None] = []
    monkeypatch.setattr(session_module.memory, "give_back", lambda: given.append(None))
    world.load(MOVED)
    assert not given  # not worth it
    monkeypatch.setattr(session_module, "_LARGE", len(EXAMPLE.entries) - 1)
    world.load(EXAMPLE)
    assert len(given) == 1
