"""Change links, addresses, routes and ip rules of one network namespace, by rtnetlink(7): one order each.

Each raises OSError with the kernel's error number and, where it has any, its words.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from host_agent.drivers import netlink_wire as wire
from host_agent.drivers import rtnetlink
from host_agent.drivers.netlink import KINDS, LOOK_UP, PROHIBIT, index
from host_agent.drivers.netlink_socket import NetlinkSocket
from host_agent.drivers.rtnetlink import ADDITION, QUESTION, REPLACEMENT, RouteMessage, RuleMessage
from host_agent.prefixes import ADDRESS_FAMILY
from host_agent.state import OWNER, PROTOCOL, Address, Link, Route, Rule

GONE = {errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
KIND_NUMBERS = {kind: number for number, kind in KINDS.items()}
EVERYWHERE, ON_LINK, ON_HOST = 0, 253, 254  # RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST


def create(netlink: NetlinkSocket, name: str, driver: str) -> None:
    netlink.order(rtnetlink.create_link(name, driver))


def move(netlink: NetlinkSocket, name: str, namespace_path: str) -> None:
    """Mark a link as ours and put it into another namespace, where the mark goes with it."""
    mark(netlink, name)
    descriptor = os.open(namespace_path, os.O_RDONLY)
    try:
        netlink.order(rtnetlink.move_link(name, descriptor))
    finally:
        os.close(descriptor)


def set_link(netlink: NetlinkSocket, link: Link) -> None:
    """Give the link its MTU and bring it up."""
    netlink.order(rtnetlink.raise_link(link.name, link.mtu))


def mark(netlink: NetlinkSocket, name: str) -> None:
    netlink.order(rtnetlink.rename_alias(name, OWNER))


def remove_link(netlink: NetlinkSocket, name: str) -> None:
    with _gone_is_fine():
        netlink.order(rtnetlink.delete_link(name))


def add(netlink: NetlinkSocket, item: Address | Route | Rule) -> None:
    kinds = {Address: rtnetlink.NEW_ADDRESS, Route: rtnetlink.NEW_ROUTE, Rule: rtnetlink.NEW_RULE}
    netlink.order(wire.message(kinds[type(item)], ADDITION, _body(netlink, item)))


def replace_route(netlink: NetlinkSocket, route: Route) -> None:
    """In place of an earlier one with the same key."""
    netlink.order(wire.message(rtnetlink.NEW_ROUTE, REPLACEMENT, _body(netlink, route)))


def remove(netlink: NetlinkSocket, item: Address | Route | Rule) -> None:
    """Remove the object; one that went away with its link is no error."""
    kinds = {Address: rtnetlink.DELETE_ADDRESS, Route: rtnetlink.DELETE_ROUTE, Rule: rtnetlink.DELETE_RULE}
    with _gone_is_fine():
        netlink.order(wire.message(kinds[type(item)], QUESTION, _body(netlink, item)))


def _body(netlink: NetlinkSocket, item: Address | Route | Rule) -> bytes:
    match item:
        case Address(interface=interface):
            # There is no link layer on which somebody else could have an IPv6 address of ours.
            flags = rtnetlink.NO_DUPLICATE_DETECTION if interface.version == 6 else 0
            place, length = index(netlink, item.link), interface.network.prefixlen
            return rtnetlink.address_body(FAMILIES[interface.version], place, interface.ip.packed, length, flags)
        case Route():
            place = index(netlink, item.link) if item.link else 0
            return rtnetlink.route_body(route_message(item, place), _scope(item))
        case Rule():
            return rtnetlink.rule_body(rule_message(item))


def route_message(route: Route, place: int) -> RouteMessage:
    """What the kernel shows of such a route; ``place`` is its link's index."""
    return RouteMessage(
        FAMILIES[route.destination.version],
        KIND_NUMBERS[route.kind],
        PROTOCOL,
        route.table,
        route.destination.network_address.packed if route.destination.prefixlen else b"",
        route.destination.prefixlen,
        place,
        route.via.packed if route.via else b"",
        route.metric,
    )


def _scope(route: Route) -> int:
    if route.kind == "local":
        return ON_HOST
    return ON_LINK if route.kind == "unicast" and route.via is None else EVERYWHERE


def rule_message(rule: Rule) -> RuleMessage:
    """What the kernel shows of such a rule."""
    return RuleMessage(
        ADDRESS_FAMILY[rule.family],
        LOOK_UP if rule.table else PROHIBIT,
        rule.priority,
        rule.table,
        rule.incoming or "",
        rule.outgoing or "",
        rule.source.network_address.packed if rule.source else b"",
        rule.source.prefixlen if rule.source else 0,
        rule.mark,
        rule.mask,
        PROTOCOL,
    )


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise
