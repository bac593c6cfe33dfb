"""Messages of rtnetlink(7) about links, addresses, routes and ip rules, made and read as bytes. Pure.

Of the hundred things the kernel says of a link, only those are looked at that the agent judges. Numbers are those of
``linux/rtnetlink.h``, ``linux/if_link.h``, ``linux/if_addr.h`` and ``linux/fib_rules.h``.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from host_agent.drivers import netlink_wire as wire
from host_agent.drivers.netlink_wire import attribute, attributes, number, number_of, text, text_of

NEW_LINK, DELETE_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DELETE_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
NEW_RULE, DELETE_RULE, GET_RULE = 32, 33, 34

LINK = struct.Struct("=BxHiII")  # family, type, index, flags, which flags to change
ADDRESS = struct.Struct("=BBBBI")  # family, length, flags, scope, index
ROUTE = struct.Struct("=8BI")  # family, lengths of destination and source, tos, table, protocol, scope, type, flags
RULE = struct.Struct("=8BI")  # family, lengths of destination and source, tos, table, two unused, action, flags

IFLA_NAME, IFLA_MTU, IFLA_INFO, IFLA_ALIAS, IFLA_NAMESPACE, IFLA_MASK, IFLA_CARRIER = 3, 4, 18, 20, 28, 29, 33
INFO_KIND = 1
NO_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DESTINATION, RTA_LINK, RTA_GATEWAY, RTA_METRIC, RTA_TABLE = 1, 4, 5, 6, 15
FRA_SOURCE, FRA_INCOMING, FRA_PRIORITY, FRA_MARK, FRA_TABLE, FRA_MASK = 2, 3, 6, 10, 15, 16
FRA_OUTGOING, FRA_PROTOCOL = 17, 21
UP = 1  # IFF_UP
NO_DUPLICATE_DETECTION = 2  # IFA_F_NODAD
LISTING = wire.REQUEST | wire.DUMP
QUESTION = wire.REQUEST | wire.ACK
ADDITION = QUESTION | wire.CREATE | wire.EXCLUSIVE
REPLACEMENT = QUESTION | wire.CREATE | wire.REPLACE


class LinkMessage(NamedTuple):
    number: int  # its index
    name: str
    alias: str
    mtu: int
    up: bool
    carrier: bool
    driver: str  # "tun", "wireguard", "openvswitch", ...; none for what the kernel has of itself
    hardware: int  # ARPHRD_*


class AddressMessage(NamedTuple):
    link: int  # its index
    address: bytes
    length: int


class RouteMessage(NamedTuple):
    family: int
    kind: int  # RTN_*
    protocol: int
    table: int
    destination: bytes
    length: int
    link: int  # its index; 0: none
    gateway: bytes
    metric: int


class RuleMessage(NamedTuple):
    family: int
    action: int  # FR_ACT_*
    priority: int
    table: int
    incoming: str
    outgoing: str
    source: bytes
    length: int
    mark: int
    mask: int
    protocol: int


def list_links() -> bytes:
    return wire.message(GET_LINK, LISTING, LINK.pack(0, 0, 0, 0, 0) + number(IFLA_MASK, NO_STATISTICS))


def ask_link(name: str) -> bytes:
    body = LINK.pack(0, 0, 0, 0, 0) + number(IFLA_MASK, NO_STATISTICS) + text(IFLA_NAME, name)
    return wire.message(GET_LINK, QUESTION, body)


def list_addresses(family: int = 0) -> bytes:
    return wire.message(GET_ADDRESS, LISTING, ADDRESS.pack(family, 0, 0, 0, 0))


def list_routes() -> bytes:
    return wire.message(GET_ROUTE, LISTING, ROUTE.pack(*bytes(9)))


def list_rules() -> bytes:
    return wire.message(GET_RULE, LISTING, RULE.pack(*bytes(9)))


def link(body: bytes) -> LinkMessage:
    _, hardware, index, flags, _ = LINK.unpack_from(body)
    found = attributes(body, LINK.size)
    info = attributes(found.get(IFLA_INFO, b""))
    return LinkMessage(
        index,
        text_of(found[IFLA_NAME]),
        text_of(found.get(IFLA_ALIAS, b"")),
        number_of(found.get(IFLA_MTU)),
        bool(flags & UP),
        found.get(IFLA_CARRIER) != b"\0",
        text_of(info.get(INFO_KIND, b"")),
        hardware,
    )


def address(body: bytes) -> AddressMessage:
    _, length, _, _, index = ADDRESS.unpack_from(body)
    found = attributes(body, ADDRESS.size)
    return AddressMessage(index, found.get(IFA_LOCAL) or found[IFA_ADDRESS], length)


def route(body: bytes) -> RouteMessage:
    family, length, _, _, table, protocol, _, kind, _ = ROUTE.unpack_from(body)
    found = attributes(body, ROUTE.size)
    return RouteMessage(
        family,
        kind,
        protocol,
        number_of(found.get(RTA_TABLE)) or table,
        found.get(RTA_DESTINATION, b""),
        length,
        number_of(found.get(RTA_LINK)),
        found.get(RTA_GATEWAY, b""),
        number_of(found.get(RTA_METRIC)),
    )


def protocol_of(route: bytes) -> int:
    """Who made the route (RTPROT_*)."""
    return route[5]


def rule(body: bytes) -> RuleMessage:
    family, _, length, _, table, _, _, action, _ = RULE.unpack_from(body)
    found = attributes(body, RULE.size)
    return RuleMessage(
        family,
        action,
        number_of(found.get(FRA_PRIORITY)),
        number_of(found.get(FRA_TABLE)) or table,
        text_of(found.get(FRA_INCOMING, b"")),
        text_of(found.get(FRA_OUTGOING, b"")),
        found.get(FRA_SOURCE, b""),
        length,
        number_of(found.get(FRA_MARK)),
        number_of(found.get(FRA_MASK)),
        found.get(FRA_PROTOCOL, b"\0")[0],
    )


def create_link(name: str, driver: str) -> bytes:
    info = attribute(IFLA_INFO | wire.NESTED, text(INFO_KIND, driver))
    return wire.message(NEW_LINK, ADDITION, LINK.pack(0, 0, 0, 0, 0) + text(IFLA_NAME, name) + info)


def rename_alias(name: str, alias: str) -> bytes:
    return _change_link(name, 0, attribute(IFLA_ALIAS, alias.encode()))


def move_link(name: str, descriptor: int) -> bytes:
    """Into the namespace that is open there."""
    return _change_link(name, 0, number(IFLA_NAMESPACE, descriptor))


def raise_link(name: str, mtu: int | None) -> bytes:
    return _change_link(name, UP, number(IFLA_MTU, mtu) if mtu is not None else b"")


def _change_link(name: str, flags: int, changes: bytes) -> bytes:
    return wire.message(NEW_LINK, QUESTION, LINK.pack(0, 0, 0, flags, flags) + text(IFLA_NAME, name) + changes)


def delete_link(name: str) -> bytes:
    return wire.message(DELETE_LINK, QUESTION, LINK.pack(0, 0, 0, 0, 0) + text(IFLA_NAME, name))


def address_body(family: int, index: int, value: bytes, length: int, flags: int) -> bytes:
    return ADDRESS.pack(family, length, flags, 0, index) + attribute(IFA_LOCAL, value) + attribute(IFA_ADDRESS, value)


def route_body(message: RouteMessage, scope: int) -> bytes:
    body = ROUTE.pack(message.family, message.length, 0, 0, 0, message.protocol, scope, message.kind, 0)
    body += attribute(RTA_DESTINATION, message.destination) if message.length else b""
    body += number(RTA_TABLE, message.table)
    body += number(RTA_LINK, message.link) if message.link else b""
    body += attribute(RTA_GATEWAY, message.gateway) if message.gateway else b""
    return body + (number(RTA_METRIC, message.metric) if message.metric else b"")


def rule_body(message: RuleMessage) -> bytes:
    body = RULE.pack(message.family, 0, message.length, 0, 0, 0, 0, message.action, 0)
    body += attribute(FRA_PROTOCOL, bytes([message.protocol])) + number(FRA_PRIORITY, message.priority)
    body += number(FRA_TABLE, message.table) if message.table else b""
    body += text(FRA_INCOMING, message.incoming) if message.incoming else b""
    body += text(FRA_OUTGOING, message.outgoing) if message.outgoing else b""
    body += attribute(FRA_SOURCE, message.source) if message.source else b""
    if message.mask:
        body += number(FRA_MARK, message.mark) + number(FRA_MASK, message.mask)
    return body
