"""The HTTP server under the REST interface: TLS, and bounds on time, size and number that no client can exceed.

Ryu's own server has none of these, so its router runs on eventlet's server here. All times in seconds.
"""

from __future__ import annotations

import socket
import ssl
from http import HTTPStatus
from typing import Any

import eventlet.wsgi
from ryu.lib import hub

from ryu_apps.listening import listen
from ryu_apps.rest.problem import CONTENT_TYPE, HttpProblem, json_line, problem_document

CONNECTIONS = 128
IDLE = 10.0  # for a request line, TLS handshake included
HEAD = 5.0  # for all header lines
SILENCE = 10.0  # for one read or write
RESPONSE = 120.0  # for a whole answer; a stream of events is bounded in number instead
LINGER = 1.0  # after an answer to a request that was not read to its end
REQUEST_LINE = 8192  # octets
_PAUSE = 0.2  # after a connection that could not be accepted
CLOSE = "privacy_router.close"  # environ: call it to have the connection closed behind the answer
STREAM = "privacy_router.stream"  # environ: call it to lift the bound on the whole answer


class Listener:
    """A listening socket. With TLS the handshake happens at a connection's first read, within that one's time."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Raises CannotListen."""
        self._socket = listen(host, port)
        self.family = self._socket.family
        self._context = context

    def accept(self) -> tuple[Any, Any]:
        while True:
            try:
                connection, address = self._socket.accept()
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                return connection, address
            except OSError:  # a client that has gone, or no file descriptor left: eventlet would stop serving
                hub.sleep(_PAUSE)

    def getsockname(self) -> Any:
        return self._socket.getsockname()

    def close(self) -> None:
        self._socket.close()


def serve(listener: Listener, application: Any, is_tls: bool) -> None:
    """Serves for ever."""
    eventlet.wsgi.server(
        listener,
        application,
        log=eventlet.wsgi.LoggerNull(),  # what is worth a line is logged where it is known what it means
        environ={"wsgi.url_scheme": "https" if is_tls else "http"},
        max_size=CONNECTIONS,
        protocol=BoundedProtocol,
        keepalive=IDLE,
        log_x_forwarded_for=False,
        log_output=True,
        url_length_limit=REQUEST_LINE,
        debug=False,
        socket_timeout=SILENCE,
    )


class BoundedProtocol(eventlet.wsgi.HttpProtocol):  # type: ignore[misc]
    """A connection. What the server itself refuses is answered by a problem document, as everything else is."""

    _was_refused = False

    def _read_request_line(self) -> Any:
        with hub.Timeout(IDLE, TimeoutError()):
            try:
                line = super()._read_request_line()
            except ssl.SSLError:
                return ""  # no TLS, or none that we speak
        if len(line) < REQUEST_LINE:
            return line
        self.send_error(414)
        return ""

    def parse_request(self) -> bool:
        try:
            with hub.Timeout(HEAD, TimeoutError()):
                parsed = super().parse_request()
        except (eventlet.wsgi.HeaderLineTooLong, eventlet.wsgi.HeadersTooLarge):
            self.send_error(431)
            return False
        if not parsed:
            return False
        length, encoding = self.headers.get_all("content-length", []), self.headers.get("transfer-encoding")
        if (length and encoding) or len(length) > 1 or not all(text.isascii() and text.isdigit() for text in length):
            self.send_error(400, "Content-Length")
            return False
        if encoding is not None and encoding.lower() != "chunked":
            self.send_error(501, "Transfer-Encoding")
            return False
        return True

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[CLOSE] = self._close_behind_answer
        return environ

    def _close_behind_answer(self) -> None:
        self.close_connection = self._was_refused = True

    def finish(self) -> None:
        if self._was_refused:
            self._linger()
        super().finish()

    def _linger(self) -> None:
        """What a client still sends is read for a moment: closed over unread octets, it might not get its answer."""
        try:
            with hub.Timeout(LINGER, TimeoutError()):
                self.connection.shutdown(socket.SHUT_WR)
                while self.connection.recv(65536):
                    pass
        except OSError:
            pass

    def handle_one_response(self) -> None:
        bound = hub.Timeout(RESPONSE, TimeoutError())
        self.environ[STREAM] = bound.cancel
        with bound:
            super().handle_one_response()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        phrase = HTTPStatus(code).phrase
        body = json_line(problem_document(HttpProblem(code, message or phrase))).encode()
        head = f"HTTP/1.1 {code} {phrase}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
        self.wfile.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.wfile.flush()
        self._close_behind_answer()
