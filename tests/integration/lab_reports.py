"""Run a lab program as the first process of a sandbox of its own, and take what it reports: a JSON object a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sandbox import dying_with_parent, sandboxed

ROOT = Path(__file__).resolve().parents[2]
PATHS = os.pathsep.join(str(ROOT / folder) for folder in ("", "mininet", "tests"))


def reports(
    program: str, directory: Path, *arguments: str, timeout: float, tools: str | None = None
) -> list[dict[str, Any]]:
    """``program`` is a path in this clone; ``directory`` its first argument; ``timeout`` in seconds; ``tools``: a
    folder whose programs go before those of the machine."""
    done = subprocess.run(
        dying_with_parent(sandboxed([sys.executable, str(ROOT / program), str(directory), *arguments])),
        env={**os.environ, "PYTHONPATH": PATHS, "PATH": os.pathsep.join(filter(None, (tools, os.environ["PATH"])))},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
