"""Carry a plan out, then read again: only an empty second plan is success."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from host_agent import actual
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError, Conflict, NotConverged
from host_agent.plan import plan
from host_agent.state import HostState
from host_agent.steps import Machine, Step

ROUNDS = 2  # removing a stale address can take one of our routes with it; the second round puts it back
Progress = Callable[[Step, float], None]  # a step that was done, and the milliseconds it took


def apply(wanted: HostState, namespaces: Namespaces, state_dir: Path, done: Progress) -> int:
    """Make the host as wanted; returns the number of steps it took.

    Raises Conflict, before anything is touched, if a stranger's object is in the way, and NotConverged if a step
    fails or the host still differs in the end.
    """
    count = 0
    found = actual.read(wanted, namespaces)
    for _ in range(ROUNDS):
        if found.strangers:
            raise Conflict(*sorted(map(str, found.strangers)))
        steps = plan(wanted, found)
        for step in steps:
            carry_out(step, namespaces, state_dir, done)
        count += len(steps)
        if not steps:
            return count
        found = actual.read_again(wanted, found, steps, namespaces)
    remaining = plan(wanted, found)
    if remaining:
        raise NotConverged("after all steps the host still differs:", *map(str, remaining))
    return count


def carry_out(step: Step, namespaces: Namespaces, state_dir: Path, done: Progress) -> None:
    """One step. Raises NotConverged with the step's words and what went wrong."""
    begin = time.perf_counter()
    try:
        step.carry_out(Machine(namespaces, state_dir))
    except (AgentError, OSError) as error:
        raise NotConverged(
            f"{step}: {error}", "what was done before stays; the next apply goes on from there"
        ) from error
    done(step, (time.perf_counter() - begin) * 1e3)
