"""The events as a stream: server-sent events (WHATWG HTML, 9.2), numbered, so that a reader can go on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ryu.app.wsgi import Response

from ryu_apps.events import Event
from ryu_apps.rest.api import Service
from ryu_apps.rest.problem import HttpProblem
from ryu_apps.rest.server import STREAM

EVENT_STREAM = "text/event-stream"
STREAMS = 32  # open at once
HEARTBEAT = 15.0  # seconds of silence before a comment is sent: a reader that is gone is noticed by it


def event_view(happened: Event) -> dict[str, Any]:
    return {
        "number": happened.number,
        "time": happened.time,
        "level": happened.level,
        "kind": happened.kind,
        "message": happened.message,
        "facts": dict(happened.facts),
    }


def stream(service: Service, request: Any, since: int | None) -> Response:
    """Events after ``since``, or after the reader's Last-Event-ID, else from now on. Raises HttpProblem."""
    if service.streams >= STREAMS:
        raise HttpProblem(503, f"{STREAMS} streams are open already", headers={"Retry-After": "10"})
    last = request.headers.get("Last-Event-ID", "")
    if last.isascii() and last.isdigit() and len(last) <= 20:
        since = int(last)
    if since is None or since > service.events.last:  # the latter when the clock was set back between two starts
        since = service.events.last if since is None else 0
    request.environ[STREAM]()
    request.environ["eventlet.minimum_write_chunk_size"] = 0  # every event leaves when it happens
    return Response(content_type=EVENT_STREAM, app_iter=_Stream(service, since))


class _Stream:
    """Counted while it is open: the server closes it, also when nothing of it was read."""

    def __init__(self, service: Service, since: int) -> None:
        service.streams += 1
        self._service: Service | None = service
        self._events = _chunks(service, since)

    def __iter__(self) -> Iterator[bytes]:
        return self._events

    def close(self) -> None:
        if self._service is not None:
            self._service.streams -= 1
            self._service = None


def _chunks(service: Service, since: int) -> Iterator[bytes]:
    yield b"retry: 2000\n\n"
    while True:
        happened = service.events.wait(since, HEARTBEAT)
        yield b"".join(map(_chunk, happened)) or b": still here\n\n"
        since = happened[-1].number if happened else since


def _chunk(happened: Event) -> bytes:
    data = json.dumps(event_view(happened), ensure_ascii=False, default=str)
    return f"id: {happened.number}\nevent: {happened.kind}\ndata: {data}\n\n".encode()
