"""Programs are ended for good: asked first, then killed, and the agent is back as soon as they are gone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from host_agent.drivers import daemon
from host_agent.errors import AgentError
from host_agent.state import NODE, Daemon


def program(tmp_path: Path, *argv: str) -> Daemon:
    return Daemon(f"test-{os.getpid()}", argv, NODE, str(tmp_path / "log"))


@pytest.mark.parametrize(
    ("argv", "signal", "seconds"),
    [(("sleep", "60"), -15, 30.0), (("env", "--ignore-signal=TERM", "sleep", "60"), -9, 1.0)],
)
def test_a_program_is_asked_to_end_and_then_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], signal: int, seconds: float
) -> None:
    monkeypatch.setattr(daemon, "END_TIME", seconds)
    mine = program(tmp_path, *argv)
    running = daemon.start(mine)
    daemon.wait_until("sleep", mine, running, lambda: Path(f"/proc/{running.pid}/comm").read_text() == "sleep\n", 5)
    begin = time.monotonic()
    assert daemon.stop(mine.name) and mine.name not in {it.name for it in daemon.processes()}
    assert (time.monotonic() - begin < seconds) is (signal == -15)
    assert running.wait() == signal and not daemon.stop(mine.name)


def test_a_program_that_never_gets_ready_is_told_with_its_log(tmp_path: Path) -> None:
    for argv, words in ((("sleep", "60"), "did not open in 0 s"), (("false",), "ended at once")):
        mine = program(tmp_path, *argv)
        with pytest.raises(AgentError, match=f"{words}; its log: {tmp_path}/log"):
            daemon.wait_until("open", mine, daemon.start(mine), lambda: False, 0.4 if argv[0] == "sleep" else 5)
        daemon.stop(mine.name)
