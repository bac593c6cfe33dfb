"""An HTTPS server on loopback with an authority of its own, that answers as a test says: also badly."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from certificates import Authority

Answer = Callable[[socket.socket], None]  # writes to the connection, after the request was read


class HttpsServer:
    """``answers`` maps paths to what is sent; ``asked`` lists the paths that were asked for, in order."""

    def __init__(self, directory: Path) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        authority = Authority(directory, "authority")
        self.authority = authority.certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("server", "127.0.0.1"))
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(connection, server_side=True) as stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += stream.recv(4096)
            path = request.split()[1].decode()
            self.asked.append(path)
            self.answers.get(path, status(404, b"no such zone\n"))(stream)


def status(code: int, body: bytes, headers: str = "", length: int | None = None) -> Answer:
    """A whole answer; ``length`` is what it claims, if that is not the truth."""
    claimed = len(body) if length is None else length

    def send(stream: socket.socket) -> None:
        head = f"HTTP/1.1 {code} Said so\r\nContent-Length: {claimed}\r\nConnection: close\r\n{headers}\r\n"
        stream.sendall(head.encode() + body)

    return send


def raw(*parts: bytes) -> Answer:
    """Exactly these bytes."""
    return lambda stream: stream.sendall(b"".join(parts))


def endless(head: bytes, part: bytes, sent: list[int], pause: Callable[[], object] = lambda: None) -> Answer:
    """Without an end; ``sent`` has the number of bytes that were taken."""

    def send(stream: socket.socket) -> None:
        stream.sendall(head)
        while True:
            stream.sendall(part)
            sent.append(len(part))
            pause()

    return send
