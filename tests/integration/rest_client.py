"""Asks the REST interface inside a sandbox: one process there makes the requests, told over its standard input."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switch_sandbox import REST_PORT, Sandbox

_INSIDE = r"""
import base64, http.client, json, socket, ssl, sys, time

def request(ask):
    if ask.get("ca"):
        context = ssl.create_default_context(cafile=ask["ca"])
        connection = http.client.HTTPSConnection(ask["host"], ask["port"], timeout=60, context=context)
    else:
        connection = http.client.HTTPConnection(ask["host"], ask["port"], timeout=60)
    body = base64.b64decode(ask["body"]) if ask["body"] is not None else None
    connection.request(ask["method"], ask["path"], body, ask["headers"])
    answer = connection.getresponse()
    read = answer.read1(65536) if ask.get("first_part") else answer.read()
    connection.close()
    headers = [[name.lower(), value] for name, value in answer.getheaders()]
    return {"status": answer.status, "headers": headers, "body": base64.b64encode(read).decode()}

def raw(ask):
    started = time.monotonic()
    read = b""
    with socket.create_connection((ask["host"], ask["port"]), timeout=60) as connection:
        try:
            for part in ask["parts"]:
                connection.sendall(base64.b64decode(part))
                time.sleep(ask["pause"])
            while data := connection.recv(65536):
                read += data
        except OSError:
            pass
    return {"seconds": time.monotonic() - started, "body": base64.b64encode(read).decode()}

for line in sys.stdin:
    ask = json.loads(line)
    try:
        answer = (raw if "parts" in ask else request)(ask)
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RestClient:
    def __init__(self, sandbox: Sandbox, port: int = REST_PORT) -> None:
        self._port = port
        self._process = subprocess.Popen(
            [*sandbox.enter, sys.executable, "-I", "-c", _INSIDE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, method: str, path: str, body: bytes | str | None = None, **options: Any) -> Answer:
        """``options``: headers, host, port, ca, first_part (the answer never ends: what came first is enough)."""
        octets = body.encode() if isinstance(body, str) else body
        answer = self._exchange(
            {
                "host": "127.0.0.1",
                "port": self._port,
                "method": method,
                "path": path,
                "headers": {},
                "body": None if octets is None else base64.b64encode(octets).decode(),
                **options,
            }
        )
        return Answer(answer["status"], dict(answer["headers"]), base64.b64decode(answer["body"]))

    def get(self, path: str, **options: Any) -> Answer:
        return self.ask("GET", path, **options)

    def raw(self, *parts: bytes, pause: float = 0.0) -> tuple[float, bytes]:
        """(seconds until the server closed the connection, what it said): octets as they are, with pauses between."""
        ask = {
            "host": "127.0.0.1",
            "port": self._port,
            "parts": [base64.b64encode(part).decode() for part in parts],
            "pause": pause,
        }
        answer = self._exchange(ask)
        return answer["seconds"], base64.b64decode(answer["body"])

    def _exchange(self, ask: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(ask) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise ConnectionError(answer["error"])
        return answer


def token(sandbox: Sandbox) -> str:
    return (Path(sandbox.environment["PRIVACY_ROUTER_STATE_DIR"]) / "rest-token").read_text().strip()
