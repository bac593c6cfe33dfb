"""A peer that speaks OpenFlow 1.3 badly: ``fake_switch.py MODE [NUMBER]``; prints what it saw, as lines.

Modes are the functions below; NUMBER is how often, or how many.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER, FEATURES_REPLY, PACKET_IN, PORT_STATUS = 0, 1, 2, 3, 4, 6, 10, 12
FEATURES_REQUEST, MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 5, 18, 19, 20, 21
PORT_DESC, FLOW = 13, 1
LOCAL = 0xFFFFFFFE
Message = tuple[int, int, bytes]


def message(kind: int, xid: int, body: bytes = b"", version: int = 4) -> bytes:
    return struct.pack("!BBHI", version, kind, 8 + len(body), xid) + body


def connect() -> socket.socket:
    return socket.create_connection(("127.0.0.1", 6653), timeout=20)


def messages(peer: socket.socket) -> Iterator[Message]:
    try:
        while len(head := peer.recv(8, socket.MSG_WAITALL)) == 8:
            _, kind, length, xid = struct.unpack("!BBHI", head)
            yield kind, xid, peer.recv(length - 8, socket.MSG_WAITALL) if length > 8 else b""
    except OSError:
        return


def multipart(kind: int, xid: int, body: bytes = b"", more: bool = False) -> bytes:
    return message(MULTIPART_REPLY, xid, struct.pack("!HH4x", kind, int(more)) + body)


def port(name: bytes, number: int) -> bytes:
    return struct.pack("!I4x6s2x16sIIIIIIII", number, b"\2\0\0\0\0\1", name, 0, 0, 0, 0, 0, 0, 0, 0)


PORTS = b"".join(
    port(name, number)
    for number, name in enumerate(
        (b"internal_100", b"warp0", b"internal_101", b"internal_200", b"internal_201", b"nm-privacy"), 1
    )
) + port(b"ovsbr0", LOCAL)


def serve(peer: socket.socket, dpid: int, own: Callable[[Message], bytes | None]) -> None:
    """A switch with the policy's ports and no entries, save for what ``own`` answers (None: the ordinary answer)."""
    peer.sendall(message(HELLO, 1))
    for received in messages(peer):
        kind, xid, body = received
        answer = own(received)
        if answer is None and kind == FEATURES_REQUEST:
            answer = message(FEATURES_REPLY, xid, struct.pack("!QIBB2xII", dpid, 0, 254, 0, 0, 0))
        elif answer is None and kind == MULTIPART_REQUEST:
            asked = struct.unpack_from("!H", body)[0]
            answer = multipart(asked, xid, PORTS if asked == PORT_DESC else body[8:16] if asked == 0xFFFF else b"")
        elif answer is None and kind == BARRIER_REQUEST:
            answer = message(BARRIER_REPLY, xid)
        elif answer is None and kind == EXPERIMENTER and struct.unpack_from("!I", body, 4)[0] == 2300:
            bundle, control, flags = struct.unpack_from("!IHH", body, 8)
            answer = message(EXPERIMENTER, xid, body[:8] + struct.pack("!IHH", bundle, control + 1, flags))
        if answer:
            peer.sendall(answer)


def gone(peer: socket.socket) -> None:
    """Waits until the controller has ended the connection."""
    try:
        while peer.recv(65536):
            pass
    except TimeoutError:
        print("still connected")
    except OSError:
        pass


def garbage(number: int) -> None:
    for _ in range(number):
        peer = connect()
        peer.sendall(random.randbytes(random.randrange(1, 3000)))
        peer.shutdown(socket.SHUT_WR)
        gone(peer)


def wrong_versions(number: int) -> None:
    for version in (0, 1, 2, 3, 5, 6, 7, 99, 255)[:number]:
        for kind in (HELLO, FEATURES_REPLY):
            peer = connect()
            peer.sendall(message(kind, 1, version=version) + message(FEATURES_REPLY, 2, bytes(24), version=version))
            peer.shutdown(socket.SHUT_WR)
            gone(peer)


def malformed(_number: int) -> None:
    """Messages whose lengths cannot be, in every state; some of them would keep Ryu's own parser busy for ever."""
    endless_hello = message(HELLO, 1, struct.pack("!HH", 7, 0) + bytes(4))
    instruction = struct.pack("!HH4x", 4, 0)
    action = struct.pack("!HH4xHH4x", 4, 24, 0, 0) + bytes(8)
    entries = [
        struct.pack("!HBxIIHHHH4xQQQHH4x", 56 + len(tail), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 4) + tail
        for tail in (instruction, action, bytes(3))
    ]
    bad_entry = struct.pack("!HBxIIHHHH4xQQQHH4x", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 4)
    bad_match = struct.pack("!HBxIIHHHH4xQQQHHHBB", 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 12, 0x8000, 22, 255) + bytes(8)
    replies = [*entries, bad_entry, bad_match, b"x"]
    peer = connect()
    peer.sendall(endless_hello)
    gone(peer)
    for number, body in enumerate(replies):

        def own(received: Message, body: bytes = body) -> bytes | None:
            kind, xid, asked = received
            return multipart(FLOW, xid, body) if kind == MULTIPART_REQUEST and asked[:2] == b"\0\1" else None

        serve(connect(), 1000 + number, own)
    for number, sent in enumerate(
        (
            message(MULTIPART_REPLY, 0, b""),
            message(ERROR, 0, b"x"),
            message(PORT_STATUS, 0, b""),
            multipart(FLOW, 0xFFFFFF, bad_entry),
            multipart(8, 0xFFFFFF, bytes(64)),
            multipart(PORT_DESC, 0xFFFFFF, b"x"),
            multipart(0xFFFF, 0, struct.pack("!IIHH", 0x4F4E4600, 1870, 0, 0)),
            multipart(0xFFFF, 0, struct.pack("!IIHH", 0x4F4E4600, 1870, 40, 0) + bytes(8)),
            struct.pack("!BBHI", 4, FEATURES_REPLY, 3, 1),
        )
    ):
        left, peer = [sent], connect()

        def also(received: Message, left: list[bytes] = left, peer: socket.socket = peer) -> bytes | None:
            if received[0] == BARRIER_REQUEST and left:
                peer.settimeout(0.5)
                return message(BARRIER_REPLY, received[1]) + left.pop()
            return None

        serve(peer, 2000 + number, also)


def halves(number: int) -> None:
    """Disconnects in the middle of everything."""
    for cut in range(number):
        peer = connect()
        whole = message(HELLO, 1) + message(FEATURES_REPLY, 2, struct.pack("!QIBB2xII", 3000 + cut, 0, 254, 0, 0, 0))
        whole += multipart(PORT_DESC, 3, PORTS)
        peer.sendall(whole[: 1 + cut * len(whole) // number])
        peer.close()


def crowd(number: int) -> None:
    """So many connections, none of which says a word or ends by itself."""
    peers = []
    for _ in range(number):
        try:
            peers.append(connect())
        except OSError:
            time.sleep(0.05)
    print("crowded", flush=True)
    time.sleep(60)


def packets(number: int) -> None:
    """A flood of packets nobody asked for."""
    packet = message(PACKET_IN, 0, struct.pack("!IHBBQHH4x2x", 0xFFFFFFFF, 1400, 0, 0, 0, 1, 4) + bytes(1400))
    many = packet * 40
    state = {"left": number}

    def own(received: Message) -> bytes | None:
        if received[0] != BARRIER_REQUEST or not state["left"]:
            return None
        peer.sendall(message(BARRIER_REPLY, received[1]))
        while state["left"] > 0:
            peer.sendall(many)
            state["left"] -= 40
        print("flooded", flush=True)
        return b""

    peer = connect()
    peer.settimeout(60)
    serve(peer, 4000, own)


def endless(_number: int) -> None:
    """A statistics reply that never ends."""
    entry = struct.pack("!HBxIIHHHH4xQQQHH4x", 56, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 4)

    def own(received: Message) -> bytes | None:
        kind, xid, asked = received
        if kind != MULTIPART_REQUEST or asked[:2] != b"\0\1":
            return None
        part = multipart(FLOW, xid, entry * 1100, more=True)
        try:
            while True:
                peer.sendall(part)
        except OSError:
            print("cut off", flush=True)
        return b""

    peer = connect()
    serve(peer, 5000, own)


def refusing(_number: int) -> None:
    """Refuses every bundle."""

    def own(received: Message) -> bytes | None:
        kind, xid, body = received
        if kind == EXPERIMENTER:
            peer.settimeout(0.5)
            return message(ERROR, xid, struct.pack("!HHI", 0xFFFF, 2300, 0x4F4E4600) + message(kind, xid, body)[:64])
        return None

    peer = connect()
    serve(peer, 7000, own)


def many(number: int) -> None:
    """One after the other, each under another datapath id."""
    for dpid in range(number):
        state = {"barriers": 0}

        def own(received: Message, state: dict[str, int] = state) -> bytes | None:
            state["barriers"] += received[0] == BARRIER_REQUEST
            if state["barriers"] > 1:
                raise OSError
            return None

        peer = connect()
        try:
            serve(peer, 100_000 + dpid, own)
        except OSError:
            peer.close()


def dawdler(number: int) -> None:
    """Greets and answers echo requests, and never says who it is; gives up after NUMBER seconds."""
    end = time.monotonic() + number

    def own(received: Message) -> bytes | None:
        if time.monotonic() > end:
            raise OSError("still connected")
        kind, xid, body = received
        return message(ECHO_REPLY, xid, body) if kind == ECHO_REQUEST else b""

    serve(connect(), 0, own)


def impostor(number: int) -> None:
    """Says that it is the switch with the datapath id NUMBER."""
    peer = connect()
    peer.settimeout(10)
    serve(peer, number, lambda _received: None)
    print("cut off", flush=True)


def chatter(number: int) -> None:
    """Port changes and echo requests without end, and never reads an answer."""
    state = {"left": number}

    def own(received: Message) -> bytes | None:
        if received[0] != BARRIER_REQUEST or not state["left"]:
            return None
        peer.sendall(message(BARRIER_REPLY, received[1]))
        peer.settimeout(1)
        try:
            while state["left"] > 0:
                state["left"] -= 1
                peer.sendall(message(PORT_STATUS, 0, bytes(8) + port(b"p%d" % state["left"], state["left"])))
                peer.sendall(message(ECHO_REQUEST, 7, bytes(1000)))
        except OSError:
            pass
        print("chattered", flush=True)
        return b""

    peer = connect()
    serve(peer, 8000, own)


def echoes(number: int) -> None:
    """Not the policy's bridge: asks for an echo every 20 ms for NUMBER seconds, and tells the slowest answer."""
    times: list[float] = []

    def own(received: Message) -> bytes | None:
        kind, xid, body = received
        if kind == ECHO_REPLY:
            times.append(time.monotonic() - struct.unpack("!d", body)[0])
        if kind == ECHO_REQUEST:
            return message(ECHO_REPLY, xid, body)
        if kind == MULTIPART_REQUEST and struct.unpack_from("!H", body)[0] == PORT_DESC:
            return multipart(PORT_DESC, xid, port(b"other0", LOCAL))
        return None

    peer = connect()
    threading.Thread(target=serve, args=(peer, 9000, own), daemon=True).start()
    time.sleep(0.5)
    for asked in range(number * 50):
        peer.sendall(message(ECHO_REQUEST, asked, struct.pack("!d", time.monotonic())))
        if not asked:
            print("asking", flush=True)
        time.sleep(0.02)
    print(f"{len(times)} answers, the slowest after {max(times) * 1000:.0f} ms", flush=True)


MODES = (
    *(garbage, wrong_versions, malformed, halves, crowd, dawdler, packets, endless),
    *(refusing, many, impostor, chatter, echoes),
)


def main() -> None:
    mode = next(mode for mode in MODES if mode.__name__ == sys.argv[1])
    try:
        mode(int(sys.argv[2], 0) if len(sys.argv) > 2 else 1)
    except OSError as error:
        print(f"{type(error).__name__}: {error}")
    print("done", flush=True)


if __name__ == "__main__":
    main()
