"""Keeps one switch equal to the policy: read, plan, commit, read back; woken by events, idle in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ryu.lib import hub

from ryu_apps.account import LastChange, SwitchAccount
from ryu_apps.flow import FlowEntry
from ryu_apps.ofctl import entry_text, match_text
from ryu_apps.oxm import match_of
from ryu_apps.plan import Change, plan
from ryu_apps.policy_file import CompiledPolicy
from ryu_apps.switch import BundleRefused, Connection, Reading, SwitchSilent
from ryu_apps.wire import SwitchEntry, resolve

LOG = logging.getLogger("privacy_router")

Resolved = Sequence[tuple[FlowEntry, SwitchEntry]]


class Session:
    """A switch by its datapath id, over all its connections. Each connection has one greenlet that does the work."""

    def __init__(self, dpid: int, policy: Callable[[], CompiledPolicy]) -> None:
        self.account = SwitchAccount(dpid)
        self.connection: Connection | None = None
        self._policy = policy
        self._wakes = hub.Queue()
        self._waiting_ports: frozenset[str] = frozenset()

    def connect(self, connection: Connection) -> None:
        self.connection = connection
        self.account = replace(self.account, connected=True)
        self._wakes.put(None)  # ends the greenlet of an older connection
        self._wakes = hub.Queue()
        self.wake("connected")
        hub.spawn(self._serve, connection, self._wakes)

    def disconnect(self, connection: Connection) -> None:
        """The end of this connection, which need not be the newest."""
        connection.ended()
        if self.connection is connection:
            self.connection = None
            self.account = replace(self.account, connected=False)
            self._wakes.put(None)
            LOG.warning("%s: disconnected; its flow entries stay in force", self._title)

    def wake(self, trigger: str) -> None:
        """Something has happened that may call for a change. Cheap: what comes together is looked at once."""
        self._wakes.put(trigger)

    @property
    def _title(self) -> str:
        return self.account.name or f"switch {self.account.dpid:016x}"

    def _serve(self, connection: Connection, wakes: hub.Queue) -> None:
        while True:
            triggers = [wakes.get()]
            while not wakes.empty():
                triggers.append(wakes.get())
            if None in triggers:
                return
            try:
                self._reconcile(connection, ", ".join(dict.fromkeys(triggers)))
            except SwitchSilent as silence:
                LOG.error("%s: %s; closing the connection", self._title, silence)
                connection.datapath.close()
                return
            except Exception:  # a fault of ours at one event must not leave the switch alone at the next
                LOG.exception("%s: nothing was decided", self._title)

    def _reconcile(self, connection: Connection, trigger: str) -> None:
        started = time.monotonic()
        compiled = self._policy()
        reading = connection.read()
        if not self._is_ours(reading, compiled, trigger):
            return
        ready, waiting = resolve(compiled.entries, reading.ports)
        self._report_waiting(waiting, reading)
        desired = [wanted for _, wanted in ready]
        change = plan(desired, reading.entries)
        if not change:
            level = logging.DEBUG if trigger.startswith("port ") else logging.INFO
            LOG.log(level, "%s: %s: %d flow entries in place, nothing sent", self._title, trigger, len(desired))
            return
        try:
            after = connection.commit(change)
        except BundleRefused as refused:
            reason: str | None = _refusal_text(refused, ready, reading)
            self._keep(change, started, trigger, reason, bundles=0)
            LOG.error("%s: %s: %s", self._title, trigger, reason)
            return
        left = plan(desired, after.entries)
        reason = f"committed, but the read-back differs in {len(left)} flow entries" if left else None
        self._keep(change, started, trigger, reason, bundles=1)
        self._report(change)

    def _is_ours(self, reading: Reading, compiled: CompiledPolicy, trigger: str) -> bool:
        ours = reading.name == compiled.policy.bridge_name
        if not ours and (trigger == "connected" or self.account.ours):
            message = "%s: not the policy's bridge (%s), left alone"
            LOG.info(message, reading.name, compiled.policy.bridge_name)
        self.account = replace(self.account, name=reading.name, ours=ours)
        return ours

    def _keep(self, change: Change, started: float, trigger: str, reason: str | None, bundles: int) -> None:
        milliseconds = round((time.monotonic() - started) * 1000, 3)
        last = LastChange(
            time.time(),
            len(change.add),
            len(change.replace),
            len(change.delete),
            len(change),
            bundles,
            milliseconds,
            reason is None,
            reason,
            trigger,
        )
        self.account = replace(self.account, last_change=last, changes_total=self.account.changes_total + bundles)

    def _report(self, change: Change) -> None:
        last = self.account.last_change
        assert last is not None
        counts = f"({last.added} added, {last.replaced} replaced, {last.deleted} deleted)"
        if last.confirmed:
            message = "%s: %s: %d flow entries committed in one bundle and read back in %.1f ms %s"
            LOG.info(message, self._title, last.trigger, len(change), last.milliseconds, counts)
        else:
            LOG.error("%s: %s: %s %s", self._title, last.trigger, last.reason, counts)

    def _report_waiting(self, waiting: Sequence[FlowEntry], reading: Reading) -> None:
        ports = frozenset(port for entry in waiting for port in entry.ports if port not in reading.ports)
        if ports != self._waiting_ports and ports:
            names = ", ".join(sorted(ports))
            LOG.warning("%s: %d flow entries wait for ports that are not there: %s", self._title, len(waiting), names)
        self._waiting_ports = ports


def _refusal_text(refused: BundleRefused, ready: Resolved, reading: Reading) -> str:
    if refused.entry is None:
        return f"bundle refused, nothing changed: {refused}"
    flow = next((flow for flow, wanted in ready if wanted == refused.entry), None)
    what = f"{flow.item}: {entry_text(flow)}" if flow else match_text(match_of(refused.entry.match, reading.port_names))
    return f"bundle refused, nothing changed: {refused}: {what}"
