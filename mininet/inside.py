"""The first process of the demo's sandbox: builds the lab, makes the checks, reports each line as JSON on stdout."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import traces
from checks import CHECKS
from door import keep_open
from lab import Lab
from line import Line


def report(**message: Any) -> None:
    print(json.dumps(message), flush=True)


def build(lab: Lab, report: Callable[..., None] = report) -> None:
    """Everything, in the order in which an operator would do it."""
    steps: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("surroundings: ISP, WARP endpoint, VPS, web, containers (Mininet)", lab.build_surroundings),
        ("controller: ryu-manager ryu_apps.privacy_router", lab.start_controller),
        ("host agent: privacy-agent apply", lambda: lab.agent("apply")),
        ("VPS: Xray server with the agent's configuration", lab.start_vps),
        ("client device: WireGuard with the agent's profile", lab.start_client),
        ("vector_db service in container 200", lab.start_mesh_service),
    )
    for words, step in steps:
        report(progress=words)
        step()


def check(lab: Lab, report: Callable[..., None] = report) -> None:
    for words, checks in CHECKS:
        report(progress=words)
        for line in checks(lab):
            report(line=asdict(line))


def take_down(lab: Lab, report: Callable[..., None] = report) -> None:
    """Line 9, inside: the agent's ``stop`` removes all it made; what is left then is the lab's own, and goes too."""
    report(progress="taking everything down")
    lab.stop_product()
    left = traces.left_behind(lab.before_product, traces.snapshot())
    report(line=asdict(Line(9, "Node: privacy-agent stop leaves nothing", not left, traces.in_words(left))))
    lab.take_down()


class Stage:
    """Where the demo is: what was reported last, and the number of the line that it is on the way to."""

    def __init__(self) -> None:
        self.number, self.words = 1, "starting"

    def report(self, **message: Any) -> None:
        if "progress" in message:
            self.words = message["progress"]
            numbers = {words: number for number, (words, _) in enumerate(CHECKS, start=1)}
            self.number = numbers.get(self.words, self.number)
        report(**message)

    def broke_off(self, error: Exception) -> Line:
        said = " ".join(str(error).split()) or type(error).__name__
        return Line(self.number, self.words, False, said, broke_off=True)


def main() -> None:
    directory, policy, door, end = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    lab, stage = Lab(directory, policy), Stage()
    try:
        build(lab, stage.report)
        check(lab, stage.report)
        if end == "take-down":
            stage.number = 9
            take_down(lab, stage.report)
            report(end="down")
    except Exception as error:
        report(line=asdict(stage.broke_off(error)))
        raise
    if end == "keep":
        report(end="kept")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        keep_open(socket.socket(fileno=door), 8080)


if __name__ == "__main__":
    main()
