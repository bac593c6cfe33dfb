"""Start the lab's daemons, know their logs, wait for them, and say which log to read when one fails."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class LabError(Exception):
    """The lab could not be built or a check could not be made. The text names the log to read."""


def wait_for(condition: Callable[[], T], what: str, seconds: float = 20) -> T:
    """The condition's value as soon as it is true. Raises LabError when the time is over."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)
    return value


def only_child(pid: int) -> int:
    """The process that unshare(1) or nsenter(1) has forked, as soon as it has."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return int(wait_for(lambda: children.read_text().split(), f"child of process {pid}")[0])


class Processes:
    """The lab's long-running processes by name, each with its own log file in one directory."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, command: Sequence[str], namespace: str | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Start a daemon, in a named network namespace if one is given."""
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*prefix, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would do it."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def kill_all(self) -> None:
        for name in list(self._running):
            self.kill(name)

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def wait(self, name: str, ready: Callable[[], bool], timeout: float = 20.0) -> None:
        """Wait until ``ready`` holds. Raises LabError when the daemon ended or the time (seconds) is over."""
        deadline = time.monotonic() + timeout
        while not ready():
            process = self._running.get(name)
            if process is not None and process.poll() is not None:
                raise LabError(f"{name} ended with exit code {process.returncode}; read {self.log(name)}")
            if time.monotonic() > deadline:
                raise LabError(f"{name} was not ready within {timeout:.0f} s; read {self.log(name)}")
            time.sleep(0.02)

    def run(self, name: str, command: Sequence[str], timeout: float = 60.0) -> str:
        """Run a command to its end and return its output, which is kept in the log. Raises LabError if it fails."""
        result = subprocess.run(
            list(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
        with self.log(name).open("a") as log:
            log.write(f"$ {' '.join(command)}\n{result.stdout}{result.stderr}")
        if result.returncode != 0:
            raise LabError(
                f"{' '.join(command[:3])} failed with exit code {result.returncode}; read {self.log(name)}\n"
                f"{(result.stderr or result.stdout).strip()}"
            )
        return result.stdout
