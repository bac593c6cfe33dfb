"""Who is connected to the OpenFlow server: how many at a time, how long without a handshake, how loudly they fail."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ryu.lib import hub

LOG = logging.getLogger("privacy_router")

PEERS = 1024  # connections at a time
HANDSHAKE_SECONDS = 10.0  # until a peer must have told its datapath id and ports
LINES_A_MINUTE = 5  # of one kind of complaint; a hostile peer shall not fill the disk
KINDS = 50  # of complaints told apart; the others share one budget


class Complaints:
    """A logger that says no more than so many lines of a kind each minute, and then how many it has kept back."""

    def __init__(self, lines_a_minute: int) -> None:
        self._limit = lines_a_minute
        self._said: dict[str, int] = {}

    def warning(self, kind: str, text: str, *values: object, extra: Mapping[str, object] | None = None) -> None:
        if not self._said:
            hub.spawn_after(60, self._new_minute)
        kind = kind if kind in self._said or len(self._said) < KINDS else "others"
        self._said[kind] = self._said.get(kind, 0) + 1
        if self._said[kind] <= self._limit:
            LOG.warning(text, *values, extra=extra)

    def _new_minute(self) -> None:
        for kind, said in self._said.items():
            if said > self._limit:
                LOG.warning("%s: %d times more in the last minute", kind, said - self._limit)
        self._said = {}


class Peers:
    """Who is connected. When there are too many, the one that has owed its handshake for longest must go."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._strangers: dict[Any, None] = {}  # their sockets, in the order of their coming
        self._switches: set[Any] = set()

    def admit(self, peer: Any) -> bool:
        if len(self._switches) >= self._limit:
            return False
        if len(self._switches) + len(self._strangers) >= self._limit:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        self._strangers[peer] = None
        return True

    def introduced(self, peer: Any) -> None:
        self._strangers.pop(peer, None)
        self._switches.add(peer)

    def replace(self, peer: Any, by: Any) -> None:
        """The same peer by another socket. Raises OSError when it had to go meanwhile."""
        if peer not in self._strangers:
            raise ConnectionAbortedError("too many peers")
        del self._strangers[peer]
        self._strangers[by] = None

    def left(self, peer: Any) -> None:
        self._strangers.pop(peer, None)
        self._switches.discard(peer)


# One for the process, as Ryu's parsers and server are.
complaints = Complaints(LINES_A_MINUTE)
peers = Peers(PEERS)
