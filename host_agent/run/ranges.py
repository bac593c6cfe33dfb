"""The ranges of countries for a program that must not wait for a download: renewed in the background."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from host_agent.countries.gather import gather, recall
from host_agent.countries.values import Country, Key, Settings
from host_agent.run.background import Background

Question = tuple[tuple[str, ...], Settings, Path]


class Ranges:
    """``known`` answers at once, from what is on this machine."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._asked: Question | None = None
        self._answer: Mapping[Key, Country] = {}
        self._renewal = Background("ranges", self._renewed, changed)

    def known(self, codes: Iterable[str], settings: Settings, state_dir: Path, now: float) -> Mapping[Key, Country]:
        asked = (tuple(codes), settings, state_dir)
        if asked != self._asked:
            self._asked, self._answer = asked, recall(asked[0], settings, state_dir, now)
            self.refresh()
        return self._answer

    def refresh(self) -> None:
        """Look at all sources again, in the background; what is fresh is not downloaded."""
        if self._asked is not None and self._asked[0]:
            self._renewal.again()

    def _renewed(self) -> bool:
        asked = self._asked
        assert asked is not None
        codes, settings, state_dir = asked
        answer = gather(codes, settings, state_dir, time.time())
        if asked != self._asked:
            return False  # nobody wants to know any more
        before, self._answer = self._answer, answer
        return _content(before) != _content(answer)


def _content(ranges: Mapping[Key, Country]) -> dict[Key, object]:
    """Without ages, which are always others."""
    return {key: (country.prefixes, country.problem) for key, country in ranges.items()}
