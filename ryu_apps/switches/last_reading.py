"""The last reading of a switch, for those who only look: a slow or silent switch delays none of them for long."""

from __future__ import annotations

import time
from typing import Any

from ryu.lib import hub

from ryu_apps.switches.connection import Connection, Reading, SwitchSilent

PATIENCE = 1.0  # seconds that an asker waits before it takes an older reading


class LastReading:
    """Several may ask at once: they share one reading."""

    def __init__(self) -> None:
        self._last: Reading | None = None
        self._under_way: Any = None  # an event

    def newest(self, connection: Connection | None, max_age_seconds: float) -> Reading | None:
        """A reading no older than this; after PATIENCE the last there is, None if there is none."""
        if self._last is not None and time.time() - self._last.time <= max_age_seconds:
            return self._last
        if self._under_way is None and connection is not None:
            self._under_way = hub.Event()
            hub.spawn(self._read, connection, self._under_way)
        if self._under_way is not None:
            self._under_way.wait(PATIENCE)
        return self._last

    def _read(self, connection: Connection, done: Any) -> None:
        try:
            self._last = connection.read()
        except SwitchSilent:
            pass  # the session's own greenlet finds out and says so
        finally:
            self._under_way = None
            done.set()
