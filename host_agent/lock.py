"""Locks on files of the state directory, which the kernel frees when their holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host_agent.errors import Locked


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """One change of the machine at a time. Raises Locked if another run of the agent is at it."""
    path = state_dir / "lock"
    with held(path, f"another run of privacy-agent holds {path}; try again when it is done"):
        yield


@contextmanager
def held(path: Path, otherwise: str) -> Iterator[int]:
    """Holds the lock on a file, whose descriptor it gives; makes file and directory if there are none.

    Raises Locked, with these words, if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(otherwise) from None
        yield descriptor
    finally:
        os.close(descriptor)
