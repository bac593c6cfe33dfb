"""Kernel settings of the network namespace the caller is in, below /proc/sys."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from host_agent.state import Sysctl

ROOT = Path("/proc/sys")


def read(keys: Iterable[str]) -> frozenset[Sysctl]:
    """The values of those keys that exist (a link's own keys come and go with it)."""
    found = set()
    for key in keys:
        with suppress(FileNotFoundError):
            found.add(Sysctl(key, (ROOT / key).read_text().strip()))
    return frozenset(found)


def write(sysctl: Sysctl) -> None:
    """Does nothing for a link that is gone: what is still wanted then shows as a difference."""
    with suppress(FileNotFoundError):
        (ROOT / sysctl.key).write_text(sysctl.value)
