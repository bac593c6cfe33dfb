"""The ranges of countries for a program that must not wait for a download: renewed in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from host_agent.countries.gather import gather, recall
from host_agent.countries.values import Country, Key, Settings

Question = tuple[tuple[str, ...], Settings, Path]


class Ranges:
    """``known`` answers at once, from what is on this machine; ``changed`` is called, in the background thread, after
    the answer became another."""

    def __init__(self, state_dir: Path, changed: Callable[[], None]) -> None:
        self._state_dir, self._changed = state_dir, changed
        self._asked: Question | None = None
        self._answer: Mapping[Key, Country] = {}
        self._asking = threading.Event()

    def known(self, codes: Iterable[str], settings: Settings, state_dir: Path, now: float) -> Mapping[Key, Country]:
        asked = (tuple(codes), settings, state_dir)
        if asked != self._asked:
            self._asked, self._answer = asked, recall(asked[0], settings, state_dir, now)
            self.refresh()
        return self._answer

    def refresh(self) -> None:
        """Look at all sources again, in the background; what is fresh is not downloaded."""
        if self._asked is not None and self._asked[0] and not self._asking.is_set():
            self._asking.set()
            threading.Thread(target=self._refresh, args=(self._asked,), name="ranges", daemon=True).start()

    def _refresh(self, asked: Question) -> None:
        try:
            codes, settings, state_dir = asked
            answer = gather(codes, settings, state_dir, time.time())
            if asked == self._asked:
                before, self._answer = self._answer, answer
                if _content(before) != _content(answer):
                    self._changed()
        finally:
            self._asking.clear()


def _content(ranges: Mapping[Key, Country]) -> dict[Key, object]:
    """Without ages, which are always others."""
    return {key: (country.prefixes, country.problem) for key, country in ranges.items()}
