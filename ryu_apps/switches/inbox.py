"""What has happened to a switch since somebody last looked: noted at once, looked at together."""

from __future__ import annotations

from ryu.lib import hub

from ryu_apps.openflow import monitor
from ryu_apps.openflow.monitor import Update
from ryu_apps.openflow.wire import Identity

GAP = "some changes by others were not told"
MAXIMUM_UPDATES = 10_000  # more than these are not remembered one by one: the whole switch is read again
MAXIMUM_TRIGGERS = 20  # the others need no name: one look serves all


class Inbox:
    """One reader may wait; noting never waits."""

    def __init__(self) -> None:
        self.closed = False
        self._triggers: dict[str, None] = {}
        self._updates: dict[Identity, Update] = {}
        self._later: set[str] = set()
        self._news = hub.Event()

    def note(self, trigger: str) -> None:
        """Something after which the switch may have to hold something else."""
        if len(self._triggers) < MAXIMUM_TRIGGERS:
            self._triggers[trigger] = None
        self._news.set()

    def note_news(self, octets: bytes) -> None:
        """A message of the flow monitor. Raises Malformed."""
        if monitor.is_gap(octets):
            self.note(GAP)
        elif monitor.is_update(octets):
            for update in monitor.decode_updates(octets):
                self.note_update(update)

    def note_later(self, trigger: str, seconds: float) -> None:
        """The same after a while; only once at a time."""
        if trigger not in self._later:
            self._later.add(trigger)
            hub.spawn_after(seconds, self._note_now, trigger)

    def _note_now(self, trigger: str) -> None:
        self._later.discard(trigger)
        self.note(trigger)

    def note_update(self, update: Update) -> None:
        """A change by somebody else. Of several to one entry the last one is remembered."""
        if len(self._updates) >= MAXIMUM_UPDATES:
            self._updates.clear()
            self.note(GAP)
        else:
            self._updates[update.entry.identity] = update
            self._news.set()

    def close(self) -> None:
        self.closed = True
        self._news.set()

    def wait(self, seconds: float | None) -> None:
        """Until there is something, or for so many seconds."""
        if not self._news.is_set():
            self._news.wait(seconds)

    def take(self) -> tuple[tuple[str, ...], dict[Identity, Update]]:
        """(triggers, updates by entry) since the last time."""
        self._news.clear()
        triggers, updates = tuple(self._triggers), self._updates
        self._triggers, self._updates = {}, {}
        return triggers, updates
