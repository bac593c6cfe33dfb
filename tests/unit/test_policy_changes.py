"""How another policy comes into force: in which order, and who waits meanwhile."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from eventlet import Timeout, sleep, spawn
from mesh_examples import document, topology_text

from ryu_apps.policy import file as policy_file_module
from ryu_apps.policy.changes import PolicyChanges
from ryu_apps.policy.file import CompiledPolicy, PolicyFile, compile_document

EXAMPLE = (Path(__file__).resolve().parents[2] / "policies/documents/privacy-router.json").read_text()
SLOW = 0.4  # seconds of processor time


def edited(number: int) -> str:
    return EXAMPLE.replace("nw_dst=100.104.70.10", f"nw_dst=100.104.70.{20 + number}")


class World:
    """A policy file, and compiling that takes its time."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        path.write_text(EXAMPLE)
        self.woken: list[str] = []
        self.compiled: list[str] = []
        self.spent = 0.0  # seconds of processor time on the document that is being read
        self.changes = PolicyChanges(PolicyFile(path), self.woken.append)

        def slow(text: str, *more: object) -> CompiledPolicy:
            self.compiled.append(text)
            begin = time.thread_time()
            while (spent := time.thread_time() - begin) < SLOW:
                self.spent = spent
            return compile_document(text, *more)  # type: ignore[arg-type]

        monkeypatch.setattr(policy_file_module, "compile_document", slow)

    @property
    def in_force(self) -> str:
        return self.changes.policy_file.current.text


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path / "policy.json", monkeypatch)


def test_others_have_their_turns_while_a_document_is_read(world: World) -> None:
    world.path.write_text(edited(1))
    following = spawn(world.changes.follow, "policy file written")
    turns = [0.0]  # at each of them, how far the reading was; other programs' turns do not count
    while not following.dead:
        sleep(0.001)
        turns.append(world.spent)
    assert world.in_force == edited(1) and world.woken == ["policy file written"]
    assert max(after - before for before, after in pairwise((*turns, SLOW))) < SLOW / 4


def test_of_quick_edits_the_last_one_is_in_force(world: World) -> None:
    following = []
    for number in range(5):
        world.path.write_text(edited(number))
        following.append(spawn(world.changes.follow, f"edit {number}"))
        with Timeout(10):
            while not world.compiled:  # the first is being read
                sleep(0.001)
    for each in following:
        each.wait()
    assert world.in_force == edited(4)
    assert world.compiled == [edited(0), edited(4)]  # the one under way, then the newest; none in between


def test_an_edit_during_a_put_comes_after_it(world: World) -> None:
    changes = world.changes
    with changes.turn:
        compiled = changes.aside(changes.policy_file.compile, edited(1))
        following = spawn(changes.follow, "policy file written")
        sleep(0.01)
        assert changes.put(compiled, "REST")
        assert world.in_force == edited(1) and world.woken == ["REST"]
        world.path.write_text(edited(2))
    following.wait()
    assert world.in_force == edited(2) and world.compiled == [edited(1), edited(2)]  # what was put is not read again


def test_what_is_invalid_leaves_the_last_good_one(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "privacy_router")
    before = world.changes.policy_file.current
    world.path.write_text(EXAMPLE.replace("output:warp0", "output:warp9"))
    world.changes.follow("policy file written")
    assert world.changes.policy_file.current is before and world.woken == []
    assert any("warp9" in problem for problem in world.changes.policy_file.problems)
    world.path.write_text(EXAMPLE)
    world.changes.follow("policy file written")
    assert world.changes.policy_file.current is before and world.changes.policy_file.problems == ()
    last = caplog.records[-1]
    assert "in order again" in last.getMessage() and vars(last)["kind"] == "policy", "the last word is not the refusal"
    world.changes.follow("policy file written")
    assert caplog.records[-1] is last, "said once"


def test_what_was_proved_before_it_was_written_is_told_with_the_time_that_it_took(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "privacy_router")
    with world.changes.turn:
        compiled = world.changes.aside(world.changes.policy_file.compile, edited(1))
        assert world.changes.put(compiled, "REST")
    assert vars(caplog.records[-1])["facts"]["milliseconds"] == compiled.milliseconds > 0


def test_with_a_topology_only_what_is_new_is_compiled(tmp_path: Path) -> None:
    path, places = tmp_path / "policy.json", tmp_path / "topology.json"
    path.write_text(json.dumps(document()))
    places.write_text(topology_text())
    policy_file = PolicyFile(path, places)
    assert policy_file.newest() is policy_file.current
    known = policy_file.compile(json.dumps(document(), indent=2))
    path.write_text(known.text)
    assert policy_file.newest(known) is known and policy_file.accept(known)
    places.write_text(topology_text({"a": [200, 202, 204, 201], "b": [203]}))
    moved = policy_file.newest()
    assert moved.topology != known.topology and moved.text == known.text
