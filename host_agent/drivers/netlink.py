"""Read links, addresses, routes and ip rules of one network namespace, by rtnetlink(7).

This is read again and again, so it is done by struct and not by a library: the tests hold it against pyroute2.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_interface
from typing import Literal, NamedTuple

from host_agent.drivers import rtnetlink
from host_agent.drivers.netlink_socket import NetlinkSocket
from host_agent.drivers.rtnetlink import RouteMessage, RuleMessage
from host_agent.prefixes import FAMILY_NAMES
from host_agent.state import (
    FAMILY_OPTION,
    MAIN_TABLE,
    OWNER,
    PROTOCOL,
    Address,
    IPAddress,
    IPNetwork,
    Link,
    Route,
    Rule,
)

LOOK_UP, PROHIBIT = 1, 8  # FR_ACT_TO_TBL, FR_ACT_PROHIBIT
OF_THE_KERNEL = 2  # RTPROT_KERNEL
ETHERNET = 1  # ARPHRD_ETHER
KINDS: dict[int, Literal["unicast", "local", "unreachable"]] = {1: "unicast", 2: "local", 7: "unreachable"}


@dataclass(frozen=True)
class FoundLink:
    """A link as the kernel describes it, ours or not."""

    index: int
    name: str
    ours: bool
    mtu: int
    up: bool
    alive: bool  # whether it has a carrier: a tap or tun whose program has ended has none
    driver: str  # "tun", "wireguard", "openvswitch", ...

    def link(self) -> Link:
        # OVS internal ports are taps on the userspace datapath; a WireGuard device has no link layer address.
        return Link(
            self.name, "wireguard" if self.driver in ("wireguard", "tun") else "socket", self.mtu, self.up, self.alive
        )


class GivenAddress(NamedTuple):
    """An address of a link, whoever gave it."""

    link: int  # its index
    address: IPAddress
    length: int  # of its network's prefix


def links(netlink: NetlinkSocket) -> dict[str, FoundLink]:
    found = {}
    for body in netlink.list(rtnetlink.list_links()):
        it = rtnetlink.link(body)
        driver = "tap" if it.driver == "tun" and it.hardware == ETHERNET else it.driver
        found[it.name] = FoundLink(it.number, it.name, it.alias == OWNER, it.mtu, it.up, it.carrier, driver)
    return found


def index(netlink: NetlinkSocket, name: str) -> int:
    """Raises OSError (ENODEV) if there is no such link."""
    try:
        (body,) = netlink.ask(rtnetlink.ask_link(name))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        raise OSError(errno.ENODEV, f"there is no link {name}") from None
    return rtnetlink.link(body).number


def addresses(netlink: NetlinkSocket, known: dict[str, FoundLink]) -> frozenset[Address]:
    """All addresses of our links that live, but the link-local ones that the kernel gives."""
    names = {link.index: link.name for link in known.values() if link.ours and link.alive and link.name != "lo"}
    if not names:
        return frozenset()
    return frozenset(
        Address(names[it.link], ip_interface((it.address.packed, it.length)))
        for it in all_addresses(netlink)
        if it.link in names and not it.address.is_link_local
    )


def all_addresses(netlink: NetlinkSocket) -> list[GivenAddress]:
    found = map(rtnetlink.address, netlink.list(rtnetlink.list_addresses()))
    return [GivenAddress(it.link, ip_address(it.address), it.length) for it in found]


def routes(netlink: NetlinkSocket, known: dict[str, FoundLink]) -> tuple[frozenset[Route], frozenset[Route]]:
    """Our routes by links that live, and those of others (without the ones the kernel itself makes)."""
    names = {link.index: link.name for link in known.values()}
    ours: set[Route] = set()
    others: set[Route] = set()
    for message in route_messages(netlink):
        if message.kind not in KINDS:
            continue
        route = _route(message, names)
        if message.protocol != PROTOCOL:
            others.add(route)
        elif route.link is None or known[route.link].alive:
            ours.add(route)
    return frozenset(ours), frozenset(others)


def route_messages(netlink: NetlinkSocket) -> Iterator[RouteMessage]:
    """All routes of both families and of any kind, but those that the kernel itself makes."""
    for body in netlink.list(rtnetlink.list_routes()):
        if rtnetlink.protocol_of(body) != OF_THE_KERNEL:  # most are, and need not be read further
            message = rtnetlink.route(body)
            if message.family in FAMILY_NAMES:
                yield message


def destination(message: RouteMessage) -> IPNetwork:
    number = int.from_bytes(message.destination)
    if message.family == socket.AF_INET:
        return IPv4Network((number, message.length))
    return IPv6Network((number, message.length))


def _route(message: RouteMessage, names: dict[int, str]) -> Route:
    kind = KINDS[message.kind]
    link = None if kind == "unreachable" else names.get(message.link)
    via = ip_address(message.gateway) if message.gateway else None
    return Route(destination(message), kind, link, via, message.table, message.metric)


def rules(netlink: NetlinkSocket) -> frozenset[Rule]:
    """Our ip rules, of both families."""
    return rules_in(rule_messages(netlink))


def rule_messages(netlink: NetlinkSocket) -> list[RuleMessage]:
    """All ip rules of both families."""
    found = map(rtnetlink.rule, netlink.list(rtnetlink.list_rules()))
    return [message for message in found if message.family in FAMILY_NAMES]


def rules_in(messages: Iterable[RuleMessage]) -> frozenset[Rule]:
    """Ours among them."""
    return frozenset(
        Rule(
            it.priority,
            it.table if it.action == LOOK_UP else 0,
            it.incoming or None,
            IPv4Network((int.from_bytes(it.source), it.length)) if it.source else None,
            it.mark,
            it.mask if it.mark else 0,
            FAMILY_NAMES[it.family],
            it.outgoing or None,
        )
        for it in messages
        if it.protocol == PROTOCOL and it.action in (LOOK_UP, PROHIBIT)
    )


def strange_rules(messages: Iterable[RuleMessage], wanted: Collection[Rule]) -> list[str]:
    """Rules of others that come before one we want, which asks for a mark, and would send its packets elsewhere."""
    found = []
    for it in messages:
        if it.protocol == PROTOCOL or not it.mark:
            continue
        family = FAMILY_NAMES[it.family]
        table = it.table if it.action == LOOK_UP else 0
        taken = [rule for rule in wanted if (rule.family, rule.mark & it.mask) == (family, it.mark)]
        if any(it.priority <= rule.priority and rule.table != table for rule in taken):
            found.append(f"ip{FAMILY_OPTION[family]} rule pref {it.priority} fwmark {it.mark:#x}/{it.mask:#x}")
    return found


def uplink_address(netlink: NetlinkSocket) -> IPv4Address | None:
    """The address of the interface with the default route; without one, the first that is not this machine's own."""
    found: dict[int, IPv4Address] = {}
    for it in all_addresses(netlink):
        if isinstance(it.address, IPv4Address) and not it.address.is_loopback and not it.address.is_link_local:
            found.setdefault(it.link, it.address)
    routes = map(rtnetlink.route, netlink.list(rtnetlink.list_routes()))
    wide = (route for route in routes if (route.family, route.table, route.length) == (socket.AF_INET, MAIN_TABLE, 0))
    best = min((route for route in wide if route.link in found), key=lambda route: route.metric, default=None)
    return found[best.link] if best else next(iter(found.values()), None)


def addresses_of(netlink: NetlinkSocket, name: str) -> tuple[IPv4Address, ...] | None:
    """The IPv4 addresses of a link, whoever made it; None if there is no such link."""
    try:
        wanted = index(netlink, name)
    except OSError:
        return None
    found = (it.address for it in all_addresses(netlink) if it.link == wanted)
    return tuple(sorted(address for address in found if isinstance(address, IPv4Address)))
