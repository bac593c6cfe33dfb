"""An apply of the chain that is killed between two steps: every verb can go on from what it left."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from host_sandbox import Node

SOAK = bool(os.environ.get("SOAK"))


def test_wherever_an_apply_from_nothing_is_killed_the_next_one_completes_it(node: Node, tmp_path: Path) -> None:
    before = node.snapshot()
    where = (node.state, "--policy", node.policy, "--config-dir", node.config)
    script = Path(__file__).with_name("killed_agent.py")
    log = tmp_path / "log"
    killer = node.start(sys.executable, script, "every" if SOAK else "samples", *where, log=log)
    assert killer.wait(1800 if SOAK else 480) == 0, log.read_text()
    lines = log.read_text().splitlines()
    assert len(lines) > (50 if SOAK else 10)
    for seen in map(json.loads, lines):
        status, plan, (doctor, complaint), *rest = seen["after"]
        assert (status, plan, rest) == ([1, ""], [1, ""], [[0, ""]] * 4), seen
        assert doctor in (0, 1) and not complaint, seen
    assert node.snapshot() == before
