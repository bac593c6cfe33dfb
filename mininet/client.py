"""What a person does on a client device: open a page, download, resolve a name, send a datagram.

Every function works from inside a network namespace and raises OSError (or a subclass) when there is no answer.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from namespace import inside

PATIENCE = 15.0  # seconds for an answer that must come: a first handshake that is lost is repeated after five


def web_peer(namespace: str, server: str, timeout: float = PATIENCE) -> str:
    """The address that the web server says it saw."""
    peer: str = json.loads(_get(namespace, server, "/", timeout))["peer"]
    return peer


def download_rate(namespace: str, server: str, mebibytes: int, timeout: float = 60.0) -> float:
    """Mbit/s of one download of so many MiB, connection set-up included."""
    begin = time.perf_counter()
    size = len(_get(namespace, server, f"/blob/{mebibytes}", timeout))
    if size != mebibytes << 20:
        raise OSError(f"download ended after {size} of {mebibytes << 20} bytes")
    return size * 8 / (time.perf_counter() - begin) / 1e6


def _get(namespace: str, server: str, path: str, timeout: float) -> bytes:
    with inside(namespace), closing(http.client.HTTPConnection(server, timeout=timeout)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP answer from {server}: {error!r}") from error


def echo_peer(namespace: str, server: str, timeout: float = PATIENCE) -> str:
    """The address that the UDP echo server says it saw."""
    peer, _, payload = udp(namespace, (server, 7), b"hello", timeout).partition(b" ")
    if payload != b"hello":
        raise OSError(f"the echo server did not send back what it got, but {payload!r}")
    return peer.decode()


def udp(namespace: str, server: tuple[str, int], data: bytes, timeout: float = PATIENCE) -> bytes:
    """Send one datagram and return the answer."""
    with inside(namespace):
        connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with closing(connection):
        connection.settimeout(timeout)
        connection.connect(server)
        connection.send(data)
        return connection.recv(65535)


def resolve(namespace: str, server: str, name: str, timeout: float = PATIENCE) -> str:
    """Ask a name server for an A record (RFC 1035) and return the first address."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack("!HHHHHH", 0x5052, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
    answer = udp(namespace, (server, 53), query, timeout)
    return socket.inet_ntoa(answer[len(query) + 12 : len(query) + 16])


@dataclass
class Stream:
    """A steady stream of numbered datagrams and which of them were answered."""

    sent: int = 0
    answered: set[int] = field(default_factory=set)

    @property
    def lost(self) -> int:
        return self.sent - len(self.answered)


@contextmanager
def steady_udp(namespace: str, server: tuple[str, int], per_second: int = 100) -> Iterator[Stream]:
    """Keep sending while the body runs; afterwards wait one second for the last answers."""
    stream = Stream()
    with inside(namespace):
        connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.settimeout(1.0)
    connection.connect(server)
    done = threading.Event()

    def send() -> None:
        while not done.wait(1 / per_second):
            connection.send(struct.pack("!I", stream.sent))
            stream.sent += 1

    def receive() -> None:
        while not done.is_set() or stream.lost:
            try:
                stream.answered.add(struct.unpack("!I", connection.recv(2048)[-4:])[0])
            except TimeoutError:
                if done.is_set():
                    return

    threads = [threading.Thread(target=work, daemon=True) for work in (receive, send)]
    for thread in threads:
        thread.start()
    try:
        yield stream
    finally:
        done.set()
        for thread in reversed(threads):
            thread.join()
        connection.close()
