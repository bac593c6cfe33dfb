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
from ryu_apps.policy.changes import HANGUP
from ryu_apps.policy.file import CompiledPolicy, without_collection
from ryu_apps.switches.account import LastChange, Refusal, SwitchAccount
from ryu_apps.switches.connection import BundleRefused, Connection, Reading, SwitchSilent, bridge_name
from ryu_apps.switches.drift import matters
from ryu_apps.switches.inbox import GAP, Inbox
from ryu_apps.switches.intake import hand_to, hang_up
from ryu_apps.switches.last_reading import LastReading
from ryu_apps.switches.peers import complaints
from ryu_apps.switches.plan import Change, plan
from ryu_apps.switches.repairs import RepairBudget
from ryu_apps.switches.session_log import (
    facts,
    refusal_of,
    report_change,
    report_drift,
    report_fight,
    report_waiting,
    title,
)
from ryu_apps.switches.sieve import Sieve
from ryu_apps.switches.target import Target, difference, left_over, target

LOG = logging.getLogger("privacy_router")

CONNECTED, POLLED, AGAIN = "connected", "poll", "tried again"
# After these the switch is read whole; after others what is known of it is still true, for it tells every change.
_UNKNOWN = frozenset({CONNECTED, HANGUP, POLLED, AGAIN, GAP})

POLL_SECONDS = 2.0  # at least, and 20 times as long as a reading takes: for switches that do not tell changes
TAKEOVER_PATIENCE = 2.0  # seconds that an older connection has to show that it is alive
AGAIN_SECONDS = 30.0  # after a change that did not succeed
_READ_BACK_ITEMS = 200  # a change of more entries, or of a quarter of all, is read back with the whole table


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
        self._budget = RepairBudget()
        self._postponed: dict[Identity, Update] = {}
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
            who, what = title(self.account), "disconnected; its flow entries stay in force"
            complaints.warning(f"{who}: disconnected", "%s: %s", who, what, extra=extra)

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
        wanted, known = self._targeted(compiled, ports), self._target
        if wanted.absent_ports and (known is None or wanted.absent_ports != known.absent_ports):
            report_waiting(self.account, wanted)
        if known and self._settled and known.swept == wanted.swept and not _UNKNOWN & set(triggers):
            change = plan(*difference(wanted, known), wanted.swept)
        else:
            change = self._difference(connection, wanted)
        self.work["plans"] += 1
        if change:
            self._commit(connection, change, wanted, trigger, started)
            self.verdict = Verdict(compiled, self.account.last_change)
            return
        self._target, self._settled = wanted, self._watched
        self.verdict = Verdict(compiled, None)
        level = logging.DEBUG if trigger == POLLED or trigger.startswith("port ") else logging.INFO
        message = "%s: %s: %d flow entries in place, nothing sent, in %.1f ms"
        LOG.log(level, message, title(self.account), trigger, len(wanted.entries), _milliseconds_since(started))

    def _difference(self, connection: Connection, wanted: Target) -> Change:
        """What has to change, by all that the switch holds."""
        self.work["readings"] += 1
        sieve = Sieve(wanted.entries)
        found = connection.read(decode=sieve).entries
        return plan(sieve.missing.items(), found, wanted.swept)

    def _repair(self, connection: Connection, wanted: Target, updates: dict[Identity, Update]) -> None:
        """Puts back what others changed of ours. The updates say where to look, the switch what is there now."""
        started = time.monotonic()
        due = {
            identity: update
            for identity, update in updates.items()
            if matters(update, wanted) and self._is_due(identity, update, started)
        }
        if not due:
            return
        if len(due) > _READ_BACK_ITEMS:
            self._settled = False
            self._reconcile(connection, (f"drift in {len(due)} flow entries",))
            return
        cookies = {update.entry.cookie for update in due.values()}
        rights = [entry for entry in map(wanted.entry, due) if entry is not None]
        cookies |= {entry.cookie for entry in rights}
        self.work["readings of items"] += 1
        found = connection.read(cookies).entries
        there = {entry.identity: entry for entry in found if entry.identity in due}
        change = plan(rights, there.values(), wanted.swept)
        self.work["plans"] += 1
        if change:
            self._commit(connection, change, wanted, f"drift in {len(change)} flow entries", started)
            report_drift(self.account, change, wanted, there)
            spent = [entry for entry in change.entries if self._budget.spend(entry.identity, started)]
            for entry in spent:
                report_fight(self.account, entry, wanted)

    def _is_due(self, identity: Identity, update: Update, now: float) -> bool:
        """Whether the entry may be looked after now; if not, it comes back by itself when it may."""
        wait = self._budget.due(identity, now) - now
        if wait <= 0:
            return True
        if identity not in self._postponed:
            hub.spawn_after(wait, self._resume, identity, self._inbox)
        self._postponed[identity] = update
        return False

    def _resume(self, identity: Identity, inbox: Inbox) -> None:
        inbox.note_update(self._postponed.pop(identity))

    def _targeted(self, compiled: CompiledPolicy, ports: Mapping[str, int]) -> Target:
        """Made anew only for another policy or other ports."""
        known = self._target
        if known is not None and known.compiled is compiled and known.ports == ports:
            return known
        self.work["targets"] += 1
        return target(compiled, ports, lambda: hub.sleep(0), known)

    def _commit(self, connection: Connection, change: Change, wanted: Target, trigger: str, started: float) -> None:
        was_settled, self._settled = self._settled, False
        changed = change.entries
        few = self._watched and len(changed) <= min(_READ_BACK_ITEMS, len(wanted.entries) // 4)
        self.work["bundles"] += 1
        self.work["messages"] += len(changed)
        refusal = reason = None
        try:
            sieve = Sieve(dict((*change.replace, *change.add)) if few else wanted.entries)
            after = connection.commit(change, {entry.cookie for entry in changed} if few else (), sieve)
        except BundleRefused as refused:
            refusal = refusal_of(refused, wanted)
            reason = f"bundle refused, nothing changed: {refusal}"
            self._settled = was_settled
        else:
            left = left_over(change, sieve.missing, after.entries)
            if left:
                reason = f"committed, but the read-back differs in {left} flow entries"
            else:
                self._target, self._settled = wanted, self._watched
        self._keep(change, started, trigger, reason, refusal)
        if reason:
            self._inbox.note_later(AGAIN, AGAIN_SECONDS)
        assert self.account.last_change is not None
        report_change(self.account, self.account.last_change)

    def _is_ours(self, ports: Mapping[str, int], compiled: CompiledPolicy, trigger: str) -> bool:
        name, bridge = bridge_name(ports), compiled.policy.bridge_name
        if name != bridge and (trigger == CONNECTED or self.account.ours):
            LOG.info("%s: not the policy's bridge (%s), left alone", name, bridge)
        self.account = replace(self.account, name=name, ours=name == bridge)
        if name != bridge:
            self._target, self._settled = None, False
        return name == bridge

    def _keep(self, change: Change, started: float, trigger: str, reason: str | None, refusal: Refusal | None) -> None:
        last = LastChange(
            time=time.time(),
            added=len(change.add),
            replaced=len(change.replace),
            deleted=len(change.delete),
            messages=len(change),
            bundles=int(refusal is None),
            milliseconds=_milliseconds_since(started),
            confirmed=reason is None,
            reason=reason,
            trigger=trigger,
            refusal=refusal,
        )
        self.account = replace(self.account, last_change=last, changes_total=self.account.changes_total + last.bundles)


def _milliseconds_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
