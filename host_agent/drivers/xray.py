"""Which proxy program is installed: Xray or v2ray, in one of two versions with other command lines."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from host_agent.drivers.command import run
from host_agent.errors import CommandFailed, Missing
from host_agent.facts.values import XrayProgram

ASK_TIME = 5.0  # seconds a program has to say its version


def program() -> XrayProgram | None:
    """The installed Xray or, where there is none, v2ray."""
    xray, v2ray = shutil.which("xray"), shutil.which("v2ray")
    if xray:
        return XrayProgram(xray, "xray")
    if v2ray is None:
        return None
    # Version 4 starts a server for "version", which it does not know; version 5 refuses "-version".
    with suppress(CommandFailed):
        if run([v2ray, "-version"], timeout=ASK_TIME).startswith("V2Ray 4."):
            return XrayProgram(v2ray, "v2ray 4")
    return XrayProgram(v2ray, "v2ray 5")


def command(config: Path) -> list[str]:
    """The argument list that runs Xray with a configuration file. Raises Missing."""
    installed = program()
    if installed is None:
        raise Missing("xray or v2ray: neither is installed; apt install v2ray")
    return list(installed.argv(str(config)))
