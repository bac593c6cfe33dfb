"""Who may be connected to the OpenFlow server when there are too many."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ryu_apps.switches.peers import Peers


@pytest.fixture
def ends() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Connections: (the server's end, the peer's)."""
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(4)]
        for each in sum(pairs, ()):
            stack.enter_context(each)
            each.settimeout(0)
        yield pairs


def is_cut(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


def test_who_has_owed_its_handshake_for_longest_makes_room(ends: list[tuple[socket.socket, socket.socket]]) -> None:
    peers = Peers(3)
    for server, _ in ends[:3]:
        assert peers.admit(server)
    peers.introduced(ends[0][0])
    assert peers.admit(ends[3][0])
    assert [is_cut(peer) for _, peer in ends] == [False, True, False, False], "the switch stays, though it came first"


def test_where_all_are_switches_nobody_more_comes_in(ends: list[tuple[socket.socket, socket.socket]]) -> None:
    peers = Peers(2)
    for server, _ in ends[:2]:
        peers.admit(server)
        peers.introduced(server)
    assert not peers.admit(ends[2][0])
    assert not any(is_cut(peer) for _, peer in ends)
    peers.left(ends[0][0])
    assert peers.admit(ends[2][0])


def test_a_peer_that_had_to_go_does_not_come_back_by_its_tls_socket(
    ends: list[tuple[socket.socket, socket.socket]],
) -> None:
    peers = Peers(1)
    peers.admit(ends[0][0])
    peers.replace(ends[0][0], ends[1][0])
    assert peers.admit(ends[2][0])
    assert is_cut(ends[1][1]) and not is_cut(ends[0][1]), "it counts by its later socket"
    with pytest.raises(ConnectionAbortedError):
        peers.replace(ends[1][0], ends[3][0])
