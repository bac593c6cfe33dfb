"""Modules of the kernel."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

from host_agent.drivers.command import run
from host_agent.errors import CommandFailed


@cache
def kernel_has(name: str) -> bool:
    """Whether the kernel has the module; it is loaded if there is one. Asked once: a module that turns up later must
    not change the kind of a bridge or device that is in use."""
    place = Path("/sys/module", name)
    if not place.exists():
        with suppress(CommandFailed):
            run(["modprobe", "--quiet", name])
    return place.exists()
