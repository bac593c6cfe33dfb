"""What switches send, looked at before Ryu's parser and handlers get it.

Ryu 4.34 believes its peers: a Hello element or an action of length 0 makes its parser loop for ever, a message of an
unknown version or a handler's exception ends in a stack trace, and a peer that never speaks keeps its connection. So
this module takes the place of Ryu's parser, as ``server`` does its server's, and lets through only what Ryu can bear;
what answers our own questions never reaches Ryu's parser at all.

A peer that breaks the protocol loses its connection, with one line in the log. What still rests on Ryu: messages come
with at most 64 KiB each, and one connection reads on only when its last message has been dealt with.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ryu.base import app_manager  # noqa: F401 (before ryu.controller, which imports it in a circle)
from ryu.controller.handler import CONFIG_DISPATCHER, DEAD_DISPATCHER, MAIN_DISPATCHER
from ryu.ofproto import ofproto_parser, ofproto_v1_3_parser

from ryu_apps.openflow.messages import HEADER, VERSION, Kind, decode_flow_stats, multipart_kind
from ryu_apps.openflow.wire import Malformed
from ryu_apps.switches.peers import HANDSHAKE_SECONDS, PEERS, complaints, peers
from ryu_apps.turns import give_way

Taker = Callable[[bytes], bool]
"""Takes a message (True), or leaves it to Ryu."""

_SHORTEST: dict[int, int] = {Kind.ERROR: 12, Kind.EXPERIMENTER: 16, Kind.MULTIPART_REPLY: 16}  # octets

_LARGE = 4096  # octets

_TAKER = "privacy_router_taker"  # an attribute of Ryu's datapath

# Multipart replies that Ryu parses safely: its own question of the handshake, and those of ryu.lib.ofctl_v1_3.
_FLOW, _FIXED_SIZE = 1, {0: 1056, 3: 24, 4: 112, 13: 64}


def install() -> None:
    """Takes the parser's place. Before the OpenFlow server starts; for all applications of this process."""
    for version in range(256):
        ofproto_parser.register_msg_parser(version)(_parse)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * PEERS)), hard))


def hand_to(datapath: Any, taker: Taker) -> None:
    """From now on, the handshake being over, every message of the switch is offered to ``taker`` first."""
    setattr(datapath, _TAKER, taker)
    peers.introduced(datapath.socket)


def hang_up(datapath: Any, reason: str) -> None:
    """Ends a connection at once, with a line in the log."""
    complaints.warning(reason.partition(":")[0], "peer %s: %s; connection closed", _peer_text(datapath), reason)
    datapath.close()
    with suppress(OSError):  # it may have gone by itself
        datapath.socket.shutdown(socket.SHUT_RDWR)


def hang_up_unfinished(datapath: Any) -> None:
    """Ends a connection whose peer has not told who it is."""
    if datapath.state not in (MAIN_DISPATCHER, DEAD_DISPATCHER):
        hang_up(datapath, f"no handshake within {HANDSHAKE_SECONDS:.0f} s")


def _parse(datapath: Any, version: int, kind: int, length: int, xid: int, buffer: bytearray) -> Any:
    """In the place of Ryu's parsers of every version: a message of Ryu's, or None for what ends here."""
    octets = bytes(buffer)
    if datapath.state == DEAD_DISPATCHER:
        return None
    try:
        if len(octets) != int.from_bytes(octets[2:4], "big"):
            raise Malformed("a message shorter than its header")
        if len(octets) < _SHORTEST.get(kind, HEADER):
            raise Malformed("a message without all of its fixed part")
        if kind == Kind.HELLO:
            _check_hello(octets)
            return _ryus(datapath, version, kind, length, xid, buffer)
        if version != VERSION:
            raise Malformed(f"OpenFlow version {version:#04x}, after the Hello")
        taker = getattr(datapath, _TAKER, None)
        if taker is not None and taker(octets):
            if len(octets) > _LARGE:
                give_way()  # whoever asked shall read it before the next one comes
            return None
        return _ryus(datapath, version, kind, length, xid, buffer) if _bearable(datapath, kind, octets) else None
    except Malformed as error:
        hang_up(datapath, f"malformed message: type {kind}: {error}")
    except Exception as error:  # of Ryu's parser, over something that nobody has thought of
        hang_up(datapath, f"unreadable message: type {kind}: {type(error).__name__}")
    return None


def _ryus(datapath: Any, version: int, kind: int, length: int, xid: int, buffer: bytearray) -> Any:
    # A Hello of another version is read as one of ours, so that Ryu's handler can refuse it by its number.
    return ofproto_v1_3_parser.msg_parser(datapath, version, kind, length, xid, buffer)


def _check_hello(octets: bytes) -> None:
    offset = HEADER
    while offset < len(octets):
        element = int.from_bytes(octets[offset + 2 : offset + 4], "big")
        if element < 4 or offset + element > len(octets):
            raise Malformed("a Hello element whose length cannot be")
        offset += element + -element % 8


def _bearable(datapath: Any, kind: int, octets: bytes) -> bool:
    """Whether Ryu shall have the message. Everything else ends here: packets, expired entries, answers to nobody.

    Raises Malformed.
    """
    match kind:
        case Kind.ECHO_REQUEST | Kind.ECHO_REPLY:
            return True
        case Kind.ERROR:
            # Of ours the connection has taken them; Ryu's handler fails over some others'.
            if datapath.state != MAIN_DISPATCHER:
                raise Malformed(f"an error instead of an answer: {octets[HEADER:64]!r}")
            return False
        case Kind.FEATURES_REPLY:
            _check_size(octets, 32)
            return bool(datapath.state == CONFIG_DISPATCHER)
        case Kind.PORT_STATUS:
            _check_size(octets, 80)
            return True
        case Kind.MULTIPART_REPLY:
            return _bearable_reply(octets)
    return False


def _bearable_reply(octets: bytes) -> bool:
    subject = multipart_kind(octets)
    if subject == _FLOW:
        for _ in decode_flow_stats(octets):
            pass
        return True
    size = _FIXED_SIZE.get(subject or 0)
    if size is None:
        return False
    if (len(octets) - 16) % size:
        raise Malformed("a multipart reply that ends within a record")
    return True


def _check_size(octets: bytes, size: int) -> None:
    if len(octets) != size:
        raise Malformed(f"{len(octets)} octets instead of {size}")


def _peer_text(datapath: Any) -> str:
    address = ":".join(map(str, datapath.address[:2])) if datapath.address else "?"
    return f"{address} (datapath {datapath.id:016x})" if datapath.id is not None else address
