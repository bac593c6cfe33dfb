"""Tell the service manager how things are: the datagrams of sd_notify(3), by hand."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress


def notify(environment: Mapping[str, str], *assignments: str) -> None:
    """Send ``READY=1``, ``STATUS=...``, ``WATCHDOG=1`` and the like; nothing if no service manager listens."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address  # "@" stands for the abstract namespace
    text = "\n".join(assignment.replace("\n", " ") for assignment in assignments)
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.sendto(text.encode(), name)


def reloading() -> tuple[str, str]:
    """What says that a reload has begun; the manager wants to know since when, and READY=1 at its end."""
    return ("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """How often WATCHDOG=1 has to be sent: half of the time the manager allows; None if it does not ask for it."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    with suppress(ValueError):
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
        return microseconds / 2e6 if microseconds > 0 else None
    return None
