"""Entries exchanged one for one in sets so large that their headers alone are looked at."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_sandbox import Node, own_hash_file
from test_run import Run

from host_agent.drivers.ipset import READ_WHOLE

RUN = """
import sys
from pathlib import Path
from host_agent.run.log import Log
from host_agent.run.policy import Places
from host_agent.run.service import Timing, run
run(Places(*map(Path, sys.argv[1:])), Log(True), Timing(whole=0.3))
"""
FIRST, OTHER = "11.0.0.0/25", "203.0.113.0/24"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    for code in ("de", "nl"):
        lines = (f"11.{n >> 8}.{n & 255}.0/25\n" for n in range(READ_WHOLE + 1))
        (tmp_path / f"{code}.zone").write_text("".join(lines))
    policy = tmp_path / "policy.json"
    xray = {"clients": ["192.168.50.10"], "servers": ["203.0.113.20"], "exclude_sets": ["de", "nl"]}
    lan = {"interfaces": ["uplink0"], "subnets": ["192.168.50.0/24"]}
    advanced = {"lan": lan, "ipsets": {"zones_dir": str(tmp_path)}, "tunnel_director": own_hash_file(tmp_path)}
    policy.write_text(json.dumps({"xray": xray, "advanced": advanced}))
    with Node(tmp_path, policy) as it:
        it.apply()
        yield it


def exchange(node: Node, name: str) -> None:
    node.run("ipset", "del", name, FIRST)
    node.run("ipset", "add", name, OTHER)


def test_the_verbs_by_hand_see_it_at_once(node: Node) -> None:
    assert node.agent("plan").returncode == 0
    exchange(node, "nl")
    for verb in ("plan", "status"):
        assert node.agent(verb).returncode == 1, verb
    (step,) = node.apply()
    assert "ipset nl" in step
    assert node.run("ipset", "test", "nl", FIRST) == "" and node.agent("plan").returncode == 0


def test_run_sees_it_when_the_turn_of_the_set_comes(node: Node, tmp_path: Path) -> None:
    where = map(str, (node.policy, node.state, node.config))
    run = Run(node, tmp_path / "run.log", command=(sys.executable, "-c", RUN, *where))
    try:
        run.wait("in force")
        for number, name in enumerate(("nl", "de", "nl"), 1):
            exchange(node, name)
            repair = run.wait("repair", number)[-1]
            assert f"put in place ipset {name} " in repair["step"]
            assert node.attempt("ipset", "test", name, OTHER).returncode == 1
    finally:
        assert run.end() == 0
    assert len(run.said("repair")) == 3, "what was put right is believed again"
