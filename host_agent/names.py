"""Host names' addresses for a program that must not wait for a name server: asked again in the background.

An address that is in use stays in use as long as the name still has it, in whatever order and company a name
server gives its answers; and a name server that is silent takes no address away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address

Addresses = tuple[IPv4Address, ...]
Lookup = Callable[[str, list[str]], Addresses]


def renewed(known: Addresses, answer: Addresses) -> Addresses:
    """What to go on with. Pure. The first address is the one in use."""
    return known if not answer or (known and known[0] in answer) else answer


class Names:
    """``lookup`` answers at once for a name that was ever answered; ``changed`` is called, in the background
    thread, after a name got other addresses."""

    def __init__(self, ask: Lookup, kept: Mapping[str, Addresses], changed: Callable[[], None]) -> None:
        self._ask, self._kept, self._changed = ask, dict(kept), changed
        self._known: dict[str, Addresses] = {}
        self._asking = threading.Event()

    def lookup(self, name: str, missing: list[str]) -> Addresses:
        """Asks only for a name it does not know; where that fails, the address of the last good state serves."""
        if name not in self._known:
            complaints: list[str] = []
            answer = renewed(self._kept.get(name, ()), self._ask(name, complaints))
            if not answer:
                missing += complaints
                return ()
            self._known[name] = answer
        return self._known[name]

    def refresh(self) -> None:
        """Ask again for all known names, in the background; not again before the last asking has ended."""
        if not self._asking.is_set():
            self._asking.set()
            threading.Thread(target=self._refresh, name="names", daemon=True).start()

    def _refresh(self) -> None:
        try:
            before = dict(self._known)
            after = {name: renewed(known, self._ask(name, [])) for name, known in before.items()}
            if after != before:
                self._known.update(after)
                self._changed()
        finally:
            self._asking.clear()
