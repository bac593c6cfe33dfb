"""Which transport ports are taken in a network namespace, and by whom, from proc(5)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

LISTEN = "0A"  # TCP_LISTEN


def listening(pid: int | str = "thread-self") -> set[int]:
    """TCP ports that somebody listens on in the process's network namespace, or the caller's."""
    return {port for port, state, _ in _table(pid, "tcp") if state == LISTEN}


def bound() -> set[int]:
    """UDP ports that somebody has in the caller's network namespace."""
    return {port for port, _, _ in _table("thread-self", "udp")}


def holder(port: int) -> str:
    """Who has a UDP port of the caller's network namespace, in words."""
    sockets = {f"socket:[{inode}]" for taken, _, inode in _table("thread-self", "udp") if taken == port}
    for process in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):  # it has ended meanwhile
            if any(_target(link) in sockets for link in Path("/proc", process, "fd").iterdir()):
                return f"{Path('/proc', process, 'comm').read_text().strip()} (pid {process})"
    return "no program here (a WireGuard device of the kernel? wg show)"


def _target(link: Path) -> str:
    with suppress(OSError):
        return os.readlink(link)
    return ""


def _table(pid: int | str, protocol: str) -> list[tuple[int, str, str]]:
    """Port, state and inode of each socket."""
    found = []
    for name in (protocol, f"{protocol}6"):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net", name).read_text().splitlines()[1:]:
                words = line.split()
                found.append((int(words[1].rpartition(":")[2], 16), words[3], words[9]))
    return found
