"""One round of ``run``: read, compare, put right, and say of each repair what had changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from host_agent import actual
from host_agent.apply import carry_out
from host_agent.drivers import ovs
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import Missing
from host_agent.lock import locked
from host_agent.plan import plan
from host_agent.run.backoff import LIMIT, WINDOW, Ledger
from host_agent.run.fingerprint import routing_part
from host_agent.run.log import Log
from host_agent.state import HostState, NamespaceState
from host_agent.steps import Step

PATIENCE = 1.0  # seconds ovs-vswitchd has to answer: meanwhile nothing is repaired


@dataclass(frozen=True)
class Round:
    steps: int  # that were taken; if any, another round must show that they did all
    held: tuple[str, ...]  # that were not, because others fight over what they are about
    strangers: tuple[str, ...]
    silent: tuple[str, ...]  # why nothing is done about the switch, if so
    next_try: float | None  # when the first of those may be taken; monotonic


class Reconciler:
    """Remembers how often it repaired what."""

    def __init__(self, state_dir: Path, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._state_dir, self._log, self._clock = state_dir, log, clock
        self._ledger = Ledger()

    def put_in_force(self, wanted: HostState, namespaces: Namespaces) -> Round:
        """Make the machine as a new policy says; its steps are no repairs. Raises NotConverged, Locked."""
        with locked(self._state_dir):
            found, silent = _read(wanted, namespaces)
            done = self._make(wanted, found, namespaces, lambda step: True, self._applied)
            return replace(done, silent=silent)

    def repair(self, wanted: HostState, namespaces: Namespaces, since: float) -> Round:
        """Put right what differs, as often as a fight allows; ``since`` is when it was noticed. Raises as above."""
        with locked(self._state_dir):
            found, silent = _read(wanted, namespaces)
            return replace(self._repair(wanted, found, namespaces, since), silent=silent)

    def repair_routing(
        self, wanted: HostState, found: Mapping[str, NamespaceState], namespaces: Namespaces, since: float
    ) -> None:
        """Put back ip rules and routes at once: nothing else has to be read to know what they should be."""
        pairs = {
            name: routing_part(wanted.namespaces[name], state)
            for name, state in found.items()
            if name in wanted.namespaces
        }
        wish = HostState(namespaces={name: pair[0] for name, pair in pairs.items()})
        there = HostState(namespaces={name: pair[1] for name, pair in pairs.items()})
        if plan(wish, there):
            with locked(self._state_dir):
                self._repair(wish, there, namespaces, since)

    def _repair(self, wanted: HostState, found: HostState, namespaces: Namespaces, since: float) -> Round:
        def repaired(found: HostState, step: Step, milliseconds: float) -> None:
            self._repaired(step, found, since)

        return self._make(wanted, found, namespaces, self._admits, repaired)

    def _make(
        self,
        wanted: HostState,
        found: HostState,
        namespaces: Namespaces,
        admits: Callable[[Step], bool],
        done: Callable[[HostState, Step, float], None],
    ) -> Round:
        steps = plan(wanted, found)
        admitted = [step for step in steps if admits(step)]
        carry_out(admitted, namespaces, self._state_dir, partial(done, found))
        held = [step for step in steps if step not in admitted]
        moments = [self._ledger.next_moment(name) for step in held for name in step.objects]
        strangers = tuple(sorted(map(str, found.strangers)))
        return Round(len(admitted), tuple(map(str, held)), strangers, (), min(moments, default=None))

    def _admits(self, step: Step) -> bool:
        """A step over several objects is taken if one of them may be repaired."""
        now = self._clock()
        return any(self._ledger.admits(name, now) for name in step.objects)

    def _applied(self, found: HostState, step: Step, milliseconds: float) -> None:
        self._log("info", "apply", f"{milliseconds:.1f} ms {step}", step=str(step), ms=round(milliseconds, 1))

    def _repaired(self, step: Step, found: HostState, since: float) -> None:
        now = self._clock()
        milliseconds = (now - since) * 1e3
        fights = [name for name in step.objects if self._ledger.in_fight(name)]
        for name in step.objects:
            self._ledger = self._ledger.repaired(name, now)
        words = step.was(found)
        self._log(
            "warning" if fights else "info",
            "repair",
            f"{words}; {step}; {milliseconds:.0f} ms",
            found=words,
            step=str(step),
            ms=round(milliseconds, 1),
        )
        for name in step.objects:
            if self._ledger.in_fight(name):
                pause = self._ledger.next_moment(name) - now
                often = "again" if name in fights else f"{LIMIT} times within {WINDOW:.0f} s"
                self._log(
                    "error",
                    "fight",
                    f"{name}: had to be repaired {often}; another program keeps changing it. It is not repaired for "
                    f"{pause:.0f} s now. Find that program and stop it: privacy-agent doctor",
                    object=name,
                    seconds=round(pause, 1),
                )


def _read(wanted: HostState, namespaces: Namespaces) -> tuple[HostState, tuple[str, ...]]:
    """With a switch that does not answer taken for right: what else is wrong is put right all the same. And why so."""
    silent: tuple[str, ...] = ()

    def read_switch() -> ovs.Reading:
        nonlocal silent
        try:
            return ovs.read(PATIENCE)
        except Missing as error:
            silent = error.problems
            return ovs.Reading(wanted.bridges, frozenset())

    found = actual.read(wanted, namespaces, read_switch)
    return (with_its_sockets(found, wanted) if silent else found), silent


def with_its_sockets(found: HostState, wanted: HostState) -> HostState:
    """With the sockets of a switch that has ended taken for right: nobody else can revive them. Pure."""
    states = {}
    for name, state in found.namespaces.items():
        wish = wanted.namespace(name)
        dead = {link.name for link in state.links if link.kind == "socket" and not link.alive}
        states[name] = replace(
            state,
            links=frozenset(
                {link for link in state.links if link.name not in dead} | {it for it in wish.links if it.name in dead}
            ),
            addresses=state.addresses | {it for it in wish.addresses if it.link in dead},
            routes=state.routes | {it for it in wish.routes if it.link in dead},
        )
    return replace(found, namespaces=states)
