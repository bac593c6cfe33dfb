"""How another policy comes into force: one change at a time, judged in a thread of its own.

Reading and proving a large document takes seconds, in which switches want their echo requests answered and people their
pages. So it is done in one worker thread; what is in force changes in the hub's thread, between two greenlets' turns.
Whoever waits for its turn reads the file when its turn has come: the newest text wins.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from eventlet import tpool
from ryu.lib import hub

from policies.errors import DocumentError
from ryu_apps.events import event
from ryu_apps.policy import memory
from ryu_apps.policy.edit import replace_file
from ryu_apps.policy.file import CompiledPolicy, PolicyFile

LOG = logging.getLogger("privacy_router")

HANGUP = "SIGHUP"

T = TypeVar("T")


class PolicyChanges:
    """``wake`` is told the trigger when the switches have to be looked at."""

    def __init__(self, policy_file: PolicyFile, wake: Callable[[str], None]) -> None:
        self.policy_file = policy_file
        self.turn = hub.Semaphore(1)  # held from the first look at the file to the end of the change
        self._wake = wake
        tpool.set_num_threads(1)

    def follow(self, trigger: str) -> None:
        """Takes over what the files say now."""
        with self.turn:
            self._follow(trigger)

    def aside(self, work: Callable[..., T], *values: Any) -> T:
        """The work's result or exception; meanwhile others have their turns."""
        result: T = tpool.execute(work, *values)
        return result

    def put(self, compiled: CompiledPolicy, trigger: str) -> bool:
        """Writes a policy to the file and puts it in force; for the holder of the turn.

        False if somebody else wrote the file at the same moment: then that is in force. Raises OSError; then nothing
        was changed.
        """
        self.aside(replace_file, self.policy_file.path, compiled.text)
        self._follow(trigger, compiled)
        return self.policy_file.current.revision == compiled.revision

    def _follow(self, trigger: str, known: CompiledPolicy | None = None) -> None:
        policy_file, before, started = self.policy_file, self.policy_file.problems, time.monotonic()
        changed = False
        try:
            changed = policy_file.accept(self.aside(policy_file.newest, known))
        except DocumentError as error:
            policy_file.refuse(error)
        milliseconds = round((time.monotonic() - started) * 1000, 1)
        problems = policy_file.problems
        if problems and (problems != before or trigger == HANGUP):
            for problem in problems:
                LOG.error("%s", problem, extra=event("refused", trigger=trigger, problems=(problem,)))
            extra = event("refused", trigger=trigger, problems=problems, milliseconds=milliseconds)
            LOG.error("%s: refused, the last good version stays in force", policy_file.path, extra=extra)
        current = policy_file.current
        extra = event("policy", trigger=trigger, revision=current.revision, milliseconds=current.milliseconds)
        if changed:
            message = "%s: policy %s in force, read and proved in %.1f ms"
            LOG.info(message, trigger, current.revision[:8], current.milliseconds, extra=extra)
        elif before and not problems:
            message = "%s: %s is in order again; policy %s, which it holds, was in force all the time"
            LOG.info(message, trigger, policy_file.path, current.revision[:8], extra=extra)
        if changed or trigger == HANGUP:
            self._wake(trigger)
            self.aside(memory.give_back)
