"""A question whose answer may take long, for a thread that must not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """``again`` asks in a thread of its own, but not before the last asking has ended. ``ask`` says whether there is
    another answer than before; if so, ``changed`` is called, from that thread."""

    def __init__(self, name: str, ask: Callable[[], bool], changed: Callable[[], None]) -> None:
        self._name, self._ask, self._changed = name, ask, changed
        self._asking = threading.Event()

    def again(self) -> None:
        if not self._asking.is_set():
            self._asking.set()
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        try:
            if self._ask():
                self._changed()
        finally:
            self._asking.clear()
