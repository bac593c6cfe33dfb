"""A conversation with one part of the kernel by netlink(7), in the network namespace it was opened in."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

from host_agent.drivers import netlink_wire as wire

ROUTE, XFRM, NETFILTER = 0, 6, 12  # protocols
SOL_NETLINK, CAP_ACK, EXT_ACK = 270, 10, 11
TIMEOUT = 20.0  # seconds for an answer
BUFFER = 1 << 17  # bytes; the kernel's datagrams are smaller
ATTEMPTS = 5  # to list what changes meanwhile


class Interrupted(OSError):
    """What was listed changed meanwhile."""


class NetlinkSocket:
    def __init__(self, protocol: int) -> None:
        self._sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(TIMEOUT)
        for option in (CAP_ACK, EXT_ACK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(self, *question: bytes) -> Iterator[bytes]:
        """The bodies of the answer's messages. Raises OSError with the kernel's error number and words."""
        self._sequence += 1
        self._socket.send(b"".join(wire.numbered(message, self._sequence) for message in question))
        interrupted = 0
        while True:
            for kind, flags, sequence, body in wire.messages(self._socket.recv(BUFFER)):
                if sequence != self._sequence:
                    continue  # the end of an answer that nobody waited for
                interrupted |= flags & wire.INTERRUPTED
                if kind == wire.DONE and interrupted:
                    raise Interrupted("what the kernel listed changed meanwhile")
                if kind in (wire.ERROR, wire.DONE) and body:
                    code, words = wire.error_of(flags if kind == wire.ERROR else 0, body)
                    if code:
                        raise OSError(code, words or os.strerror(code))
                if kind in (wire.ERROR, wire.DONE):
                    return
                yield body

    def list(self, question: bytes) -> list[bytes]:
        """A whole answer of one moment. Raises as ``ask``."""
        for _ in range(ATTEMPTS):
            with suppress(Interrupted):
                return [*self.ask(question)]
        return [*self.ask(question)]

    def order(self, *messages: bytes) -> None:
        """Several go as one; one of them asks for an ACK. Raises as ``ask``."""
        for _ in self.ask(*messages):
            pass
