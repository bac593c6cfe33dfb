"""Asks the REST interface inside a sandbox, by connections that this process opens in there."""

from __future__ import annotations

import json
import socket
import ssl
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

from sandbox import Sandbox

REST_PORT = 8080
PATIENCE = 60  # seconds


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class RestClient:
    """Each request has a connection of its own. Raises OSError where nobody listens."""

    sandbox: Sandbox
    port: int = REST_PORT

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        ca: Path | None = None,
        first_part: bool = False,
    ) -> Answer:
        """``ca``: speak TLS. ``first_part``: the answer never ends, what comes first is enough."""
        port = port or self.port
        if ca:
            context = ssl.create_default_context(cafile=ca)
            connection: HTTPConnection = HTTPSConnection(host, port, timeout=PATIENCE, context=context)
        else:
            connection = HTTPConnection(host, port, timeout=PATIENCE)
        with self.sandbox.network():
            connection.connect()
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, headers or {})
            answer = connection.getresponse()
            read = answer.read1(65536) if first_part else answer.read()
        finally:
            connection.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, read)

    def get(self, path: str, **options: Any) -> Answer:
        return self.ask("GET", path, **options)

    def raw(self, *parts: bytes, pause: float = 0.0) -> tuple[float, bytes]:
        """(seconds until the server closed the connection, what it said): octets as they are, with pauses between."""
        started = time.monotonic()
        read = b""
        with self.sandbox.network():
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        with connection:
            try:
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)
                while data := connection.recv(65536):
                    read += data
            except OSError:
                pass
        return time.monotonic() - started, read


def token(sandbox: Sandbox) -> str:
    return (Path(sandbox.environment["PRIVACY_ROUTER_STATE_DIR"]) / "rest-token").read_text().strip()
