"""inotify(7) and signals as file descriptors that a greenlet can wait on.

Made by ctypes: the inotify packages import ``select.poll``, which eventlet takes out of ``select``.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from eventlet.hubs import trampoline

_CLOSE_WRITE, _MOVED_TO = 0x08, 0x80
_BUFFER = 65536


def directory_watch(path: Path) -> int:
    """A descriptor that gets readable when a file beside ``path``, or beside what it links to, has been written.

    The directories are watched because editors and configuration tools write a new file and rename it. A file is
    complete when it is closed after writing or moved to its name; a directory that is a link may be moved as well.
    Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    for directory in {path.parent, path.resolve().parent}:
        if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(directory), _CLOSE_WRITE | _MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(directory))
    return descriptor


def hangup_pipe() -> int:
    """A descriptor that gets readable at every SIGHUP.

    The interpreter itself writes to it: a handler in Python would run inside the hub, where nothing may block, and
    eventlet's ``os.write`` always might.
    """
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    return reading


def events(descriptor: int) -> Iterator[None]:
    """One item for all that has happened since the last one; waits in between."""
    while True:
        trampoline(descriptor, read=True)
        os.read(descriptor, _BUFFER)
        yield
