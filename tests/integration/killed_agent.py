"""Runs inside a node: kills ``privacy-agent apply`` before a step; then each verb looks at what is left.

    killed_agent.py every|samples STATE_DIR OPTION...

For each place a line of JSON: the step that never came, and [exit code, standard error] of each verb afterwards.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from host_agent import apply as engine
from host_agent import cli
from host_agent.apply import Progress
from host_agent.drivers.namespaces import Namespaces
from host_agent.steps import Step

carry_out = engine.carry_out
AFTERWARDS = ("status", "plan", "doctor", "apply", "status", "plan", "stop")


def killed_before(place: int, options: Sequence[str]) -> None:
    """In a process of its own."""

    def counted(steps: Sequence[Step], namespaces: Namespaces, state_dir: Path, done: Progress) -> None:
        assert place < len(steps), "it would be whole"
        carry_out(steps[:place], namespaces, state_dir, done)
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        engine.carry_out = counted
        said(["apply", *options])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it went on"


def said(words: list[str]) -> tuple[int, str]:
    errors = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        code = cli.main(words)
    return code, errors.getvalue()


def steps(options: Sequence[str]) -> list[Step]:
    """Of an apply, which is undone again, all but the files."""
    taken: list[Step] = []

    def noted(steps: Sequence[Step], *rest: object) -> None:
        taken.extend(steps)
        carry_out(steps, *rest)  # type: ignore[arg-type]

    engine.carry_out = noted
    assert said(["apply", *options]) == (0, "")
    engine.carry_out = carry_out
    said(["stop", *options])
    return taken


def samples(steps: Sequence[Step]) -> Iterator[int]:
    """Behind the first step of each kind."""
    kinds = [type(step) for step in steps]
    return (place for place, kind in enumerate(kinds[:-1], 1) if kind not in kinds[: place - 1])


def main(which: str, state_dir: str, *more: str) -> None:
    options = ("--state-dir", state_dir, *more)
    taken = steps(options)
    for place in range(len(taken)) if which == "every" else samples(taken):
        shutil.rmtree(state_dir)
        killed_before(place, options)
        after = [said([verb, *options]) for verb in AFTERWARDS]
        print(json.dumps({"before": str(taken[place]), "after": after}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
