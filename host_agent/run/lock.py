"""One ``run`` per state directory, known to the other verbs: by a lock that the kernel frees when it ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from host_agent.errors import Locked
from host_agent.lock import held

RUNNING = "run.lock"


@dataclass(frozen=True)
class Running:
    """A ``run`` that is at work on a state directory."""

    pid: int
    policy: Path


def running(state_dir: Path) -> Running | None:
    with suppress(FileNotFoundError, ValueError, KeyError), open(state_dir / RUNNING) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            known = json.load(file)
            return Running(int(known["pid"]), Path(known["policy"]))
    return None


@contextmanager
def sole(state_dir: Path, policy: Path) -> Iterator[None]:
    """One ``run`` per state directory. Raises Locked. The file says which process it is and what it follows."""
    path = state_dir / RUNNING
    with held(path, f"privacy-agent run is running already; it holds {path}") as descriptor:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "policy": str(policy.absolute())}).encode())
        yield


def end_running(state_dir: Path, seconds: float = 30.0) -> bool:
    """End a ``run`` on this state directory and wait for it; whether there was one. Raises Locked if it stays."""
    found = running(state_dir)
    if found is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while running(state_dir) is not None:
        if time.monotonic() > deadline:
            raise Locked(f"privacy-agent run (process {found.pid}) does not end; end it, then try again")
        time.sleep(0.02)
    return True
