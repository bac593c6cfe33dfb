"""``apply --confirm``: the former state comes back, as one, unless the operator confirms the new one in time.

A process of its own, detached from the operator's terminal and from the agent, waits for the deadline; it needs
nothing but the file with the former state. ``run`` repairs nothing meanwhile, and takes over if that process is
gone. A boot needs nothing undone: what it puts in force is the last good policy, and an unconfirmed one is not that.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from host_agent import last_good
from host_agent.apply import apply
from host_agent.confirm import file as confirm_file
from host_agent.confirm.file import Pending
from host_agent.drivers import files, ipset
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError, Conflict, Locked
from host_agent.facts import names
from host_agent.facts.values import Facts
from host_agent.lock import locked
from host_agent.prefixes import Prefixes
from host_agent.run.lock import running
from host_agent.run.log import Log
from host_agent.state import File, HostState, IpSet, log_path
from host_agent.steps import Step
from policies.document import read_text
from policies.errors import DocumentError
from policies.words import counted

ATTEMPTS, BETWEEN = 10, 3.0  # to restore, seconds between them
LOCKED = 0.2  # seconds until the next look whether the lock is free
GRACE = 5.0  # seconds after the deadline until ``run`` takes the watchdog for gone


def refuse_while_waiting(state_dir: Path) -> None:
    """Raises Conflict: what is done now would be undone with the change that waits."""
    if words := confirm_file.words(state_dir):
        raise Conflict(words)


def was_undone(policy: Path, state_dir: Path) -> bool:
    """Whether the document that this file holds was applied, and undone because nobody confirmed it."""
    with suppress(DocumentError):
        return last_good.digest(read_text(policy)) == confirm_file.refused(state_dir) and not confirm_file.words(
            state_dir
        )
    return False


def begin(
    policy: Path,
    documents: last_good.Documents,
    seconds: float,
    found: HostState,
    facts: Facts,
    namespaces: Namespaces,
    state_dir: Path,
) -> None:
    """Keep what was found and start the watchdog. From here on the former state comes back, whatever happens.

    Raises Conflict, before anything is kept, if a stranger's object is in the way.
    """
    if found.strangers:
        raise Conflict(*sorted(map(str, found.strangers)))
    former = with_entries(confirm_file.restorable(found, state_dir), namespaces)
    pending = Pending(
        secrets.token_hex(8),
        confirm_file.boot_id(),
        confirm_file.clock() + seconds,
        str(policy.absolute()),
        dict(documents),
        former,
        dict(facts.namespaces),
        dict(facts.answers),
    )
    confirm_file.write(state_dir, pending, last_good.digest(pending.text))
    log = os.open(_log(state_dir), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(log, "wb") as stream:
        subprocess.Popen(
            [sys.executable, "-m", "host_agent.confirm.restore", str(state_dir)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            cwd="/",
        )


def with_entries(found: HostState, namespaces: Namespaces) -> HostState:
    """With the entries of the sets, of which a reading has no more than a digest."""
    whole = {}
    for name, state in found.namespaces.items():
        with namespaces.inside(name):
            sets = frozenset(
                IpSet(it.name, it.family, Prefixes(it.family, b"".join(ipset.entries(it.name, it.family))))
                for it in state.sets
            )
        whole[name] = replace(state, sets=sets)
    return replace(found, namespaces=whole)


def confirm(state_dir: Path) -> str:
    """What waits becomes the last good policy, and that of a ``run`` that is at work. Returns words for the operator.

    Raises Conflict if nothing waits.
    """
    with locked(state_dir):
        pending = confirm_file.read(state_dir)
        if pending is None or pending.boot != confirm_file.boot_id():
            raise Conflict("nothing waits for a confirmation; if it was too late, the former state is back in force")
        words = _make_lasting(pending, state_dir)
        confirm_file.forget_refusal(state_dir)
        confirm_file.forget(state_dir)  # last: from now on ``run`` goes by what was written above
        return words


def _make_lasting(pending: Pending, state_dir: Path) -> str:
    policy, follower = Path(pending.policy), running(state_dir)
    names.keep(state_dir, pending.answers)
    last_good.keep(state_dir, pending.documents)
    if follower is None or follower.policy == policy:
        return f"confirmed: {policy} stays in force"
    kept = follower.policy.with_name(f"{follower.policy.name}.before-confirm")
    former = follower.policy.read_bytes() if follower.policy.exists() else b""
    files.write(File(str(kept), former))
    files.write(File(str(follower.policy), pending.text.encode()))
    return f"confirmed: {policy} stays in force, and is now {follower.policy}; what that held is in {kept}"


def cancel(state_dir: Path) -> None:
    """Nothing is to come back: the operator stops everything."""
    confirm_file.forget(state_dir)
    confirm_file.forget_refusal(state_dir)


def restore(state_dir: Path, token: str, say: Callable[[str], None]) -> bool:
    """Put the former state in force if this change still waits; whether it did. Raises Locked, and as ``apply``."""

    def done(step: Step, milliseconds: float) -> None:
        say(f"{milliseconds:.1f} ms {step}")

    with locked(state_dir):
        pending = confirm_file.read(state_dir)
        if pending is None or pending.token != token:
            return False
        with Namespaces(pending.paths) as namespaces:
            count = apply(pending.former, namespaces, state_dir, done)
        confirm_file.forget(state_dir)
        say(f"not confirmed in time: the former state is in force again, {counted(count, 'step')}")
        return True


def watchdog(state_dir: Path, say: Callable[[str], None]) -> int:
    """Wait for the deadline, then restore; end at once when the change was confirmed or replaced."""
    pending = confirm_file.read(state_dir)
    if pending is None:
        return 0
    while (left := pending.deadline - confirm_file.clock()) > 0:
        time.sleep(min(left, 0.5))
        if not confirm_file.waits(state_dir):
            return 0
    for _ in range(ATTEMPTS):
        try:
            _restore_when_free(state_dir, pending.token, say)
            return 0
        except (AgentError, OSError) as error:
            say(f"the former state could not be restored: {error}")
            time.sleep(BETWEEN)
    return 1


def _restore_when_free(state_dir: Path, token: str, say: Callable[[str], None]) -> None:
    """However long another run holds the lock: it may be the very apply that is to be undone, on a slow machine."""
    while True:
        try:
            restore(state_dir, token, say)
            return
        except Locked:
            time.sleep(LOCKED)


def take_over(state_dir: Path, log: Log) -> bool:
    """For ``run``, while a change waits: whether it has just been undone, because nobody else did. Raises nothing."""
    pending = confirm_file.read(state_dir)
    if pending is None or pending.boot != confirm_file.boot_id():
        log("warning", "unconfirmed", "a change that was never confirmed ended with the last boot")
        confirm_file.forget(state_dir)
        return True
    if confirm_file.clock() < pending.deadline + GRACE:
        return False
    try:
        return restore(state_dir, pending.token, lambda words: log("warning", "unconfirmed", words))
    except (AgentError, OSError) as error:
        log("error", "unconfirmed", f"the former state could not be restored: {error}")
        time.sleep(BETWEEN)
        return False


def _log(state_dir: Path) -> Path:
    path = log_path(state_dir, "confirm")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def _say(words: str) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S"), words, flush=True)


if __name__ == "__main__":
    sys.exit(watchdog(Path(sys.argv[1]), _say))
