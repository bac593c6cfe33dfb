"""What ``explain`` says of a packet is what becomes of it, in the LAN router's lab, with real packets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sandbox
from host_sandbox import ROOT, needs_root

pytestmark = pytest.mark.skipif(bool(needs_root()), reason=needs_root())


def test_every_packet_takes_the_way_that_was_explained(tmp_path: Path) -> None:
    inside = [sys.executable, str(Path(__file__).with_name("explained.py")), str(tmp_path)]
    paths = (ROOT, ROOT / "mininet", ROOT / "tests")
    done = subprocess.run(
        sandbox.dying_with_parent(sandbox.sandboxed(inside)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rounds) == 5
    for each in rounds:
        assert each["packets"] > 100 and {"xray", "vpn1", "vpn2", "wan"} <= set(each["ways"]), "every way is taken"
        assert not each["wrong"], each["policy"]
