"""See by inotify(7) that files beside a path were written, renamed or removed. Made by ctypes: it needs two calls."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x08, 0x40, 0x80, 0x100, 0x200


def watch(directories: Iterable[Path]) -> int:
    """A descriptor that gets readable when a file in one of the directories comes, goes, or has been written.

    Directories are watched because editors and configuration tools write a new file and rename it. One that is not
    there is passed over. Raises OSError if the kernel gives no more watches.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    mask = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE
    for directory in sorted({path for path in directories if path.is_dir()}):
        if libc.inotify_add_watch(descriptor, os.fsencode(directory), mask) < 0:
            error = ctypes.get_errno()
            os.close(descriptor)
            raise OSError(error, os.strerror(error), str(directory))
    return descriptor


def drain(descriptor: int) -> None:
    with suppress(BlockingIOError):
        while os.read(descriptor, 65536):
            pass
