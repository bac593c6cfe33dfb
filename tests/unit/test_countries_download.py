"""Downloads from a server that may be broken, slow or hostile: on loopback, with its own authority."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from https_server import Answer, HttpsServer, endless, raw, status

from host_agent.countries import download
from host_agent.countries.values import SourceFailed

ZONE = b"# ru\n192.0.2.0/24\n198.51.100.0/24\n"
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    server = HttpsServer(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


def get(server: HttpsServer, path: str = "/ru.zone", seconds: float = 5.0) -> list[str]:
    return list(download.zone(server.url + path, "ipv4", server.authority, 1e9, seconds).prefixes)


GOOD = {
    "with its length": status(200, ZONE),
    "in chunks": raw(OK, b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(ZONE), ZONE, b"\r\n0\r\n\r\n"),
    "after a redirect": status(302, b"", "Location: /elsewhere\r\n"),
}


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD)
def test_a_zone_is_fetched(server: HttpsServer, answer: Answer) -> None:
    server.answers = {"/ru.zone": answer, "/elsewhere": status(200, ZONE)}
    copy = download.zone(server.url + "/ru.zone", "ipv4", server.authority, 1e9)
    assert list(copy.prefixes) == ["192.0.2.0/24", "198.51.100.0/24"]
    assert (copy.source, copy.time) == (server.url + "/ru.zone", 1e9)


BAD = {
    "not found": (status(404, ZONE), "404 Said so"),
    "an error page with code 200": (status(200, b"<html><h1>Oops</h1></html>\n"), "line 1: .*a page of HTML"),
    "empty": (status(200, b""), "no prefix in it"),
    "comments only": (status(200, b"# moved\n"), "no prefix in it"),
    "one bad line": (status(200, ZONE + b"192.0.2.1/24\n"), "line 4: .* has bits set behind its length"),
    "everything": (status(200, b"0.0.0.0/1\n128.0.0.0/1\n"), "together cover every ipv4 address"),
    "of the other family": (status(200, b"2001:db8::/32\n"), "line 1: '2001:db8::/32' is ipv6"),
    "cut off": (status(200, ZONE, length=100), f"cut off after {len(ZONE)} of 100 bytes"),
    "cut off at its length": (status(200, ZONE[:-2]), "the last line has no end"),
    "cut off in a chunk": (raw(OK, b"Transfer-Encoding: chunked\r\n\r\nff\r\n", ZONE), "not proper HTTP: Incomplete"),
    "without a length": (raw(OK, b"Connection: close\r\n\r\n", ZONE), "does not say how long it is"),
    "compressed": (status(200, ZONE, "Content-Encoding: gzip\r\n"), "compressed, which was not asked for"),
    "too long by its own words": (status(200, ZONE, length=1 << 40), "larger than 16 MiB"),
    "not HTTP": (raw(b"220 mail.example ESMTP\r\n"), "not proper HTTP"),
    "closed at once": (raw(), "closed connection without response"),
    "to http": (status(301, b"", "Location: http://127.0.0.1/ru.zone\r\n"), "leads to 'http://127.0.0.1/ru.zone'"),
    "to a file": (status(301, b"", "Location: file:///etc/passwd\r\n"), "only https is followed"),
    "to nowhere": (status(301, b""), "more than 5 redirects"),
    "in circles": (status(307, b"", "Location: /ru.zone\r\n"), "more than 5 redirects"),
    "with a user": (status(302, b"", "Location: https://me@127.0.0.1/\r\n"), "only https is followed"),
    "to a bad port": (status(302, b"", "Location: https://127.0.0.1:99999/\r\n"), "Port out of range"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "reason"), BAD.values(), ids=BAD)
def test_what_is_no_zone_is_refused_with_the_reason(server: HttpsServer, answer: Answer, reason: str) -> None:
    server.answers = {"/ru.zone": answer}
    with pytest.raises(SourceFailed, match=reason) as refusal:
        get(server)
    assert str(refusal.value).startswith(f"{server.url}/ru.zone: ")


@pytest.mark.parametrize("head", [b"Content-Length: 10000000000\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_endless_answer_is_left_at_the_limit(server: HttpsServer, head: bytes) -> None:
    sent: list[int] = []
    lines = b"192.0.2.0/24\n" * 5000
    part = b"%x\r\n%s\r\n" % (len(lines), lines)
    server.answers = {"/ru.zone": endless(OK + head + b"\r\n", part, sent)}
    with pytest.raises(SourceFailed, match="larger than 16 MiB"):
        get(server)
    assert sum(sent) < 2 * download.LIMIT


DRIPS = {"body": OK + b"Content-Length: 1000000\r\n\r\n", "header": OK + b"X-Slow: "}


@pytest.mark.parametrize("head", DRIPS.values(), ids=DRIPS)
def test_bytes_that_drip_in_do_not_hold_us_up(server: HttpsServer, head: bytes) -> None:
    server.answers = {"/ru.zone": endless(head, b"1", [], lambda: time.sleep(0.02))}
    begin = time.monotonic()
    with pytest.raises(SourceFailed, match="not done in"):
        get(server, seconds=0.5)
    assert time.monotonic() - begin < 8


def test_a_handshake_that_never_ends_does_not_hold_us_up(tmp_path: Path, server: HttpsServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        with pytest.raises(SourceFailed, match=r"not done in|no answer in"):
            download.fetch(f"https://127.0.0.1:{silent.getsockname()[1]}/", server.authority, 0.5)
        assert time.monotonic() - begin < 8, "nor until it is silent"


def test_who_is_not_who_they_say_is_not_listened_to(server: HttpsServer) -> None:
    server.answers, server.asked = {"/ru.zone": status(200, ZONE)}, []
    with pytest.raises(SourceFailed, match=r"its certificate is not valid: (self-signed|unable)"):
        download.fetch(server.url + "/ru.zone", None, 5)
    with pytest.raises(SourceFailed, match="its certificate is not valid: Hostname mismatch"):
        download.fetch(server.url.replace("127.0.0.1", "localhost") + "/ru.zone", server.authority, 5)
    assert server.asked == []


def test_what_cannot_be_reached_is_told(server: HttpsServer, tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="Connection refused"):
        download.fetch("https://127.0.0.1:1/", server.authority, 5)
    with pytest.raises(SourceFailed, match="only https"):
        download.fetch("http://127.0.0.1/ru.zone", server.authority, 5)
    with pytest.raises(SourceFailed, match="No such file"):
        download.fetch(server.url, tmp_path / "none.pem", 5)
