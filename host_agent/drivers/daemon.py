"""Long-running processes: started detached, found again by what /proc says of them, never by a remembered number."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from host_agent.drivers import files, ports
from host_agent.errors import AgentError
from host_agent.state import LOGS, Daemon, File

MARK = "PRIVACY_ROUTER_DAEMON"  # an environment variable: its value is the daemon's name
LOG_LIMIT, LOG_KEPT = 1 << 20, 1 << 18  # bytes
END_TIME = 5.0  # seconds a process has to end before it is killed
LISTEN_TIME = 20.0  # seconds a process has to open its port


@dataclass(frozen=True)
class Process:
    pid: int
    name: str
    argv: tuple[str, ...]
    namespace_inode: int
    replaced: bool  # its program file is no longer the installed one


def processes() -> tuple[Process, ...]:
    """Our processes, by the mark in their environment. Ended ones and other users' have none.

    Those of a container or a lab, which has process ids of its own, belong to the agent in there.
    """
    found = []
    home = os.stat("/proc/self/ns/pid").st_ino
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                environment = (entry / "environ").read_bytes()
                if MARK.encode() in environment and os.stat(entry / "ns" / "pid").st_ino == home:
                    found.append(_process(entry, environment))
    return tuple(sorted((process for process in found if process), key=lambda process: process.pid))


def _process(entry: Path, environment: bytes) -> Process | None:
    variables = dict(item.split(b"=", 1) for item in environment.split(b"\0") if b"=" in item)
    name = variables.get(MARK.encode())
    argv = tuple((entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1])
    if name is None or not argv:
        return None
    replaced = os.readlink(entry / "exe").endswith(" (deleted)")
    return Process(int(entry.name), name.decode(), argv, os.stat(entry / "ns" / "net").st_ino, replaced)


def start(daemon: Daemon) -> subprocess.Popen[bytes]:
    """Start the program in the network namespace the caller is in, in a session of its own. Raises AgentError."""
    log = Path(daemon.log)
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    program = shutil.which(daemon.argv[0])
    if program is None:
        raise AgentError(f"{daemon.argv[0]} is not installed")
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        return subprocess.Popen(
            daemon.argv,
            executable=program,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), MARK: daemon.name},
        )


def marked(name: str) -> str:
    """The mark as a shell's assignment."""
    return f"{MARK}={name}"


def shorten_logs(state_dir: Path) -> None:
    """A log that has grown too large begins anew; its last part stays beside it. Programs append, so they go on."""
    for path in (state_dir / LOGS).glob("*.log"):
        with path.open("r+b") as log:
            if log.seek(0, os.SEEK_END) > LOG_LIMIT:
                log.seek(-LOG_KEPT, os.SEEK_END)
                files.write(File(f"{path}.1", log.read()))
                log.truncate(0)


def wait_until(
    words: str, daemon: Daemon, running: subprocess.Popen[bytes], ready: Callable[[], bool], seconds: float
) -> None:
    """Until the process is ready. Raises AgentError, naming the log, if it does not come to that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if running.poll() is not None:
            raise AgentError(f"{daemon.name} ended at once; its log: {daemon.log}")
        if ready():
            return
        time.sleep(0.005)
    raise AgentError(f"{daemon.name} did not {words} in {seconds:.0f} s; its log: {daemon.log}")


def wait_for_port(daemon: Daemon, running: subprocess.Popen[bytes], port: int) -> None:
    """Until the process listens on the TCP port. Raises as ``wait_until``."""
    wait_until(f"listen on port {port}", daemon, running, lambda: port in ports.listening(running.pid), LISTEN_TIME)


def stop(name: str) -> bool:
    """End all our processes of this name; whether there was one. Raises AgentError if one does not end."""
    ending = [process.pid for process in processes() if process.name == name]
    for pid in ending:
        if not any(_ends(pid, how) for how in (signal.SIGTERM, signal.SIGKILL)):
            raise AgentError(f"{name} does not end, not even when killed")
    return bool(ending)


def _ends(pid: int, how: signal.Signals) -> bool:
    """Whether the process ends by this signal."""
    with suppress(ProcessLookupError), open(os.pidfd_open(pid), "rb", buffering=0) as process:
        signal.pidfd_send_signal(process.fileno(), how)
        return bool(select.select([process], [], [], END_TIME)[0])
    return True
