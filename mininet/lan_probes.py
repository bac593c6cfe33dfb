"""What a client of the LAN sends, and by which way the answer came."""

from __future__ import annotations

import errno
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lan_router import ABROAD, ABROAD6, EXEMPT, EXEMPT6, ROUTER, ROUTER6
from namespace import inside

REFUSED = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM}
KINDS = ("tcp", "udp", "quic", "dns", "dns tcp", "dns router", "icmp")
TARGETS = {("abroad", 4): ABROAD, ("abroad", 6): ABROAD6, ("exempt", 4): EXEMPT, ("exempt", 6): EXEMPT6}
TARGETS |= {("router", 4): ROUTER, ("router", 6): ROUTER6}
PATIENCE = 0.4  # seconds
LONG = 5.0  # seconds, where there must be an answer: a busy machine may be late


@dataclass(frozen=True, order=True)
class Probe:
    client: str
    version: int
    kind: str
    where: str = "abroad"

    def __str__(self) -> str:
        return f"{self.client} IPv{self.version} {self.kind} {self.where}"


def send_all(probes: list[Probe], patience: float = PATIENCE) -> dict[Probe, str]:
    """Each probe's answer: the name of the way it took, "refused", or "silence"."""
    with ThreadPoolExecutor(32) as pool:
        return dict(zip(probes, pool.map(lambda probe: send(probe, patience), probes), strict=True))


def send(probe: Probe, patience: float = PATIENCE) -> str:
    where = "router" if probe.kind == "dns router" else probe.where
    target = TARGETS[where, probe.version]
    family = socket.AF_INET if probe.version == 4 else socket.AF_INET6
    try:
        with inside(probe.client):
            if probe.kind == "icmp":
                return _ping(family, target, patience)
            port = {"tcp": 80, "udp": 7, "quic": 443}.get(probe.kind, 53)
            kind = socket.SOCK_STREAM if probe.kind in ("tcp", "dns tcp") else socket.SOCK_DGRAM
            return _ask(family, kind, target, port, patience)
    except TimeoutError:
        return "silence"
    except OSError as error:
        if error.errno in REFUSED:
            return "refused"
        raise


def _ask(family: int, kind: int, target: str, port: int, patience: float) -> str:
    with socket.socket(family, kind) as connection:
        connection.settimeout(patience)
        connection.connect((target, port))
        if kind == socket.SOCK_DGRAM:
            connection.send(b"probe")
        return connection.recv(100).split(b" ")[0].decode() or "silence"


def _ping(family: int, target: str, patience: float) -> str:
    """An echo request; the answer does not say who gave it, so captures have to."""
    protocol, request, reply = (
        (socket.IPPROTO_ICMP, 8, 0) if family == socket.AF_INET else (socket.IPPROTO_ICMPV6, 128, 129)
    )
    number = int.from_bytes(os.urandom(2))
    checksum = 0xFFFF - ((request << 8) + number + 1) % 0xFFFF  # RFC 1071; the kernel makes that of ICMPv6
    message = struct.pack("!BBHHH", request, 0, checksum, number, 1)
    with socket.socket(family, socket.SOCK_RAW, protocol) as connection:
        connection.settimeout(patience)
        connection.sendto(message, (target, 0))
        while True:
            data, peer = connection.recvfrom(1500)
            body = data[(data[0] & 15) * 4 :] if family == socket.AF_INET else data
            if body[0] == reply and peer[0] == target and int.from_bytes(body[4:6]) == number:
                return "answered"
            if body[0] in (1, 3) and number.to_bytes(2) in body:
                return "refused"
