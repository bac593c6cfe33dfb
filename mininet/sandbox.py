"""A sandbox for labs and tests: namespaces of its own, of every kind, so that nothing of the machine is touched.

All that runs inside dies with its first process, also after SIGKILL, and with the last process go the network
namespaces, devices, rules and mounts. Once furnished, it has an empty ``/run`` of its own: network namespaces by name,
WireGuard sockets and the Open vSwitch instance of the machine are neither seen nor disturbed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from namespace import entered
from processes import LabError, only_child

UNSHARE = ("unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--mount", "--uts", "--ipc", "--cgroup")
FURNISH = """
set -e
mount -t tmpfs -o mode=755 sandbox /run
mount -t sysfs sandbox /sys
mkdir /run/netns /run/wireguard /run/openvswitch /run/lock
ip link set lo up
"""


def sandboxed(command: Sequence[str], network: str = "") -> list[str]:
    """The argument list that runs ``command`` as the first process of a new sandbox (unshare(1)).

    ``network``: the path of a network namespace to be in, for want of a new one.
    """
    made = ["nsenter", f"--net={network}", *UNSHARE] if network else [*UNSHARE, "--net"]
    return [*made, *command]


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """The argument list of a command that is killed as soon as whoever started it is gone (setpriv(1))."""
    return ["setpriv", "--pdeathsig", "KILL", *command]


class Sandbox:
    """A sandbox that stays open for commands to enter (nsenter(1)), until it is closed or its maker dies.

    It is furnished, then by ``script`` for sh(1), with ``arguments`` as $1, $2, ... Raises LabError if that fails.
    """

    def __init__(self, script: str = "", *arguments: str | Path, network: str = "") -> None:
        self.environment = dict(os.environ)
        held = f"{FURNISH}{script}\necho ready\nexec sleep infinity"
        self._outer = subprocess.Popen(
            dying_with_parent(sandboxed(["sh", "-c", held, "sandbox", *map(str, arguments)], network)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._outer.stdout is not None
        if self._outer.stdout.readline() != "ready\n":
            self.close()
            raise LabError("the sandbox could not be furnished; what its script said is on standard error")
        self.first = only_child(self._outer.pid)
        self.enter = ["nsenter", "--target", str(self.first), "--all", "--"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._outer.kill()
        self._outer.communicate()

    def network(self) -> AbstractContextManager[None]:
        """This thread is in its network namespace: sockets that it makes stay there."""
        return entered(f"/proc/{self.first}/ns/net")

    def attempt(self, *command: str | Path, input: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.enter, *map(str, command)],
            env=self.environment,
            input=input,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def run(self, *command: str | Path, input: str | None = None) -> str:
        """Its output. Raises LabError when the exit code is not 0."""
        done = self.attempt(*command, input=input)
        if done.returncode:
            raise LabError(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def start(
        self, *command: str | Path, log: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (log or Path(os.devnull)).open("ab") as output:
            return subprocess.Popen(
                [*self.enter, *map(str, command)],
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )


def furnish(lab: Path, hosts: Mapping[str, str]) -> None:
    """Make the new sandbox habitable: private /run and /sys, loopback up, names of the lab in /etc/hosts.

    ``hosts`` maps host names to addresses. Must run inside the sandbox; raises CalledProcessError outside one
    that may not mount.
    """
    subprocess.run(["sh", "-c", f"{FURNISH}hostname lab"], check=True)
    names = {"localhost": "127.0.0.1", "lab": "127.0.0.1", **hosts}
    _put_over("/etc/hosts", lab / "hosts", "".join(f"{address} {name}\n" for name, address in names.items()))
    # No name server: what is not in the file above fails at once instead of leaving the lab.
    _put_over("/etc/resolv.conf", lab / "resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")


def _put_over(target: str, source: Path, text: str) -> None:
    source.write_text(text)
    if os.path.exists(target):
        subprocess.run(["mount", "--bind", str(source), os.path.realpath(target)], check=True)
