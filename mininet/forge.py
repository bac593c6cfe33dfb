"""Send what a well-behaved host would not: the positive controls and the trespassers of the checks."""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from ipaddress import IPv4Address

from namespace import inside

IP_TRANSPARENT = 19  # ip(7); lets a socket speak with an address that is not the host's
ETH_P_IP = 0x0800
SOURCE_PORT = 40404  # by which captures know what was forged


def datagram_from(namespace: str, source: str, destination: str, port: int = 9) -> None:
    """Send one UDP datagram with a foreign source address by the namespace's ordinary routes."""
    with inside(namespace), closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        sender.bind((source, SOURCE_PORT))
        sender.sendto(b"forged", (destination, port))


def frame(namespace: str, device: str, source: str, destination: str, port: int = 9) -> None:
    """Put one broadcast Ethernet frame with a UDP datagram on a device, past all routes and filters of the host."""
    with inside(namespace), closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sender:
        sender.bind((device, 0))
        mac: bytes = sender.getsockname()[4]
        sender.send(b"\xff" * 6 + mac + struct.pack("!H", ETH_P_IP) + datagram(source, destination, port))


def datagram(source: str, destination: str, port: int, payload: bytes = b"forged") -> bytes:
    """A UDP datagram in an IPv4 packet."""
    udp = struct.pack("!HHHH", SOURCE_PORT, port, 8 + len(payload), 0) + payload  # checksum 0: none (RFC 768)
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    return header[:10] + struct.pack("!H", _checksum(header)) + header[12:] + udp


def _checksum(header: bytes) -> int:
    """The Internet checksum (RFC 1071) of a header whose checksum field is 0."""
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
