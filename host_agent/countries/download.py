"""Fetch a country's zone by HTTPS, from a server that may be broken, slow or hostile."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from host_agent.countries.store import Copy
from host_agent.countries.values import SourceFailed
from host_agent.prefixes import BadPrefixes, Family, parse

LIMIT = 16 << 20  # bytes
SECONDS = 30.0  # for one file, from the first packet to the last
SILENCE = 10.0  # seconds without a byte
REDIRECTS = 5
HEADERS = {"User-Agent": "privacy-router", "Accept-Encoding": "identity", "Connection": "close"}


def zone(url: str, family: Family, authorities: Path | None, now: float, seconds: float = SECONDS) -> Copy:
    """The prefixes at the address; every line was read before anything is returned. Raises SourceFailed."""
    data = fetch(url, authorities, seconds)
    if data and not data.endswith(b"\n"):
        raise SourceFailed(f"{url}: the last line has no end; something may be missing")
    try:
        prefixes = parse(data, family)
    except BadPrefixes as error:
        raise SourceFailed(f"{url}: {error}") from None
    if not prefixes:
        raise SourceFailed(f"{url}: no prefix in it")
    return Copy(prefixes, url, "", sha256(data).hexdigest(), now)


def fetch(url: str, authorities: Path | None, seconds: float, limit: int = LIMIT) -> bytes:
    """The whole content at the address, at most ``limit`` bytes in ``seconds``. Raises SourceFailed."""
    deadline = time.monotonic() + seconds
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise SourceFailed(f"{authorities}: {error.strerror}") from None
    place = url
    for _ in range(REDIRECTS + 1):
        if time.monotonic() >= deadline:
            raise SourceFailed(f"{url}: {_late(seconds)}")
        try:
            answer = _get(place, context, deadline, limit)
        except (SourceFailed, OSError, HTTPException, ValueError) as error:
            late = time.monotonic() >= deadline  # then the connection was cut off, and that is the reason
            raise SourceFailed(f"{url}: {_late(seconds) if late else _words(error)}") from None
        if isinstance(answer, bytes):
            return answer
        place = urljoin(place, answer.location)
    raise SourceFailed(f"{url}: more than {REDIRECTS} redirects")


class _Redirect:
    def __init__(self, location: str) -> None:
        self.location = location


def _get(url: str, context: ssl.SSLContext, deadline: float, limit: int) -> bytes | _Redirect:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or not re.fullmatch(r"[!-~]+", url):
        raise SourceFailed(f"leads to {url[:200]!r}, and only https is followed")
    left = max(0.01, deadline - time.monotonic())
    plain = socket.create_connection((parts.hostname, parts.port or 443), min(SILENCE, left))
    with (
        context.wrap_socket(plain, server_hostname=parts.hostname, do_handshake_on_connect=False) as connected,
        _cut_off(connected, deadline),
    ):
        connected.do_handshake()
        connection = HTTPSConnection(parts.hostname, parts.port)
        connection.sock = connected
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers=HEADERS)
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308):
            return _Redirect(response.getheader("Location") or "")
        if response.status != 200:
            raise SourceFailed(f"{response.status} {response.reason[:60]}")
        return _body(response, deadline, limit)


def _body(response: HTTPResponse, deadline: float, limit: int) -> bytes:
    """The content. Only an answer that says how long it is can be known to be whole."""
    declared = response.length
    if declared is None and not response.chunked:
        raise SourceFailed("the answer does not say how long it is")
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise SourceFailed("the answer is compressed, which was not asked for")
    data = bytearray()
    while len(data) <= limit and (declared is None or declared <= limit):
        part = response.read1(1 << 16)
        if not part:
            break
        data += part
    else:
        raise SourceFailed(f"larger than {limit / (1 << 20):g} MiB")
    if time.monotonic() >= deadline:
        raise TimeoutError
    if declared is not None and len(data) < declared:
        raise SourceFailed(f"cut off after {len(data)} of {declared} bytes")
    return bytes(data)


@contextmanager
def _cut_off(connected: socket.socket, deadline: float) -> Iterator[None]:
    """End the connection when the time is over, however slowly bytes drip in."""

    def end() -> None:
        with suppress(OSError):
            socket.socket.shutdown(connected, socket.SHUT_RDWR)  # past the TLS layer, which another thread is in

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _late(seconds: float) -> str:
    return f"not done in {seconds:.0f} s"


def _words(error: Exception) -> str:
    if isinstance(error, SourceFailed):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"no answer in {SILENCE:.0f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"not proper HTTP: {error or type(error).__name__}"
