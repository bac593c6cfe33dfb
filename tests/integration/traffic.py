"""Continuous traffic through a switch, every packet accounted: run in a sandbox, steered by lines on standard input.

    traffic.py NAMES FLOWS INTERVAL     JSON: {port: namespace, ...} ("" is this one), [[port, source, target], ...]

One numbered UDP packet of each flow every INTERVAL seconds, as raw frames, so that nothing depends on a kernel's
routes; a listener on each port. Lines: "report" prints what was sent and at which ports it came in since the last
report, once the last packets have arrived; "open PORT ..." opens the sockets of ports that have come back; "end" ends
it.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import struct
import sys
import time

SETTLING = 0.3  # seconds without a packet, after the last ones
MAGIC = b"privacy-router-traffic"
CLONE_NEWNET = 0x40000000
PACKET_OUTGOING = 4
ALL_FRAMES = socket.htons(3)


def enter(namespace: str) -> None:
    path = f"/run/netns/{namespace}" if namespace else "/proc/1/ns/net"
    with open(path) as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), path)


def frame(flow: int, number: int, source: str, target: str) -> bytes:
    data = MAGIC + struct.pack("!BI", flow, number)
    udp = struct.pack("!HHHH", 7777, 7777, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    total = sum(struct.unpack("!10H", head + addresses))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
    return b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x08\0" + head[:10] + checksum + addresses + udp


class Traffic:
    def __init__(self, namespaces: dict[str, str], flows: list[list[str]]) -> None:
        self.namespaces = namespaces
        self.flows = flows
        self.sockets: dict[str, socket.socket] = {}
        self.number = 0
        self.sent = [0] * len(flows)
        self.heard: list[dict[str, int]] = [{} for _ in flows]
        self.open(*namespaces)

    def open(self, *ports: str) -> None:
        """Only these: what waits in another port's socket would be lost."""
        for port in ports:
            if port in self.sockets:
                self.sockets.pop(port).close()
            try:
                enter(self.namespaces[port])
                opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, ALL_FRAMES)
                opened.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
                opened.bind((port, 3))
                opened.setblocking(False)
                self.sockets[port] = opened
            except OSError:
                pass  # the port is not there now

    def send(self) -> None:
        self.number += 1
        for flow, (port, source, target) in enumerate(self.flows):
            try:
                self.sockets[port].send(frame(flow, self.number, source, target))
                self.sent[flow] += 1
            except (OSError, KeyError):
                pass  # its port is gone: not sent, so not lost

    def listen(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for ready in select.select([sys.stdin, *self.sockets.values()], [], [], left)[0]:
                if ready is sys.stdin:
                    return
                self.receive(ready)

    def receive(self, ready: socket.socket) -> None:
        port = next(port for port, opened in self.sockets.items() if opened is ready)
        try:
            while True:
                data, address = ready.recvfrom(2048)
                if address[2] != PACKET_OUTGOING and data[42 : 42 + len(MAGIC)] == MAGIC:
                    flow = data[42 + len(MAGIC)]
                    self.heard[flow][port] = self.heard[flow].get(port, 0) + 1
        except BlockingIOError:
            pass
        except OSError:
            self.sockets.pop(port).close()

    def report(self) -> None:
        deadline = time.monotonic() + SETTLING
        while (left := deadline - time.monotonic()) > 0:
            for ready in select.select(list(self.sockets.values()), [], [], left)[0]:
                self.receive(ready)
                deadline = time.monotonic() + SETTLING
        print(json.dumps({"sent": self.sent, "heard": self.heard}), flush=True)
        self.sent = [0] * len(self.flows)
        self.heard = [{} for _ in self.flows]


def main() -> None:
    traffic, interval = Traffic(json.loads(sys.argv[1]), json.loads(sys.argv[2])), float(sys.argv[3])
    os.set_blocking(0, False)
    print("ready", flush=True)
    while True:
        traffic.send()
        traffic.listen(interval)
        line = sys.stdin.readline().split()
        if line[:1] == ["report"]:
            traffic.report()
        elif line[:1] == ["open"]:
            traffic.open(*line[1:])
            print("opened", flush=True)
        elif line[:1] == ["end"]:
            return


if __name__ == "__main__":
    main()
