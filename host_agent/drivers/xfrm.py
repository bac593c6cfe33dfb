"""IPsec policies of one network namespace, by netlink(7): those of ours, which block. ``linux/xfrm.h`` has the numbers.

The kernel keeps no owner of a policy. Ours are known by their priority, the last but a few: what others want of a
packet goes before it.
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress
from ipaddress import ip_network
from typing import Literal

from host_agent.drivers import netlink_wire as wire
from host_agent.drivers.namespaces import Namespaces
from host_agent.drivers.netlink_change import FAMILIES
from host_agent.drivers.netlink_socket import XFRM, NetlinkSocket
from host_agent.drivers.netlink_wire import attribute, attributes
from host_agent.state import Block

NEW_POLICY, DELETE_POLICY, GET_POLICY = 0x13, 0x14, 0x15
# Destination, source; their ports, in network order, each with a mask; family, prefix lengths, protocol; device, user.
SELECTOR = struct.Struct("=16s16s 2s2s4x HBBB3x 8x")
REST = struct.Struct("=32s64x II BBBB4x")  # limits, use; priority, index; direction, action, flags, share
IDENTITY = struct.Struct("=IB3x")  # index, direction
MARK = 21  # XFRMA_MARK
NO_MARK = struct.pack("=II", 0, 0xFFFFFFFF)  # value, mask
NO_LIMIT = b"\xff" * 32  # XFRM_INF bytes and packets
IN, FORWARD = 0, 2  # XFRM_POLICY_IN, XFRM_POLICY_FWD
BLOCK = 1  # XFRM_POLICY_BLOCK
PRIORITY = 0xFFFF5052
QUERIES: dict[int, Literal["", "tcp", "udp"]] = {0: "", socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp"}
PROTOCOLS = {queries: protocol for protocol, queries in QUERIES.items()}
PORT = (53).to_bytes(2)
UNSUPPORTED = {errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT}


def works() -> bool:
    """Whether the kernel has IPsec policies."""
    with suppress(OSError), NetlinkSocket(XFRM):
        return True
    return False


def blocks(namespaces: Namespaces, name: str) -> frozenset[Block]:
    """Ours; none if the kernel has no IPsec policies."""
    try:
        listed = namespaces.netlink(name, XFRM).list(wire.message(GET_POLICY, wire.REQUEST | wire.DUMP, b""))
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return frozenset()
    return frozenset(block for body in listed if (block := _read(body)))


def add(netlink: NetlinkSocket, block: Block) -> None:
    rest = REST.pack(NO_LIMIT, PRIORITY, 0, _direction(block), BLOCK, 0, 0)
    _order(netlink, NEW_POLICY, _selector(block) + rest)


def remove(netlink: NetlinkSocket, block: Block) -> None:
    with suppress(FileNotFoundError):  # gone is fine
        _order(netlink, DELETE_POLICY, _selector(block) + IDENTITY.pack(0, _direction(block)))


def _order(netlink: NetlinkSocket, kind: int, body: bytes) -> None:
    netlink.order(wire.message(kind, wire.REQUEST | wire.ACK, body + attribute(MARK, NO_MARK)))


def _direction(block: Block) -> int:
    return IN if block.queries else FORWARD


def _selector(block: Block) -> bytes:
    port, mask = (PORT, b"\xff\xff") if block.queries else (b"", b"")
    source, length = block.source.network_address.packed, block.source.prefixlen
    family, protocol = FAMILIES[block.source.version], PROTOCOLS[block.queries]
    return SELECTOR.pack(b"", source, port, mask, family, 0, length, protocol)


def _read(body: bytes) -> Block | None:
    """A policy that we would have made just so."""
    _, source, _, _, family, _, length, protocol = SELECTOR.unpack_from(body)
    _, priority, _, direction, action, _, _ = REST.unpack_from(body, SELECTOR.size)
    mark = attributes(body, SELECTOR.size + REST.size).get(MARK)
    queries = QUERIES.get(protocol)
    if (priority, action, mark) != (PRIORITY, BLOCK, NO_MARK) or queries is None:
        return None
    network = ip_network((source[: 4 if family == socket.AF_INET else 16], length), strict=False)
    block = Block(network, queries)
    return block if (body[: SELECTOR.size], direction) == (_selector(block), _direction(block)) else None
