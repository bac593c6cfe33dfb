"""The newest readings of all switches, for those who look: asked for at once, so that a silent one delays no other."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import eventlet

from ryu_apps.session import Session
from ryu_apps.switch import Reading
from ryu_apps.wire import Identity, InstalledEntry

_SHORTEST = 0.5  # seconds between two readings that a rate is made of


@dataclass(frozen=True)
class Rate:
    """Per second."""

    packets: float
    bytes: float


@dataclass(frozen=True)
class Seen:
    """A switch's reading, and an older one to compare it with."""

    reading: Reading
    is_current: bool  # no older than was asked for
    before: Reading | None = None
    _counters: Mapping[Identity, InstalledEntry] = field(default_factory=dict, repr=False)

    @property
    def wall(self) -> float:
        """Unix time of the reading."""
        return self.reading.time

    def rate(self, found: InstalledEntry) -> Rate | None:
        """Packets and bytes a second since the older reading; None if the entry was not in it."""
        older = self._counters.get(found.entry.identity)
        if older is None or self.before is None or older.packets > found.packets:
            return None
        seconds = self.reading.time - self.before.time
        return Rate((found.packets - older.packets) / seconds, (found.bytes - older.bytes) / seconds)


class Readings:
    """The last two readings of each switch."""

    def __init__(self) -> None:
        self._seen: dict[int, Seen] = {}

    def read(self, sessions: Iterable[Session], max_age: float) -> dict[int, Seen | None]:
        """By datapath id; None for a switch that was never read."""
        asked = {session.account.dpid: eventlet.spawn(session.reading, max_age) for session in sessions}
        return {dpid: self._note(dpid, reading.wait(), max_age) for dpid, reading in asked.items()}

    def _note(self, dpid: int, reading: Reading | None, max_age: float) -> Seen | None:
        if reading is None:
            return None
        is_current = time.time() - reading.time <= max(max_age, 1.0)
        last = self._seen.get(dpid)
        if last is not None and last.reading.time == reading.time:
            return Seen(reading, is_current, last.before, last._counters)
        before = last.reading if last is not None and reading.time - last.reading.time >= _SHORTEST else None
        if before is None and last is not None:
            before = last.before
        counters = {entry.entry.identity: entry for entry in before.installed} if before else {}
        seen = self._seen[dpid] = Seen(reading, is_current, before, counters)
        return seen
