"""What a switch holds against what it shall hold, while its answers come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ryu_apps.openflow.messages import decode_flow_stats, is_more, sift_flow_stats
from ryu_apps.openflow.wire import Identity, InstalledEntry


class Sieve:
    """Lets through what differs from the wanted table, and knows what of that table has not been seen as it should be.

    So a table that is as it should be costs no memory for its entries, however many there are.
    """

    def __init__(self, wanted: Mapping[Identity, bytes]) -> None:
        self._wanted = wanted
        self.missing = dict(wanted)

    def __call__(self, reply: bytes) -> Iterator[InstalledEntry]:
        """The entries in a flow statistics reply that are not as they should be. Raises Malformed."""
        for installed in sift_flow_stats(reply, self.missing):
            identity, content = installed.entry
            right = self._wanted.get(identity)
            if right == content:  # said in other octets than ours
                self.missing.pop(identity, None)
                continue
            if right is not None:
                self.missing[identity] = right
            yield installed


class LateSieve:
    """For a switch that may hold next to nothing: the wanted table is made when an answer of several parts needs it.

    An answer of one part, some 600 entries, passes whole; ``missing`` stays None.
    """

    def __init__(self, make: Callable[[], Mapping[Identity, bytes]]) -> None:
        self._make = make
        self._sieve: Sieve | None = None

    @property
    def missing(self) -> Mapping[Identity, bytes] | None:
        return self._sieve.missing if self._sieve else None

    def __call__(self, reply: bytes) -> Iterator[InstalledEntry]:
        """Raises Malformed."""
        if self._sieve is None and is_more(reply):
            self._sieve = Sieve(self._make())
        return self._sieve(reply) if self._sieve else decode_flow_stats(reply)
