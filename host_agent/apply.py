"""Carry a plan out, then read again: only an empty second plan is success."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from host_agent import actual, former_settings
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError, Conflict, NotConverged
from host_agent.plan import plan
from host_agent.state import HostState, Sysctl
from host_agent.steps import Machine, SetSysctl, Step

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
        carry_out(steps, namespaces, state_dir, done)
        count += len(steps)
        if not steps:
            return count
        found = actual.read_again(wanted, found, steps, namespaces)
    remaining = plan(wanted, found)
    if remaining:
        raise NotConverged("after all steps the host still differs:", *map(str, remaining))
    return count


def carry_out(steps: Sequence[Step], namespaces: Namespaces, state_dir: Path, done: Progress) -> None:
    """Raises NotConverged with the words of the step that failed and what went wrong."""
    _remember(steps, namespaces, state_dir)
    machine = Machine(namespaces, state_dir)
    for step in steps:
        begin = time.perf_counter()
        try:
            step.carry_out(machine)
        except (AgentError, OSError) as error:
            raise NotConverged(
                f"{step}: {error}", "what was done before stays; the next apply goes on from there"
            ) from error
        done(step, (time.perf_counter() - begin) * 1e3)


def _remember(steps: Iterable[Step], namespaces: Namespaces, state_dir: Path) -> None:
    """What containers of others are to get back."""
    settings: dict[str, list[Sysctl]] = {}
    for step in steps:
        if isinstance(step, SetSysctl):
            settings.setdefault(step.namespace, []).append(step.sysctl)
    try:
        former_settings.remember(state_dir, namespaces, settings)
    except OSError as error:
        raise NotConverged(f"the containers' own settings cannot be remembered: {error}; nothing was done") from error
