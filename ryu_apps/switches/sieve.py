"""What a switch holds against what it shall hold, while its answers come in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ryu_apps.openflow.messages import sift_flow_stats
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
