"""A connection to Open vSwitch without Ryu: to look at a bridge from outside, and for the connection's own tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import eventlet
from eventlet.green import socket

from ryu_apps.switches.connection import Connection, Reading
from ryu_apps.switches.plan import Change


class PlainDatapath:
    """The part of Ryu's datapath that a connection uses, over the bridge's own management socket."""

    def __init__(self, path: Path, on_news: Callable[[bytes], None] = lambda _octets: None) -> None:
        self.xid = 0xFFFFFFF0  # so that the tests pass the end of the number space
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.sendall(bytes((4, 0, 0, 8, 0, 0, 0, 1)))
        self.connection = Connection(self, on_news)
        self.deaf = False
        eventlet.spawn(self._receive)

    def send(self, messages: bytes) -> bool:
        self._socket.sendall(messages)
        return True

    def _receive(self) -> None:
        pending = b""
        while data := self._socket.recv(65536):
            pending += data
            while len(pending) >= 8 and len(pending) >= (length := int.from_bytes(pending[2:4], "big")):
                if not self.deaf:
                    self.connection.take(pending[:length])
                pending = pending[length:]
        self.connection.ended()


def committed(connection: Connection, change: Change) -> Reading:
    """What the switch holds after the change."""
    bundle = connection.fill([change], len(change))
    return connection.commit(bundle) if bundle else connection.read()
