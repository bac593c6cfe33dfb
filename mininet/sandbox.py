"""A sandbox for labs: its own process, mount and network namespaces, so that nothing of the machine is touched.

All that runs inside dies with its first process, also after SIGKILL, and with the last process go the namespaces,
devices, rules and mounts. Inside, ``/run`` is empty and private: network namespaces by name, WireGuard sockets and
the Open vSwitch instance of the machine are neither seen nor disturbed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--net", "--uts")


def sandboxed(command: Sequence[str]) -> list[str]:
    """The argument list that runs ``command`` as the first process of a new sandbox (unshare(1))."""
    return [*UNSHARE, *command]


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """The argument list of a command that is killed as soon as whoever started it is gone (setpriv(1))."""
    return ["setpriv", "--pdeathsig", "KILL", *command]


def furnish(lab: Path, hosts: Mapping[str, str]) -> None:
    """Make the new sandbox habitable: private /run and /sys, loopback up, names of the lab in /etc/hosts.

    ``hosts`` maps host names to addresses. Must run inside the sandbox; raises CalledProcessError outside one
    that may not mount.
    """
    for command in (
        ["mount", "-t", "tmpfs", "-o", "mode=755", "lab", "/run"],
        ["mount", "-t", "sysfs", "lab", "/sys"],
        ["ip", "link", "set", "lo", "up"],
        ["hostname", "lab"],
    ):
        subprocess.run(command, check=True)
    for directory in ("netns", "wireguard", "openvswitch", "lock"):
        Path("/run", directory).mkdir()
    names = {"localhost": "127.0.0.1", "lab": "127.0.0.1", **hosts}
    _put_over("/etc/hosts", lab / "hosts", "".join(f"{address} {name}\n" for name, address in names.items()))
    # No name server: what is not in the file above fails at once instead of leaving the lab.
    _put_over("/etc/resolv.conf", lab / "resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")


def _put_over(target: str, source: Path, text: str) -> None:
    source.write_text(text)
    if os.path.exists(target):
        subprocess.run(["mount", "--bind", str(source), os.path.realpath(target)], check=True)
