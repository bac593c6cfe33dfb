"""How often one thing may be repaired, so that a fight with another program does not take the machine. Pure.

Every repair is allowed until one object had ``LIMIT`` of them within ``WINDOW`` seconds. From then on it is
repaired at growing intervals, until it was left alone for a while.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LIMIT = 10  # repairs of one object ...
WINDOW = 60.0  # ... in so many seconds
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0  # seconds between repairs in a fight
CALM = 600.0  # seconds without a repair after which a fight counts as over


@dataclass(frozen=True)
class History:
    """The repairs of one object, as moments on a monotonic clock, and the pause that a fight has led to."""

    moments: tuple[float, ...] = ()
    pause: float = 0.0  # 0: no fight

    @property
    def next_moment(self) -> float:
        """When the next repair is allowed."""
        return self.moments[-1] + self.pause if self.moments and self.pause else float("-inf")

    def repaired(self, now: float) -> History:
        if self.moments and now - self.moments[-1] > CALM:
            return History((now,))
        moments = (*(moment for moment in self.moments if now - moment < WINDOW), now)
        if self.pause:
            return History(moments, min(self.pause * 2, LONGEST_PAUSE))
        return History(moments, FIRST_PAUSE if len(moments) >= LIMIT else 0.0)


@dataclass(frozen=True)
class Ledger:
    """The repairs of all objects."""

    histories: Mapping[str, History] = field(default_factory=dict)

    def admits(self, item: str, now: float) -> bool:
        return now >= self.next_moment(item)

    def next_moment(self, item: str) -> float:
        return self.histories.get(item, History()).next_moment

    def repaired(self, item: str, now: float) -> Ledger:
        """With one more repair; objects that have been calm are forgotten."""
        kept = {name: it for name, it in self.histories.items() if now - it.moments[-1] <= CALM or name == item}
        return Ledger({**kept, item: self.histories.get(item, History()).repaired(now)})

    def in_fight(self, item: str) -> bool:
        return self.histories.get(item, History()).pause > 0
