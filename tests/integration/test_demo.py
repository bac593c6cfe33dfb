"""The demo's nine lines as tests, and what becomes of a demo that is killed. Real daemons, real packets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import checks
import client
import inside
import pytest
import traces
from lab import Lab
from line import Line

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
    broken = [f"line {line['number']}, {line['what']}: {line['measured']}" for line in found if line["broke_off"]]
    assert not broken, f"the demo broke off in {broken[0]}"
    assert (done.returncode == 0) == all(line["held"] for line in found), done.stderr
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
    logs = f"files: {lab}"  # they stay for whoever wants to know, until the next demo
    assert traces.left_in_the_end(before, lab, but=(logs,)) == []
    assert lab.exists()


@pytest.mark.parametrize(
    ("killed", "number", "said"),
    [
        ("demo", signal.SIGINT, "The demo was interrupted. Logs: "),
        ("lab", signal.SIGKILL, "The demo broke off with exit code -9. Logs: "),
    ],
)
def test_how_a_demo_ended_that_came_to_no_line(tmp_path: Path, killed: str, number: int, said: str) -> None:
    directory = tmp_path / "lab"
    at_a_terminal = ("env", "--default-signal=INT")  # in the background of a shell it would be ignored
    command = [*at_a_terminal, *DEMO, "--directory", str(directory)]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    assert "surroundings" in demo.stdout.readline()
    os.kill({"demo": demo.pid, "lab": int((directory / "pid").read_text())}[killed], number)
    rest, errors = demo.communicate(timeout=60)
    assert (demo.returncode, rest.count("What was seen")) == (1, 0), "no table without lines"
    assert errors.strip().splitlines()[0].startswith(said) and len(errors.strip().splitlines()) == 1


def test_what_must_time_out_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo says how long it waits for that."""
    all_have_asked = threading.Barrier(3)

    def ask(*_: object, timeout: float) -> str:
        assert timeout == checks.CUT_SECONDS
        all_have_asked.wait(20)
        raise TimeoutError

    for kind in ("web_peer", "echo_peer", "resolve"):
        monkeypatch.setattr(client, kind, ask)
    line = checks._blocked("for a test")
    assert line.held and line.measured == "HTTP, UDP, DNS: timed out"
    assert "each time requests wait 2 s in vain" in " ".join(words for words, _ in checks.CHECKS)


def test_a_policy_that_the_lab_cannot_show(tmp_path: Path) -> None:
    """It is told at once, and nothing is started."""
    policy = tmp_path / "policy.json"
    text = (ROOT / "policies" / "documents" / "privacy-router.json").read_text()
    lab = tmp_path / "lab"
    for change, said in (
        (("100.104.70.11", "100.104.70.12"), "internal_201 in namespace ct201 with 100.104.70.11"),
        (("vps.example.com", "vps.example.net"), "the server vps.example.com"),
        (('"privacy_router"', '"privacy_routr"'), "did you mean privacy_router?"),
    ):
        assert change[0] in text
        policy.write_text(text.replace(*change))
        done = subprocess.run(
            [*DEMO, "--policy", str(policy), "--directory", str(lab)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert said in done.stderr
    assert not lab.exists()


def test_a_demo_that_breaks_off_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reported: list[dict[str, Any]] = []

    def breaks(lab: Lab) -> Iterator[Line]:
        yield Line(5, "first", True, "seen")
        raise OSError(19, "No such device")

    checks = [*inside.CHECKS[:4], ("mesh and privacy containers", breaks)]
    nothing: Callable[[Lab], Iterator[Line]] = lambda lab: iter(())  # noqa: E731
    checks[:4] = [(words, nothing) for words, _ in checks[:4]]
    monkeypatch.setattr(inside, "CHECKS", checks)
    monkeypatch.setattr(inside, "report", lambda **message: reported.append(message))
    monkeypatch.setattr(inside, "build", lambda lab, report: None)
    monkeypatch.setattr(sys, "argv", ["inside", str(tmp_path), "policy.json", "0", "take-down"])
    with pytest.raises(OSError, match="No such device"):
        inside.main()
    line = Line(**reported[-1]["line"])
    assert line == Line(5, "mesh and privacy containers", False, "[Errno 19] No such device", broke_off=True)
