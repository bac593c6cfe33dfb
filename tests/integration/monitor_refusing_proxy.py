"""An OpenFlow proxy, 7000 -> 6653, that answers a flow monitor request as Open vSwitch 2.x does in OpenFlow 1.3."""

from __future__ import annotations

import socket
import struct
import threading

OFPT_ERROR, OFPT_MULTIPART_REQUEST, EXPERIMENTER = 1, 18, 0xFFFF
BAD_EXPERIMENTER_TYPE = (1, 4)


def messages(source: socket.socket) -> object:
    while len(head := source.recv(8, socket.MSG_WAITALL)) == 8:
        length = int.from_bytes(head[2:4], "big")
        yield head + (source.recv(length - 8, socket.MSG_WAITALL) if length > 8 else b"")


def relay(source: socket.socket, target: socket.socket, refusing: bool) -> None:
    for message in messages(source):
        if refusing and message[1] == OFPT_MULTIPART_REQUEST and message[8:10] == b"\xff\xff":
            error = struct.pack("!HH", *BAD_EXPERIMENTER_TYPE) + message[:64]
            source.sendall(struct.pack("!BBH", 4, OFPT_ERROR, 8 + len(error)) + message[4:8] + error)
        else:
            target.sendall(message)
    target.close()


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 7000))
    while True:
        switch, _ = listener.accept()
        try:
            controller = socket.create_connection(("127.0.0.1", 6653))
        except OSError:
            switch.close()
            continue
        threading.Thread(target=relay, args=(switch, controller, False), daemon=True).start()
        threading.Thread(target=relay, args=(controller, switch, True), daemon=True).start()


main()
