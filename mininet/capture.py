"""Capture in a network namespace: which packets really passed there, seen by a packet socket (packet(7))."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

import forge
from namespace import inside

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
PATIENCE = 10.0  # seconds that a packet sent on purpose may take on a busy machine
_NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # the filter's program: return 0
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}


@dataclass(frozen=True)
class Seen:
    """One kind of packet: addresses are text, ports 0 where the protocol has none."""

    source: str
    destination: str
    protocol: str
    source_port: int
    destination_port: int


@dataclass
class Capture:
    """What passed an interface since the capture began: kinds of IP packets with counts."""

    packets: Counter[Seen] = field(default_factory=Counter)
    dropped: int = 0  # packets the kernel could not hand over: a leak test must find 0 here

    def naming(self, *addresses: str) -> int:
        """How many packets had one of these addresses as source or destination."""
        wanted = set(addresses)
        return sum(n for seen, n in list(self.packets.items()) if wanted & {seen.source, seen.destination})

    @property
    def forged(self) -> int:
        """How many packets came from ``forge``."""
        return sum(n for seen, n in list(self.packets.items()) if seen.source_port == forge.SOURCE_PORT)

    def sources(self, protocol: str, to_port: int) -> set[str]:
        """The source addresses of packets to this port."""
        return {seen.source for seen in self.packets if (seen.protocol, seen.destination_port) == (protocol, to_port)}


def in_time(count: Callable[[], int]) -> int:
    """The count of what was sent on purpose, as soon as there is any."""
    deadline = time.monotonic() + PATIENCE
    while not (found := count()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


@contextmanager
def capture(namespace: str, device: str) -> Iterator[Capture]:
    """Capture on a device of a namespace while the body runs. All packets, both directions, nothing filtered."""
    with inside(namespace):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        tap.bind((device, ETH_P_ALL))
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)  # whatever net.core.rmem_max is
    tap.settimeout(0.05)
    result = Capture()
    done = threading.Event()
    reader = threading.Thread(target=_read, args=(tap, result, done), daemon=True)
    reader.start()
    try:
        yield result
    finally:
        # No more packets, or a reader behind a steady stream would never come to an end (socket(7), SO_ATTACH_FILTER).
        tap.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(_NOTHING)))
        done.set()
        reader.join()
        _, result.dropped = struct.unpack("II", tap.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        tap.close()


def _read(tap: socket.socket, result: Capture, done: threading.Event) -> None:
    while True:
        try:
            packet = tap.recv(128)
        except TimeoutError:
            if done.is_set():
                return
            continue
        seen = parse(packet)
        if seen:
            result.packets[seen] += 1


def parse(packet: bytes) -> Seen | None:
    """Read an IP header and the ports (RFC 791, 8200, 768, 9293); ports are 0 in later fragments. None: not IP."""
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        addresses = str(IPv6Address(packet[8:24])), str(IPv6Address(packet[24:40]))
        header, protocol, first_fragment = 40, packet[6], True
    elif len(packet) >= 20 and packet[0] >> 4 == 4:
        addresses = str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20]))
        header, protocol = (packet[0] & 0x0F) * 4, packet[9]
        first_fragment = not struct.unpack_from("!H", packet, 6)[0] & 0x1FFF
    else:
        return None
    ports = (0, 0)
    if protocol in (6, 17) and first_fragment and len(packet) >= header + 4:
        ports = struct.unpack_from("!HH", packet, header)
    return Seen(*addresses, PROTOCOLS.get(protocol, str(protocol)), *ports)
