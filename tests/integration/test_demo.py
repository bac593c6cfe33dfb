"""The demo's nine lines as tests, and what becomes of a demo that is killed. Real daemons, real packets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import traces

pytestmark = pytest.mark.alone
ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, str(ROOT / "mininet" / "demo.py")]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    directory = tmp_path_factory.mktemp("demo")
    result = directory / "lines.json"
    done = subprocess.run(
        [*DEMO, "--directory", str(directory / "lab"), "--json", str(result)],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert result.exists(), done.stderr
    found: list[dict[str, object]] = json.loads(result.read_text())
    assert (done.returncode == 0) == all(line["held"] for line in found), "the exit code must tell what the lines tell"
    return found


@pytest.mark.parametrize("number", range(1, 10))
def test_every_line_holds(lines: list[dict[str, object]], number: int) -> None:
    those = [line for line in lines if line["number"] == number]
    assert those, f"the demo never came to line {number}"
    assert not [line for line in those if not line["held"]]


def test_a_killed_demo_leaves_nothing(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    before = traces.snapshot(lab)
    demo = subprocess.Popen([*DEMO, "--directory", str(lab)], stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    for text in demo.stdout:
        if "HTTP" in text:  # everything is up by then
            break
    during = traces.left_behind(before, traces.snapshot(lab))
    assert any("ovs-vswitchd" in each for each in during), "the check must be able to see the lab's daemons"
    demo.send_signal(signal.SIGKILL)
    demo.wait()
    deadline = time.monotonic() + 5
    logs = [f"files: {lab}"]  # they stay for whoever wants to know, until the next demo
    while (left := traces.left_behind(before, traces.snapshot(lab))) != logs and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == logs
