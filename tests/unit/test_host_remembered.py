"""What the state directory remembers: documents, addresses of names, logs."""

from __future__ import annotations

import io
import json
import os
import threading
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from mesh_examples import document, topology_text

from host_agent import last_good
from host_agent.drivers import daemon, files
from host_agent.facts import names
from host_agent.run.background import Background
from host_agent.run.log import Log
from host_agent.run.names import Names
from host_agent.run.policy import Places, PolicyFile
from host_agent.state import File, log_path
from policies.errors import DocumentError
from policies.load_node import load_for_node


def test_the_last_good_documents_are_kept_and_read_again(tmp_path: Path) -> None:
    policy, topology = tmp_path / "mine.json", tmp_path / "nodes.yml"
    policy.write_text("{}")
    topology.write_text("nodes: {}")
    assert last_good.load(tmp_path, "a") is None
    documents = last_good.documents(policy, topology)
    last_good.keep(tmp_path, documents)
    directory = tmp_path / "last-good"
    stamp = (directory / "policy.json").stat().st_mtime_ns
    last_good.keep(tmp_path, documents)
    assert (directory / "policy.json").stat().st_mtime_ns == stamp, "nothing to write"
    assert {path.name: path.read_text() for path in directory.iterdir()} == documents
    last_good.keep(tmp_path, {"policy.yaml": "a: b"})
    assert last_good.policy_path(tmp_path) == directory / "policy.yaml"
    assert [path.name for path in directory.iterdir()] == ["policy.yaml"], "one node, no topology"


def test_the_last_good_policy_is_this_nodes_part(tmp_path: Path) -> None:
    """At a boot nobody says which topology it was."""
    last_good.keep(tmp_path, {"policy.json": json.dumps(document()), "topology.json": topology_text()})
    first, second = (last_good.load(tmp_path, name) for name in "ab")
    assert first and second and first.privacy_router != second.privacy_router
    with pytest.raises(DocumentError, match="has no node"):
        last_good.load(tmp_path, "elsewhere")


def test_run_follows_policy_and_topology_and_falls_back_on_both(tmp_path: Path) -> None:
    said = io.StringIO()
    policy, topology = tmp_path / "policy.json", tmp_path / "topology.json"
    policy.write_text(json.dumps(document()))
    topology.write_text(topology_text())
    places = Places(policy, tmp_path, tmp_path, topology, "b")
    file = PolicyFile(places, Log(False, said))
    assert file.read(False) and file.source is not None and file.source.documents is not None
    here = file.source.policy
    assert here != load_for_node(policy, topology, "a") and here == load_for_node(policy, topology, "b")
    assert not file.read(False), "nothing has changed"
    topology.write_text(topology_text({"a": [200, 202], "b": [201, 203, 204]}))
    assert file.read(False) and file.source.policy != here, "a container has moved"
    last_good.keep(tmp_path, file.source.documents)

    topology.write_text("{")
    assert not file.read(False), "an invalid edit changes nothing"
    anew = PolicyFile(places, Log(False, said))
    assert anew.read(False) and anew.source == replace(file.source, documents=None)
    assert "last good policy" in said.getvalue()


# --- names

A, B, C = (IPv4Address(f"192.0.2.{n}") for n in (1, 2, 3))
SIX = IPv6Address("2001:db8::1")


@pytest.mark.parametrize(
    ("known", "answer", "then"),
    [
        ((), (A,), (A,)),
        ((A,), (), (A,)),
        ((A, B), (B, A), (A, B)),
        ((A,), (B,), (B,)),
        ((A, B), (B, C), (B, C)),
        ((B,), (A, B, SIX), (B, A, SIX)),
        ((A, SIX), (A,), (A,)),
    ],
)
def test_an_address_in_use_stays_while_the_name_has_it(
    known: names.Addresses, answer: names.Addresses, then: names.Addresses
) -> None:
    assert names.renewed(known, answer) == then


def test_both_families_are_asked_for() -> None:
    """By /etc/hosts, which needs no network."""
    missing: list[str] = []
    assert names.resolve("localhost", missing)[0] == IPv4Address("127.0.0.1") and missing == []
    assert names.resolve("2001:db8::1", missing) == (SIX,)
    assert names.resolve("a..b", missing) == () and "a..b: has no address here" in missing[0]
    assert names.Answer((A, SIX, B)).ipv4 == (A, B)


def test_a_silent_name_server_neither_blocks_nor_takes_away() -> None:
    told = threading.Event()
    answers = {"vps": (A,), "kept": ()}
    slow = threading.Event()

    def ask(name: str, missing: list[str]) -> names.Addresses:
        if threading.current_thread() is not threading.main_thread():
            slow.wait(5)
        if not answers[name]:
            missing.append(f"{name}: no answer")
        return answers[name]

    known = Names(ask, {"kept": names.Answer((C,), 1.0)}, told.set)
    missing: list[str] = []
    assert known.lookup("vps", missing).addresses == (A,) and missing == []
    assert known.lookup("kept", missing) == names.Answer((C,), 1.0) and missing == []
    answers["other"] = ()
    assert known.lookup("other", missing).addresses == () and missing == ["other: no answer"]
    answers["vps"] = (B,)
    known.refresh()
    known.refresh()
    assert known.lookup("vps", missing).addresses == (A,), "until the answer is there"
    slow.set()
    assert told.wait(5)
    assert known.lookup("vps", missing).addresses == (B,)
    assert known.lookup("kept", missing) == names.Answer((C,), 1.0, old=True), "it stays, and is said to be old"


def test_nothing_is_asked_twice_at_once_and_a_failure_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda failure: None)
    begun, go = threading.Semaphore(0), threading.Semaphore(0)
    outcomes = iter([RuntimeError(), False, True])

    def ask() -> bool:
        begun.release()
        go.acquire()
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    changed = threading.Event()
    question = Background("question", ask, changed.set)
    for _ in range(3):
        assert not changed.is_set()
        question.again()
        assert begun.acquire(timeout=5)
        question.again()
        assert not begun.acquire(timeout=0.05), "it is still being asked"
        thread = next(it for it in threading.enumerate() if it.name == "question")
        go.release()
        thread.join(5)
    assert changed.is_set()


def test_what_a_name_server_said_is_remembered_and_its_age_said(tmp_path: Path) -> None:
    answers = {
        "vps": names.Answer((A, SIX), 10_000.0),
        "other": names.Answer((B,), 5.0),
        "192.0.2.1": names.Answer((A,), 7.0),
        "nobody": names.Answer(),
    }
    names.keep(tmp_path, answers)
    assert names.kept(tmp_path) == {"vps": answers["vps"], "other": answers["other"]}
    stamp = (tmp_path / names.FILE).stat().st_mtime_ns
    names.keep(tmp_path, {**answers, "vps": names.Answer((A, SIX), 10_000.0 + names.EXACT - 1)})
    assert (tmp_path / names.FILE).stat().st_mtime_ns == stamp, "not every answer is written"
    later = {"vps": names.Answer((A,), 10_000.0)}
    names.keep(tmp_path, later)
    assert names.kept(tmp_path) == later, "what is no longer asked for is forgotten"
    (tmp_path / names.FILE).write_text('{"a": {"addresses": [3.5, "x"]}}')
    assert names.kept(tmp_path) == {}
    silent = names.asking(later, lambda name, missing: missing.append(f"{name}: silence") or ())
    missing: list[str] = []
    assert silent("vps", missing) == names.Answer((A,), 10_000.0, old=True) and missing == []
    assert silent("new", missing).addresses == () and missing == ["new: silence"]
    assert names.remarks({"vps": silent("vps", [])}, 10_000.0 + 7200) == (
        "degraded: no name server answers for vps, its addresses of 2.0 h ago serve; "
        "check this machine's name resolution",
    )
    assert names.remarks(later, 10_000.0) == ()


# --- the state directory


def test_a_log_does_not_grow_without_end_and_its_program_goes_on(tmp_path: Path) -> None:
    log = log_path(tmp_path, "xray")
    log.parent.mkdir()
    with log.open("ab", buffering=0) as program:
        program.write(b"a" * daemon.LOG_LIMIT)
        daemon.shorten_logs(tmp_path)
        assert log.stat().st_size == daemon.LOG_LIMIT
        program.write(b"last line\n")
        daemon.shorten_logs(tmp_path)
        assert log.stat().st_size == 0
        program.write(b"next line\n")
    assert log.read_bytes() == b"next line\n"
    kept = log.with_name("xray.log.1").read_bytes()
    assert len(kept) == daemon.LOG_KEPT and kept.endswith(b"last line\n")


def test_files_that_nobody_wants_any_more_are_found_by_their_pattern(tmp_path: Path) -> None:
    wanted, stale, other = (File(str(tmp_path / name), b"x") for name in ("client-1.json", "client-2.json", "user-id"))
    for file in (wanted, stale, other):
        files.write(file)
    pattern = str(tmp_path / "client-*.json")
    assert files.read([wanted]) == {wanted}
    assert files.read([wanted], [pattern]) == files.read([], [pattern]) == {wanted, stale}
    assert files.read([other], [str(tmp_path / "none" / "*")]) == {other}


def test_a_file_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    """A unit sets one of 0077, and the hash file is for everybody: it would be written again and again."""
    wanted = File(str(tmp_path / "hash"), b"x", 0o644)
    before = os.umask(0o077)
    try:
        files.write(wanted)
    finally:
        os.umask(before)
    assert files.read([wanted]) == {wanted}
