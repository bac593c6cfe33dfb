"""One run at a time: a lock on the state directory, which the kernel frees when the run ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host_agent.errors import Locked


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Raises Locked if another run holds the lock. Makes the state directory if there is none."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(
                f"another run of privacy-agent holds {state_dir / 'lock'}; try again when it is done"
            ) from None
        yield
    finally:
        os.close(descriptor)
