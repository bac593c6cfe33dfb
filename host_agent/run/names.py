"""Addresses of host names for a program that must not wait for a name server: renewed in the background."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from host_agent.facts.names import Addresses, Answer, Ask, asking, taken
from host_agent.run.background import Background


class Names:
    """``lookup`` answers at once for a name that was ever answered, and asks only for one that never was."""

    def __init__(self, ask: Ask, kept: Mapping[str, Answer], changed: Callable[[], None]) -> None:
        self._ask, self._kept = ask, kept
        self._known: dict[str, Answer] = {}
        self._renewal = Background("names", self._renewed, changed)

    def lookup(self, name: str, missing: list[str]) -> Answer:
        if name not in self._known:
            answer = self._kept.get(name) or asking({}, self._ask)(name, missing)
            if not answer.addresses:
                return answer
            self._known[name] = answer
        return self._known[name]

    def refresh(self) -> None:
        """Ask again for all known names, in the background."""
        self._renewal.again()

    def _renewed(self) -> bool:
        before = dict(self._known)
        after = {name: taken(known, self._ask(name, []), time.time()) for name, known in before.items()}
        self._known.update(after)
        return any(_said(after[name]) != _said(before[name]) for name in before)


def _said(answer: Answer) -> tuple[Addresses, bool]:
    return answer.addresses, answer.old
