"""Modules of the kernel."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from host_agent.drivers.command import run
from host_agent.errors import CommandFailed


def kernel_has(name: str) -> bool:
    """Whether the kernel has the module; it is loaded if there is one."""
    place = Path("/sys/module", name)
    if not place.exists():
        with suppress(CommandFailed):
            run(["modprobe", "--quiet", name])
    return place.exists()
