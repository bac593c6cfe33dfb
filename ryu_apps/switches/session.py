"""Keeps one switch equal to the policy: read, plan, commit, read back; woken by events, idle in between."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ryu.lib import hub

from ryu_apps.openflow.monitor import Update
from ryu_apps.openflow.shapes import Identity
from ryu_apps.policy import memory
from ryu_apps.policy.changes import HANGUP
from ryu_apps.policy.file import CompiledPolicy, without_collection
from ryu_apps.switches.account import LastChange, Refusal, SwitchAccount
from ryu_apps.switches.bundle import FilledBundle
from ryu_apps.switches.connection import BundleRefused, Connection, Reading, SwitchSilent, bridge_name
from ryu_apps.switches.drift_repair import DueUpdates, repair
from ryu_apps.switches.inbox import GAP, Inbox
from ryu_apps.switches.intake import hand_to, hang_up
from ryu_apps.switches.last_reading import LastReading
from ryu_apps.switches.peers import complaints
from ryu_apps.switches.rollout import FEW, Rollout, at_once, left_over, rollout, rollout_by_reading
from ryu_apps.switches.session_log import (
    facts,
    flow_entries,
    refusal_of,
    report_change,
    report_drift,
    report_fight,
    report_waiting,
    title,
)
from ryu_apps.switches.sieve import Sieve
from ryu_apps.switches.target import Draft, Target
from ryu_apps.turns import give_way

LOG = logging.getLogger("privacy_router")

CONNECTED, POLLED, AGAIN = "connected", "poll", "tried again"
# After these the switch is read whole; after others what is known of it is still true, for it tells every change.
_UNKNOWN = frozenset({CONNECTED, HANGUP, POLLED, AGAIN, GAP})

POLL_SECONDS = 2.0  # at least, and 20 times as long as a reading takes: for switches that do not tell changes
TAKEOVER_PATIENCE = 2.0  # seconds that an older connection has to show that it is alive
_LARGE = 10_000  # entries: what it took to compare and send them is worth giving back
AGAIN_SECONDS = 30.0  # after a change that did not succeed


@dataclass(frozen=True)
class Verdict:
    """What became of a policy on the switch."""

    compiled: CompiledPolicy
    change: LastChange | None  # None: nothing had to change


class Session:
    """A switch by its datapath id, over all its connections. Each connection has one greenlet that does the work."""

    def __init__(self, dpid: int, policy: Callable[[], CompiledPolicy]) -> None:
        self.account = SwitchAccount(dpid)
        self.connection: Connection | None = None
        self.verdict: Verdict | None = None  # on the policy that was last looked at
        self.work: Counter[str] = Counter()  # how often each costly step was taken
        self._policy = policy
        self._inbox = Inbox()
        self._watched = False  # the switch tells what others change
        self._target: Target | None = None  # what the switch was last seen to hold
        self._settled = False  # and that it still holds it, as far as it tells
        self._due_updates = DueUpdates()
        self._last_reading = LastReading()

    def open(self, datapath: Any) -> Connection:
        """A new connection of this switch; its greenlet starts."""
        inbox = Inbox()
        connection = Connection(datapath, inbox.note_news)
        hand_to(datapath, connection.take)
        hub.spawn(self._serve, connection, inbox)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """The end of this connection, which need not be the newest."""
        connection.ended()
        if self.connection is connection:
            self.connection = None
            self._settled = False
            self._inbox.close()
            self.account = replace(self.account, connected=False)
            extra = facts(self.account, "connection")
            who, what = title(self.account), "disconnected; while the bridge is there, its flow entries stay in force"
            kind = f"{who}: disconnected" if self.account.ours else "disconnected"  # of others there may be thousands
            complaints.warning(kind, "%s: %s", who, what, extra=extra)

    def wake(self, trigger: str) -> None:
        """Something has happened that may call for a change. Cheap: what comes together is looked at once."""
        self._inbox.note(trigger)

    def reading(self, max_age_seconds: float) -> Reading | None:
        """What the switch holds, by a reading no older than this; an older one (see its ``time``) from a slow switch.

        None if the switch has never been read. Waits no longer than ``last_reading.PATIENCE``; several may ask at once.
        """
        return self._last_reading.newest(self.connection, max_age_seconds)

    def _serve(self, connection: Connection, inbox: Inbox) -> None:
        try:
            if not self._take_over(connection, inbox):
                return
            self._watched = connection.watch()
            if not self._watched:
                LOG.info("%s: does not tell what others change (no flow monitor): polled instead", title(self.account))
            inbox.note(CONNECTED)
            pause = 0.0
            while connection.alive:
                inbox.wait(None if self._watched else max(POLL_SECONDS, pause))
                if inbox.closed or not connection.alive:
                    return
                started = time.monotonic()
                self._look(connection, *inbox.take())
                pause = 20 * (time.monotonic() - started)
        except SwitchSilent as silence:
            if connection.alive:
                hang_up(connection.datapath, str(silence))
        memory.give_back()  # what an answer without end has left

    def _take_over(self, connection: Connection, inbox: Inbox) -> bool:
        """Makes this the switch's connection, unless another one under the same datapath id is alive."""
        other = self.connection
        if other is not None and other.answers(TAKEOVER_PATIENCE):
            hang_up(connection.datapath, "another connection with the same datapath id is alive")
            return False
        if not connection.alive:
            return False
        if other is not None:
            self.disconnect(other)
            hang_up(other.datapath, "another connection took its place")
        self.connection, self._inbox, self._settled = connection, inbox, False
        self.account = replace(self.account, connected=True)
        return True

    def _look(self, connection: Connection, triggers: tuple[str, ...], updates: dict[Identity, Update]) -> None:
        try:
            if not triggers and not updates:
                triggers = (POLLED,)
            if triggers:
                with without_collection():
                    self._reconcile(connection, triggers)
                if self._target is not None and len(self._target.entries) > _LARGE:
                    memory.give_back()
            if updates and self._settled and self._target is not None and not _UNKNOWN & set(triggers):
                self._repair(connection, self._target, updates)
            elif updates and self.account.ours and not self._settled:
                self._inbox.note_later(AGAIN, AGAIN_SECONDS)
        except SwitchSilent:
            raise
        except Exception:  # a fault of ours at one event must not leave the switch alone at the next
            self._settled = False
            LOG.exception("%s: nothing was decided", title(self.account))

    def _reconcile(self, connection: Connection, triggers: tuple[str, ...]) -> None:
        started, trigger = time.monotonic(), ", ".join(triggers)
        ports = connection.ports()
        compiled = self._policy().for_switch(self.account.dpid, bridge_name(ports))
        if not self._is_ours(ports, compiled, trigger):
            self.verdict = Verdict(compiled, None)
            return
        known, way = self._target, self._way(connection, compiled, ports, triggers)
        self.work["plans"] += 1
        change = self._carry_out(connection, way, trigger, started)
        self.verdict = Verdict(compiled, change)
        if way.target.absent_ports - (known.absent_ports if known else frozenset()):
            report_waiting(self.account, way.target)
        if change is None:
            level = logging.DEBUG if trigger == POLLED or trigger.startswith("port ") else logging.INFO
            message = "%s: %s: %s in place, nothing sent, in %.1f ms"
            entries = flow_entries(len(way.target.entries))
            LOG.log(level, message, title(self.account), trigger, entries, _milliseconds_since(started))

    def _way(
        self, connection: Connection, compiled: CompiledPolicy, ports: Mapping[str, int], triggers: tuple[str, ...]
    ) -> Rollout:
        """From what the switch is known to hold, or else from a reading."""
        known, draft = self._target, Draft(compiled, ports, self._target)
        if draft.target is not known:
            self.work["targets"] += 1
        if known and self._settled and known.swept == draft.target.swept and not _UNKNOWN & set(triggers):
            return rollout(draft, known.entries, give_way)
        self.work["readings"] += 1
        return rollout_by_reading(draft, lambda sieve: connection.read(decode=sieve).entries, give_way)

    def _repair(self, connection: Connection, wanted: Target, updates: dict[Identity, Update]) -> None:
        """Puts back what others changed of ours."""
        started = time.monotonic()
        due = self._due_updates.of(updates, wanted, self._inbox, started)
        if not due:
            return
        if len(due) > FEW:
            self._settled = False
            self._inbox.note(f"drift in {flow_entries(len(due))}")
            return
        self.work["readings of items"] += 1
        change, there = repair(connection, wanted, due)
        self.work["plans"] += 1
        done = self._carry_out(connection, at_once(wanted, change), f"drift in {flow_entries(len(change))}", started)
        if done and done.confirmed:
            report_drift(self.account, change, wanted, there)
        for entry in self._due_updates.repaired(change, started):
            report_fight(self.account, entry, wanted)

    def _carry_out(self, connection: Connection, way: Rollout, trigger: str, started: float) -> LastChange | None:
        """Sends, commits and reads back what has to change; None if nothing has to, and nothing was sent."""
        was_settled, self._settled = self._settled, False
        refusal = reason = None
        try:
            bundle = connection.fill(way.changes(), way.at_most)
            if bundle is None:
                self._target, self._settled = way.target, self._watched
                return None
            left = self._commit(connection, bundle, way)
            if left:
                reason = f"committed, but the read-back differs in {flow_entries(left)}"
            else:
                self._target, self._settled = way.target, self._watched
        except BundleRefused as refused:
            refusal = refusal_of(refused, way)
            reason = f"bundle refused, nothing changed: {refusal}"
            self._settled = was_settled
        self.work["bundles"] += 1
        self.work["messages"] += len(way)
        change = self._keep(way, started, trigger, reason, refusal)
        if reason:
            self._inbox.note_later(AGAIN, AGAIN_SECONDS)
        report_change(self.account, change)
        return change

    def _commit(self, connection: Connection, bundle: FilledBundle, way: Rollout) -> int:
        """How many entries are not as they should be after it. A small change is read back without all the rest."""
        wanted = way.target.entries
        few = way.few if self._watched and len(way) <= len(wanted) // 4 else None
        sieve = Sieve(dict((*few.replace, *few.add)) if few else wanted)
        after = connection.commit(bundle, {entry.cookie for entry in few.entries} if few else (), sieve)
        return left_over(bundle.identities, way.deleted, sieve.missing, after.entries)

    def _is_ours(self, ports: Mapping[str, int], compiled: CompiledPolicy, trigger: str) -> bool:
        name, bridge = bridge_name(ports), compiled.policy.bridge_name
        if name != bridge and (trigger == CONNECTED or self.account.ours):
            LOG.info("%s: not the policy's bridge (%s), left alone", name, bridge)
        self.account = replace(self.account, name=name, ours=name == bridge)
        if name != bridge:
            self._target, self._settled = None, False
        return name == bridge

    def _keep(
        self, way: Rollout, started: float, trigger: str, reason: str | None, refusal: Refusal | None
    ) -> LastChange:
        last = LastChange(
            time=time.time(),
            added=way.added,
            replaced=way.replaced,
            deleted=len(way.deleted),
            messages=len(way),
            bundles=int(refusal is None),
            milliseconds=_milliseconds_since(started),
            confirmed=reason is None,
            reason=reason,
            trigger=trigger,
            refusal=refusal,
        )
        self.account = replace(self.account, last_change=last, changes_total=self.account.changes_total + last.bundles)
        return last


def _milliseconds_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
