"""What the switches hold, for readers: all read at once, and rates from two readings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import eventlet

from ryu_apps.openflow.wire import Identity, InstalledEntry
from ryu_apps.switches.connection import Reading
from ryu_apps.switches.session import Session

RATE_WINDOW = 2.0  # seconds at least between two readings that make a rate: a switch adds its counters up once a second
RATE_MEMORY = 60.0  # seconds after which an old reading tells nothing about now


@dataclass(frozen=True)
class Rate:
    """Per second."""

    packets: float
    bytes: float


@dataclass(frozen=True)
class Snapshot:
    """The counters of one moment that were not 0."""

    time: float  # Unix time
    counters: Mapping[Identity, tuple[int, int]]


@dataclass(frozen=True)
class Seen:
    """A switch as it was last read."""

    reading: Reading
    is_current: bool  # False: the switch did not answer this time
    earlier: Snapshot | None = None

    def rate(self, entry: InstalledEntry) -> Rate | None:
        """None while there is nothing to compare with; an entry that was made anew starts from 0."""
        if self.earlier is None:
            return None
        seconds = self.reading.time - self.earlier.time
        packets, octets = self.earlier.counters.get(entry.entry.identity, (0, 0))
        if packets > entry.packets:
            packets, octets = 0, 0
        return Rate((entry.packets - packets) / seconds, (entry.bytes - octets) / seconds)


@dataclass
class Readings:
    """Of each switch, by datapath id, at most two snapshots: one to compare with, and one that gets old enough."""

    snapshots: dict[int, list[Snapshot]] = field(default_factory=dict)

    def read(self, sessions: Iterable[Session], max_age: float) -> dict[int, Seen | None]:
        """Every session's reading, at most ``max_age`` seconds old, or the last there is; None: never answered."""
        oldest = time.time() - max_age
        asked = {session.account.dpid: eventlet.spawn(session.reading, max_age) for session in sessions}
        for dpid in set(self.snapshots) - set(asked):
            del self.snapshots[dpid]
        return {dpid: self._seen(dpid, greenlet.wait(), oldest) for dpid, greenlet in asked.items()}

    def _seen(self, dpid: int, reading: Reading | None, oldest: float) -> Seen | None:
        if reading is None:
            return None
        known = self.snapshots.get(dpid, [])
        usable = [each for each in known if RATE_WINDOW <= reading.time - each.time <= RATE_MEMORY]
        if not known or reading.time - known[-1].time >= RATE_WINDOW:
            self.snapshots[dpid] = [*known[-1:], _snapshot(reading)]
        return Seen(reading, reading.time >= oldest, usable[-1] if usable else None)


def _snapshot(reading: Reading) -> Snapshot:
    counters = {each.entry.identity: (each.packets, each.bytes) for each in reading.installed if each.packets}
    return Snapshot(reading.time, counters)
