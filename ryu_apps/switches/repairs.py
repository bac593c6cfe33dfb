"""How often an entry is put back: at once, but not for ever against another program that keeps changing it. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable

REPAIRS_A_MINUTE = 10  # of one entry, before it is taken for a fight
SECONDS_IN_A_FIGHT = 10.0  # between the repairs then
_MINUTE = 60.0


class RepairBudget:
    """Remembers the last repairs of each entry, by its identity. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self._repairs: OrderedDict[Hashable, deque[float]] = OrderedDict()  # the last repaired at the end

    def due(self, entry: Hashable, now: float) -> float:
        """The time at which the entry may be put back: ``now``, or later in a fight."""
        times = self._repairs.get(entry)
        if times is None or len(times) < REPAIRS_A_MINUTE or now - times[0] >= _MINUTE:
            return now
        return max(now, times[-1] + SECONDS_IN_A_FIGHT)

    def spend(self, entry: Hashable, now: float) -> bool:
        """Notes a repair; True if the entry is fought over from now on."""
        self._forget(now)
        times = self._repairs.setdefault(entry, deque(maxlen=REPAIRS_A_MINUTE))
        self._repairs.move_to_end(entry)
        times.append(now)
        return len(times) == REPAIRS_A_MINUTE and now - times[0] < _MINUTE

    def _forget(self, now: float) -> None:
        while self._repairs and now - next(iter(self._repairs.values()))[-1] >= _MINUTE:
            self._repairs.popitem(last=False)
