"""Run one of the LAN router's lab programs in a sandbox of its own, and take its reports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import sandbox

ROOT = Path(__file__).resolve().parents[2]


def reports(program: str, directory: Path, *arguments: str, timeout: float) -> list[dict[str, Any]]:
    command = [sys.executable, str(ROOT / "mininet" / program), str(directory), *arguments]
    done = subprocess.run(
        sandbox.dying_with_parent(sandbox.sandboxed(command)),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
