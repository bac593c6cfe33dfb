"""Tables of nf_tables that iptables works in: made with our mark if they are not there, removed when empty again.

iptables-nft makes a table when it first needs it and never removes it, so that what iptables-save prints afterwards
would not be what it printed before. The mark is the table's user data (NFTA_TABLE_USERDATA), as nft(8) keeps comments.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

from host_agent.command import run
from host_agent.state import OWNER, Family

NETLINK_NETFILTER = 12
SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2
BATCH_BEGIN, BATCH_END = 16, 17
REQUEST, ACK, DUMP, CREATE = 0x1, 0x4, 0x300, 0x400
NAME, USERDATA = 1, 6  # NFTA_TABLE_*
ERROR, DONE = 2, 3  # nlmsg types
FAMILIES: dict[Family, int] = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
COMMENT = bytes([0, len(OWNER) + 1]) + OWNER.encode() + b"\0"  # type "comment", length, text: what nft(8) shows


def tables(family: Family) -> dict[str, bool]:
    """The tables of a family in the caller's namespace: name -> whether we made it.

    Raises OSError if the kernel has no nf_tables.
    """
    body = struct.pack("!BBH", FAMILIES[family], 0, 0)
    with _Socket() as kernel:
        kernel.send(_message(SUBSYSTEM << 8 | GET_TABLE, REQUEST | DUMP, body))
        found = {}
        for answer in kernel.answers():
            attributes = dict(_attributes(answer[4:]))
            found[attributes[NAME].rstrip(b"\0").decode()] = attributes.get(USERDATA) == COMMENT
        return found


def create(family: Family, name: str) -> None:
    _change(NEW_TABLE, CREATE, family, _attribute(NAME, name.encode() + b"\0") + _attribute(USERDATA, COMMENT))


def delete(family: Family, name: str) -> None:
    _change(DELETE_TABLE, 0, family, _attribute(NAME, name.encode() + b"\0"))


def works_behind_iptables() -> bool:
    return "nf_tables" in run(["iptables-restore", "--version"])


def _change(kind: int, flags: int, family: Family, attributes: bytes) -> None:
    edge = struct.pack("!BBH", 0, 0, SUBSYSTEM)
    body = struct.pack("!BBH", FAMILIES[family], 0, 0) + attributes
    with _Socket() as kernel:
        kernel.send(
            _message(BATCH_BEGIN, REQUEST, edge)
            + _message(SUBSYSTEM << 8 | kind, REQUEST | ACK | flags, body)
            + _message(BATCH_END, REQUEST, edge)
        )
        for _ in kernel.answers():
            pass


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


class _Socket:
    def __enter__(self) -> _Socket:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.settimeout(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, (0, 0))

    def answers(self) -> Iterator[bytes]:
        """The bodies of answers up to the last one. Raises OSError with what the kernel says."""
        while True:
            data = self._socket.recv(1 << 17)
            while data:
                length, kind, _ = struct.unpack_from("=IHH", data)
                body, data = data[16:length], data[(length + 3) & ~3 :]
                if kind == DONE:
                    return
                if kind == ERROR:
                    (code,) = struct.unpack_from("=i", body)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield body
