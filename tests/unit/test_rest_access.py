"""Who may ask what of the REST interface: pure verdicts, and the token's file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ryu_apps.rest.access import (
    LOOPBACK_NAMES,
    PEERS,
    RequestRate,
    host_allowed,
    listening_refusal,
    origin_allowed,
    token_matches,
)
from ryu_apps.rest.token_file import TokenUnusable, read_or_make_token

TOKEN = "t" * 43


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
def test_loopback_needs_nothing(host: str) -> None:
    assert listening_refusal(host, has_tls=False, has_token=False) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1", "router.example", "127.0.0.1.example"])
def test_elsewhere_needs_tls_and_a_token(host: str) -> None:
    for has_tls, has_token in ((False, False), (True, False), (False, True)):
        assert listening_refusal(host, has_tls, has_token)
    assert listening_refusal(host, has_tls=True, has_token=True) is None


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8080", "127.0.0.1:1", "[::1]", "[::1]:8080"])
def test_names_of_ours(host: str) -> None:
    assert host_allowed(host, LOOPBACK_NAMES)


@pytest.mark.parametrize(
    "host", ["", ":8080", "evil.example", "localhost.evil.example", "localhost@evil.example", "[::", "a/b"]
)
def test_names_of_others(host: str) -> None:
    assert not host_allowed(host, LOOPBACK_NAMES)


def test_a_page_may_ask_its_own_server_only() -> None:
    assert origin_allowed(None, "http", "localhost:8080")
    assert origin_allowed("http://localhost:8080", "http", "localhost:8080")
    for origin in ("http://localhost", "https://localhost:8080", "null", "", "http://localhost:8080.evil.example"):
        assert not origin_allowed(origin, "http", "localhost:8080")


def test_only_the_token_matches() -> None:
    assert token_matches(f"Bearer {TOKEN}", TOKEN) and token_matches(f"bearer  {TOKEN} ", TOKEN)
    for given in (
        None,
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer é",
    ):
        assert not token_matches(given, TOKEN)
    assert not token_matches("Bearer ", "") and not token_matches(None, "")


def test_so_many_at_once_then_so_many_a_second() -> None:
    rate = RequestRate(per_second=2, burst=3)
    assert [rate.wait_seconds("a", 10.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate.wait_seconds("b", 10.0) == 0  # another peer
    assert rate.wait_seconds("a", 10.25) == 0.25
    assert rate.wait_seconds("a", 10.5) == 0
    assert [rate.wait_seconds("a", 100.0) for _ in range(4)] == [0, 0, 0, 0.5]  # a rest does not add up for ever


def test_the_memory_of_peers_is_bounded() -> None:
    rate = RequestRate(per_second=1, burst=1)
    for peer in range(3 * PEERS):
        rate.wait_seconds(f"peer {peer}", 0.0)
    assert len(rate._buckets) == PEERS


def test_the_token_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "state" / "rest-token"
    made = read_or_make_token(path)
    assert len(made) == 43 and read_or_make_token(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and os.listdir(path.parent) == ["rest-token"]
    assert read_or_make_token(tmp_path / "another") != made


@pytest.mark.parametrize("text", ["", "short", "with a space " + TOKEN, "é" * 40, "\0" * 40])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(TokenUnusable, match="holds no token"):
        read_or_make_token(path)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_token_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(mode)
    with pytest.raises(TokenUnusable, match="others may read it"):
        read_or_make_token(path)
    with pytest.raises(TokenUnusable, match="cannot be"):
        read_or_make_token(tmp_path / "token" / "below a file")
