"""A policy that one of two switches refuses: both have the former one again, and so have file and controller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eventlet import sleep, spawn
from mesh_examples import BUCKET, VECTOR_DB, document, topology_text
from table_switch import TableSwitch

from ryu_apps.flows.flow import MESH
from ryu_apps.openflow.wire import SwitchEntry
from ryu_apps.policy.changes import PolicyChanges
from ryu_apps.policy.file import PolicyFile
from ryu_apps.rest.changes import ChangeController
from ryu_apps.rest.problem import HttpProblem
from ryu_apps.switches.session import Session

PORTS = {name: number for number, name in enumerate((*(f"internal_{n}" for n in range(200, 205)), "nm-privacy"), 1)}
REQUEST = SimpleNamespace(remote_addr="192.0.2.1", method="PUT", path="/v1/policy")


class World:
    """Two nodes' switches, and the REST interface's hand on the policy."""

    def __init__(self, directory: Path) -> None:
        self.policy, topology = directory / "policy.json", directory / "topology.json"
        self.policy.write_text(json.dumps(document(), indent=1))
        topology.write_text(topology_text())
        self.changes = PolicyChanges(PolicyFile(self.policy, topology), self.wake)
        self.switches = {dpid: TableSwitch(PORTS) for dpid in (1, 2)}
        self.sessions = []
        for dpid, switch in self.switches.items():
            switch.id = dpid
            session = Session(dpid, lambda: self.changes.policy_file.current)
            self.sessions.append(session)
            self.connections = [*getattr(self, "connections", []), session.open(switch)]
            switch.settle()
        self.rest: Any = object.__new__(ChangeController)
        self.rest.service = SimpleNamespace(app=self)

    def wake(self, trigger: str) -> None:
        for session in self.sessions:
            session.wake(trigger)

    def put(self, text: str) -> Any:
        """The answer, or the problem."""

        def answer() -> Any:
            with self.changes.turn:
                try:
                    return self.rest._apply(REQUEST, self.changes.policy_file.compile(text))
                except HttpProblem as problem:
                    return problem

        return spawn(answer).wait()

    def tables(self) -> list[dict[bytes, SwitchEntry]]:
        return [dict(switch.table) for switch in self.switches.values()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for session, connection in zip(made.sessions, made.connections, strict=True):
        session.disconnect(connection)
    sleep(0)


def moved(world: World) -> str:
    return world.policy.read_text().replace(VECTOR_DB, "100.104.70.40")


def test_what_every_switch_takes_stays(world: World) -> None:
    before = world.tables()
    answer = world.put(moved(world))
    assert [each["outcome"] for each in answer.json["switches"]] == ["confirmed", "confirmed"]
    assert "100.104.70.40" in world.policy.read_text()
    assert all(now != then for now, then in zip(world.tables(), before, strict=True))


@pytest.mark.parametrize("refusing", [1, 2])
def test_what_one_switch_refuses_none_keeps(world: World, refusing: int) -> None:
    before, text, former = world.tables(), world.policy.read_text(), world.changes.policy_file.current
    world.switches[refusing].refuses = lambda entry: entry.table == MESH
    problem = world.put(moved(world))
    assert problem.status == 502 and "in force again" in problem.detail
    outcomes = {each["dpid"]: each for each in problem.members["switches"]}
    assert outcomes[refusing]["outcome"] == "failed" and outcomes[3 - refusing]["outcome"] == "confirmed"
    refusal = outcomes[refusing]["refusal"]
    assert "TABLE_FULL" in refusal["error"] and refusal["entry"] and "policy.json:" in refusal["document"]
    assert {each["dpid"]: each["outcome"] for each in problem.members["put_back"]} == {
        refusing: "unchanged",
        3 - refusing: "confirmed",
    }
    assert world.tables() == before
    assert world.policy.read_text() == text and world.changes.policy_file.current.revision == former.revision


def test_what_a_slow_switch_said_before_is_no_word_on_what_is_put_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not looked at the new policy yet, so its last word is on the former one: from when that came first."""
    monkeypatch.setattr("ryu_apps.rest.changes.CONFIRMATION", 0.3)
    world.switches[1].refuses = lambda entry: True
    world.switches[2].mute = True
    problem = world.put(moved(world))
    assert problem.status == 502 and problem.detail.endswith("but not confirmed by ovsbr0")
    put_back = {each["dpid"]: each["outcome"] for each in problem.members["put_back"]}
    assert put_back == {1: "unchanged", 2: "not confirmed in time"}


def test_what_is_in_force_is_put_where_the_file_holds_nonsense(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryu_apps.rest.changes.CONFIRMATION", 0.3)
    text = world.policy.read_text()
    world.policy.write_text("{")
    spawn(world.changes.follow, "policy file written").wait()
    assert world.changes.policy_file.problems
    answer = world.put(text)
    assert [each["outcome"] for each in answer.json["switches"]] == ["unchanged", "unchanged"]
    assert world.policy.read_text() == text and not world.changes.policy_file.problems


def test_a_switch_that_will_not_go_back_is_named(world: World) -> None:
    """It took the new policy, and refuses the former one."""
    world.switches[1].refuses = lambda entry: True
    old = set(world.switches[2].table)
    world.switches[2].refuses = lambda entry: entry.identity in old
    problem = world.put(moved(world))
    assert problem.status == 502 and "not confirmed by ovsbr0" in problem.detail
    assert VECTOR_DB in world.policy.read_text() and BUCKET in world.policy.read_text()
