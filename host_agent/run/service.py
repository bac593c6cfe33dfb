"""``privacy-agent run``: put the policy in force, then keep it so until told to end. Ending removes nothing.

It is woken by what happens (kernel events, files, ends of processes, signals) and looks by itself now and then, for
what happens without a word. Waking costs a cheap reading; only if that differs is the whole state read and compared.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from host_agent import former_settings, last_good
from host_agent.confirm import file as confirm_file
from host_agent.confirm import restore as confirm
from host_agent.desired import desired
from host_agent.drivers import daemon
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError, Locked, NotConverged
from host_agent.facts import names, survey
from host_agent.facts.values import Facts
from host_agent.run.fingerprint import filtering, routing, switch, watched
from host_agent.run.health import Health, Thresholds
from host_agent.run.lock import sole
from host_agent.run.log import Log
from host_agent.run.names import Names
from host_agent.run.notify import notify, reloading, watchdog_seconds
from host_agent.run.policy import Places, PolicyFile, Source
from host_agent.run.probe import judged_tunnels, probes
from host_agent.run.ranges import Ranges
from host_agent.run.round import Reconciler, Round
from host_agent.run.turns import Turn, following
from host_agent.run.watch import Watch
from host_agent.state import HostState, NamespaceState
from host_agent.status.report import in_words
from policies.words import counted

PASSES = 4  # rounds in which a policy must be in force: what one step takes along with it, the next puts back


@dataclass(frozen=True)
class Timing:
    """Seconds."""

    look: float = 0.5  # between cheap readings: chains and sets say nothing when they change
    whole: float = 10.0  # between whole readings, each with every entry of one large set, in turn
    names: float = 60.0  # between questions to the name server
    busy: float = 0.1  # until the next try while another run holds the lock
    gap: float = 0.03  # from one round to the next, at least
    pause: float = 1.0  # after a round that failed, doubled up to ...
    longest_pause: float = 30.0
    health: float = 2.0  # between looks at tunnels
    tunnels: Thresholds = field(default_factory=Thresholds)


def run(places: Places, log: Log, timing: Timing | None = None) -> int:
    """Until SIGTERM or SIGINT. Raises DocumentError if the first policy is invalid and there is no last good one."""
    files = [it for it in (places.policy, places.topology) if it]
    directories = {it for file in files for it in (file.absolute().parent, file.resolve().parent)}
    with sole(places.state_dir, places.policy), Watch({*directories, places.config_dir, Path("/run/netns")}) as watch:
        return Keeper(places, log, watch, timing or Timing()).run()


class Keeper:
    """Keeps one machine as its policy says. One thread, which ``watch`` wakes."""

    def __init__(self, places: Places, log: Log, watch: Watch, timing: Timing) -> None:
        self._places, self._log, self._watch, self._timing = places, log, watch, timing
        self._reconciler = Reconciler(places.state_dir, log)
        self._names = Names(names.resolve, names.kept(places.state_dir), watch.wake)
        self._countries = Ranges(watch.wake)
        self._health = Health(places.state_dir, log, timing.tunnels)
        self._namespaces = Namespaces({})
        self._file = PolicyFile(places, log)
        self._wanted = HostState()
        self._facts: Facts | None = None
        self._seen_routing: Mapping[str, NamespaceState] = {}
        self._seen_rest: tuple[Mapping[str, int], int] = ({}, 0)
        self._turn: Turn | None = None  # the large set that was doubted last
        self._inodes: dict[str, int] = {}
        self._programs: list[int] = []  # process ids of ours
        self._unsettled = True  # a new policy or new facts are not in force yet
        self._said: tuple[str, ...] = ()  # complaints that the log has already
        self._retry: float | None = None  # when to look again, whatever happens
        self._pause = timing.pause
        self._passes = 0  # rounds that the policy to be put in force has had
        self._ready = False
        self._suspended = False  # a change waits for its operator

    @property
    def _source(self) -> Source | None:
        return self._file.source

    def run(self) -> int:
        now = time.monotonic()
        look = whole = asked = alive = health = now
        beat = watchdog_seconds(os.environ, os.getpid())
        while True:
            moments = [look, asked, health, *([self._retry] if self._retry else []), *([alive] if beat else [])]
            causes = self._watch.wait(min(moments) - time.monotonic())
            now = time.monotonic()
            told = self._watch.signals
            self._watch.signals = set()
            if told & {signal.SIGTERM, signal.SIGINT}:
                notify(os.environ, "STOPPING=1")
                self._log("info", "end", "ended; everything stays in force")
                return 0
            if beat and now >= alive:
                notify(os.environ, "WATCHDOG=1")
                alive = now + beat
            if now >= asked:
                self._names.refresh()
                self._countries.refresh()
                asked = now + self._timing.names
            if confirm_file.waits(self._places.state_dir):
                self._while_unconfirmed()
                look = health = now + self._timing.look
                whole, self._retry = now, None  # afterwards, look at everything first
                continue
            self._when_decided()
            if signal.SIGHUP in told:
                notify(os.environ, *reloading())
            if causes & {"files", "signal"} or self._source is None or now >= whole:
                self._unsettled = self._file.read(signal.SIGHUP in told) or self._unsettled
            if now >= health:
                self._look_at_tunnels(now)
                health = now + self._timing.health
            if now >= whole:
                self._doubt_next()
            again = self._unsettled if self._retry is None else now >= self._retry
            due = now >= whole or again or bool(causes - {"kernel"})
            if due or causes or now >= look:
                self._round(now, "kernel" in causes, due)
                look = time.monotonic() + self._timing.look
                whole = look + self._timing.whole if due else whole
                self._tell(bool(told))
                time.sleep(self._timing.gap)

    def _round(self, now: float, kernel: bool, due: bool) -> None:
        """Look, and if anything may have changed, or it is due, put it right."""
        try:
            there = self._enter(due)
            seen = self._look_at_routing(there, now) if kernel or due else self._seen_routing
            rest = filtering(self._namespaces, self._wanted, there), switch(self._wanted)
            if not due and (seen, rest) == (self._seen_routing, self._seen_rest):
                return
            self._seen_routing, self._seen_rest = seen, rest
            self._survey()
            if self._unsettled:
                done = self._reconciler.put_in_force(self._wanted, self._namespaces)
                self._passes += 1
                if done.steps and self._passes > PASSES:
                    raise NotConverged("after all steps the host still differs; privacy-agent plan says how")
            else:
                done = self._reconciler.repair(self._wanted, self._namespaces, now)
        except (AgentError, OSError) as error:
            self._failed(error, now)
            return
        self._settle(done)
        self._retry = now if done.steps else done.next_try  # our own steps changed things: look once more

    def _enter(self, due: bool) -> dict[str, int]:
        """The namespaces that there are, each with its inode, and what is heard from them.

        To find our processes all of the machine are looked at; ours begin and end only when a round is due.
        """
        inodes = {name: self._namespaces.inode(name) for name in watched(self._wanted)}
        there = {name: inode for name, inode in inodes.items() if inode is not None}
        if there != self._inodes:
            self._inodes = there
            self._enter_anew(self._facts)
        if due:
            self._programs = [process.pid for process in daemon.processes()]
        self._watch.follow(self._namespaces, there, self._programs)
        return there

    def _doubt_next(self) -> None:
        self._turn = following(self._wanted, self._turn)
        if self._turn is not None:
            namespace, name = self._turn
            self._namespaces.memory(namespace).doubted.add(name)

    def _look_at_routing(self, there: Mapping[str, int], now: float) -> Mapping[str, NamespaceState]:
        seen = routing(self._namespaces, self._wanted, there)
        if seen != self._seen_routing and not self._unsettled:
            self._reconciler.repair_routing(self._wanted, seen, self._namespaces, now)
            seen = routing(self._namespaces, self._wanted, there)  # what is taken away once more has to differ from it
        return seen

    def _look_at_tunnels(self, now: float) -> None:
        """Another tunnel that is dead, or none any more, is another state to be put in force."""
        if self._source is None or self._facts is None:
            return
        policy, dead = self._source.policy, self._health.dead
        others = judged_tunnels(policy.director) if policy.director else ()
        try:
            asked = probes(policy, self._facts.node, self._namespaces)
            self._health.look(self._wanted, self._namespaces, others, asked, now)
        except (AgentError, OSError) as error:
            self._failed(error, now)
        self._unsettled = self._unsettled or dead != self._health.dead

    def _enter_anew(self, facts: Facts | None) -> None:
        """Forget sockets of namespaces that were exchanged for others."""
        self._namespaces.__exit__()
        self._namespaces = Namespaces(facts.namespaces if facts else {})

    def _survey(self) -> None:
        """The facts, and from them what is wanted; both change with containers, profiles, keys and names."""
        assert self._source is not None
        places = self._places
        policy, lookup = self._source.policy, self._names.lookup
        facts = survey.survey(policy, places.state_dir, places.config_dir, lookup, self._countries.known)
        facts = replace(facts, node=replace(facts.node, dead=self._health.dead))
        if self._facts is None or facts.namespaces != self._facts.namespaces:
            self._enter_anew(facts)
        wanted = desired(policy, facts)
        before = replace(self._wanted, waiting=wanted.waiting)
        self._unsettled = self._unsettled or wanted != before  # what others did is then no damage to repair
        self._facts, self._wanted = facts, wanted

    def _failed(self, error: Exception, now: float) -> None:
        problems = error.problems if isinstance(error, AgentError) else (str(error),)
        if isinstance(error, Locked):  # somebody runs apply: there is something to look at when it is done
            self._retry = now + self._timing.busy
            return
        if problems != self._said:
            self._said = tuple(problems)
            self._log("error", "failed", "; ".join(problems), problems=list(problems))
        self._retry = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, self._timing.longest_pause)

    def _settle(self, done: Round) -> None:
        """After a round that went through: remember the policy as good, say what is left."""
        self._pause = self._timing.pause
        if self._unsettled and not done.steps:
            self._unsettled, self._passes = False, 0
            self._log("info", "in force", self._objects())
        found = dict.fromkeys(done.strangers, "in the way")
        found |= dict.fromkeys((*done.silent, *self._remember()), "failed")
        for words, event in found.items():
            if words not in self._said:
                self._log("error", event, words)
        self._said = tuple(found)

    def _remember(self) -> Iterator[str]:
        """Keep what is in force for the next start. Complains if the disk is full: what is in force stays so."""
        if self._unsettled or self._source is None or self._facts is None:
            return
        try:
            former_settings.give_back(self._places.state_dir, self._wanted, self._namespaces)
            daemon.shorten_logs(self._places.state_dir)
            names.keep(self._places.state_dir, self._facts.answers)
            if self._source.documents is not None:
                last_good.keep(self._places.state_dir, self._source.documents)
        except OSError as error:
            yield f"the last good policy cannot be kept: {error}"

    def _tell(self, reloaded: bool) -> None:
        if not self._unsettled and (not self._ready or reloaded):
            self._ready = True
            notify(os.environ, "READY=1")
        trouble = "; ".join(self._said)
        notify(os.environ, f"STATUS={trouble or self._objects()}")

    def _objects(self) -> str:
        places = counted(len(self._wanted.namespaces), "network namespace")
        return "; ".join([f"in sync: {places}", *in_words(self._wanted.waiting)])

    def _while_unconfirmed(self) -> None:
        """A change waits for its operator: nothing is repaired. One that nobody watches any more is undone here."""
        if not self._suspended and (words := confirm_file.words(self._places.state_dir)):
            self._suspended = True
            self._log("warning", "unconfirmed", f"nothing is repaired meanwhile: {words}")
        if confirm.take_over(self._places.state_dir, self._log):
            self._suspended = False
            self._file.forget()
            self._unsettled = True

    def _when_decided(self) -> None:
        """Say how the waiting ended."""
        if self._suspended and confirm_file.refused(self._places.state_dir) is None:
            self._log("info", "confirmed", "the change was confirmed; repairs go on")
        elif self._suspended:
            self._log("warning", "unconfirmed", "not confirmed: the former state is in force again; repairs go on")
        self._suspended = False
