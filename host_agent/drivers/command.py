"""Run a program and take its output: argument lists only, always with a time limit."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from host_agent.errors import CommandFailed

TIMEOUT = 20.0  # seconds


def run(argv: Sequence[str], stdin: str = "", timeout: float = TIMEOUT) -> str:
    """Standard output of the program. Raises CommandFailed with its standard error."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as slow:
        heard = slow.stderr or b""
        raise CommandFailed(argv, None, heard.decode(errors="replace") if isinstance(heard, bytes) else heard) from None
    except OSError as error:
        raise CommandFailed(argv, 127, str(error)) from error
    if done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stderr)
    return done.stdout
