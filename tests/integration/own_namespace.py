"""A network namespace without a name, for what a test does to a real kernel; it goes with the process that holds it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2 import netns

HOLDER = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo ready && exec sleep infinity"]


@contextmanager
def own_namespace() -> Iterator[None]:
    """This thread is in it."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    holder = subprocess.Popen(HOLDER, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
    netns.setns(f"/proc/{holder.pid}/ns/net")
    try:
        yield
    finally:
        netns.setns(home)
        os.close(home)
        holder.kill()
        holder.communicate()
