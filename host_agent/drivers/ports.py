"""Which transport ports are taken in a network namespace, from proc(5)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

LISTEN = "0A"  # TCP_LISTEN


def listening(pid: int | str = "thread-self") -> set[int]:
    """TCP ports that somebody listens on in the process's network namespace, or the caller's."""
    return {port for port, state in _table(f"/proc/{pid}/net", "tcp") if state == LISTEN}


def bound() -> set[int]:
    """UDP ports that somebody has in the caller's network namespace."""
    return {port for port, _ in _table("/proc/thread-self/net", "udp")}


def _table(directory: str, protocol: str) -> list[tuple[int, str]]:
    found = []
    for name in (protocol, f"{protocol}6"):
        with suppress(OSError):
            for line in Path(directory, name).read_text().splitlines()[1:]:
                _, local, _, state = line.split()[:4]
                found.append((int(local.rpartition(":")[2], 16), state))
    return found
