"""What others changed on one switch: when it is put right, and by which change."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ryu.lib import hub

from ryu_apps.openflow.monitor import Update
from ryu_apps.openflow.shapes import Identity
from ryu_apps.openflow.wire import SwitchEntry
from ryu_apps.switches.connection import Connection
from ryu_apps.switches.drift import matters
from ryu_apps.switches.inbox import Inbox
from ryu_apps.switches.plan import Change, plan
from ryu_apps.switches.repairs import RepairBudget
from ryu_apps.switches.target import Target


class DueUpdates:
    """Tells the updates that are to be looked after now from those that a fight postpones. Times are monotonic."""

    def __init__(self) -> None:
        self._budget = RepairBudget()
        self._postponed: dict[Identity, tuple[Update, Inbox]] = {}  # the last of each, and who wants it back

    def of(self, updates: Mapping[Identity, Update], wanted: Target, inbox: Inbox, now: float) -> list[Update]:
        """Those that matter and are due; one that is not comes back into the inbox by itself when it is."""
        return [
            update
            for identity, update in updates.items()
            if matters(update, wanted) and self._is_due(identity, update, inbox, now)
        ]

    def repaired(self, change: Change, now: float) -> list[SwitchEntry]:
        """Notes the repair; returns the entries that are fought over from now on."""
        return [entry for entry in change.entries if self._budget.spend(entry.identity, now)]

    def _is_due(self, identity: Identity, update: Update, inbox: Inbox, now: float) -> bool:
        wait = self._budget.due(identity, now) - now
        if wait <= 0:
            return True
        if identity not in self._postponed:
            hub.spawn_after(wait, self._resume, identity)
        self._postponed[identity] = update, inbox
        return False

    def _resume(self, identity: Identity) -> None:
        update, inbox = self._postponed.pop(identity)
        inbox.note_update(update)


def repair(
    connection: Connection, wanted: Target, due: Collection[Update]
) -> tuple[Change, Mapping[Identity, SwitchEntry]]:
    """(what puts it right, what is there now). The updates say where to look, the switch what is there.

    Raises SwitchSilent.
    """
    identities = {update.entry.identity for update in due}
    rights = [entry for entry in map(wanted.entry, identities) if entry is not None]
    cookies = {entry.cookie for entry in rights} | {update.entry.cookie for update in due}
    there = {entry.identity: entry for entry in connection.read(cookies).entries if entry.identity in identities}
    return plan(rights, there.values(), wanted.swept), there
