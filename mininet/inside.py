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
from processes import LabError


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


def check(lab: Lab) -> None:
    for words, checks in CHECKS:
        report(progress=words)
        for line in checks(lab):
            report(line=asdict(line))


def take_down(lab: Lab) -> None:
    """Line 9, inside: the agent's ``stop`` removes all it made; what is left then is the lab's own, and goes too."""
    report(progress="taking everything down")
    lab.stop_product()
    left = traces.left_behind(lab.before_product, traces.snapshot())
    report(line=asdict(Line(9, "Node: privacy-agent stop leaves nothing", not left, traces.in_words(left))))
    lab.take_down()


def main() -> None:
    directory, policy, door, end = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    lab = Lab(directory, policy)
    try:
        build(lab)
        check(lab)
        if end == "take-down":
            take_down(lab)
            report(end="down")
    except LabError as error:
        sys.exit(str(error))
    if end == "keep":
        report(end="kept")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        keep_open(socket.socket(fileno=door), 8080)


if __name__ == "__main__":
    main()
