"""Work inside a network namespace: sockets opened there stay there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def inside(name: str) -> AbstractContextManager[None]:
    """This thread works in the named namespace ("node": the sandbox's own). Raises OSError if there is none."""
    return entered("/proc/1/ns/net" if name == "node" else f"/run/netns/{name}")


@contextmanager
def entered(path: str) -> Iterator[None]:
    """The same of a namespace by its path."""
    there = os.open(path, os.O_RDONLY)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _set(there)
        yield
    finally:
        _set(home)
        os.close(there)
        os.close(home)


def _set(descriptor: int) -> None:
    # os.setns only exists from Python 3.12 on.
    if _LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
