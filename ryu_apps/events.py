"""What happened, for people and programs: the log's records of this program, the last ones kept and numbered.

A record becomes an event of a kind when it is logged with ``extra=event("change", switch="ovsbr0", ...)``; any other
record of the program's logger is an event of the kind "log".
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ryu.lib import hub

CAPACITY = 1000  # events kept; a reader that comes later has missed the older ones


@dataclass(frozen=True)
class Event:
    number: int  # rises, also over a restart
    time: float  # Unix time
    level: str
    kind: str
    message: str
    facts: Mapping[str, Any]


def event(kind: str, **facts: Any) -> dict[str, Any]:
    """The ``extra`` of a log call: what programs shall know of the record."""
    return {"kind": kind, "facts": facts}


class EventLog(logging.Handler):
    """A bounded ring of events. Readers may wait for news; one that is too slow misses events, and delays nobody.

    They are counted from ``last`` on. With the time of the start in milliseconds there, a reader that comes back asks
    the next controller for what it has not seen yet as it would have asked this one.
    """

    def __init__(self, capacity: int = CAPACITY, last: int = 0) -> None:
        super().__init__(logging.INFO)
        self._events: deque[Event] = deque(maxlen=capacity)
        self._last = last
        self._news = hub.Event()
        self._observers: list[Callable[[Event], None]] = []

    def observe(self, observer: Callable[[Event], None]) -> None:
        """``observer`` is called with every event, in the greenlet that logs it."""
        self._observers.append(observer)

    def emit(self, record: logging.LogRecord) -> None:
        self._last += 1
        happened = Event(
            self._last,
            record.created,
            record.levelname.lower(),
            getattr(record, "kind", "log"),
            record.getMessage(),
            getattr(record, "facts", {}),
        )
        self._events.append(happened)
        for observer in self._observers:
            observer(happened)
        news, self._news = self._news, hub.Event()
        news.set()

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._last

    def since(self, number: int) -> tuple[Event, ...]:
        """The kept events after the one of this number."""
        return tuple(happened for happened in self._events if happened.number > number)

    def wait(self, number: int, seconds: float) -> tuple[Event, ...]:
        """As ``since``, but waits for an event if there is none; empty after ``seconds`` without one."""
        if not (happened := self.since(number)):
            self._news.wait(seconds)
        return happened or self.since(number)
