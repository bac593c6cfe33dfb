"""Links, addresses, routes and ip rules of one network namespace, by rtnetlink(7)."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_interface, ip_network
from typing import Any, Literal

from pyroute2.netlink.exceptions import NetlinkError

from host_agent.state import FAMILY_OPTION, OWNER, PROTOCOL, Address, Family, Link, Route, Rule

UP = 1  # IFF_UP
LOOK_UP, PROHIBIT = 1, 8  # FR_ACT_TO_TBL, FR_ACT_PROHIBIT
FAMILIES = {socket.AF_INET: 4, socket.AF_INET6: 6}
NAMES: dict[int, Literal["unicast", "local", "unreachable"]] = {1: "unicast", 2: "local", 7: "unreachable"}
GONE = {errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL}


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


def links(netlink: Any) -> dict[str, FoundLink]:
    found = {}
    for message in netlink.get_links():
        info = message.get("linkinfo")
        driver = info.get("kind") if info else None
        if driver == "tun" and message.get("ifi_type") == 1:  # ARPHRD_ETHER: a tap
            driver = "tap"
        name = message.get("ifname")
        found[name] = FoundLink(
            message["index"],
            name,
            message.get("ifalias") == OWNER,
            message.get("mtu"),
            bool(message["flags"] & UP),
            message.get("carrier") != 0,
            driver or "",
        )
    return found


def addresses(netlink: Any, known: dict[str, FoundLink]) -> frozenset[Address]:
    """All addresses of our links that live, but the link-local ones that the kernel gives."""
    names = {link.index: link.name for link in known.values() if link.ours and link.alive and link.name != "lo"}
    if not names:
        return frozenset()
    found = set()
    for message in netlink.get_addr():
        name = names.get(message["index"])
        text = message.get("local") or message.get("address")
        if name and text and not ip_address(text).is_link_local:
            found.add(Address(name, ip_interface(f"{text}/{message['prefixlen']}")))
    return frozenset(found)


def routes(netlink: Any, known: dict[str, FoundLink]) -> tuple[frozenset[Route], frozenset[Route]]:
    """Our routes by links that live, and those of others (without the ones the kernel itself makes)."""
    names = {link.index: link.name for link in known.values()}
    ours: set[Route] = set()
    others: set[Route] = set()
    for message in netlink.get_routes():
        if message["type"] not in NAMES or message["family"] not in FAMILIES or message["proto"] == 2:
            continue
        route = _route(message, names)
        if message["proto"] != PROTOCOL:
            others.add(route)
        elif route.link is None or known[route.link].alive:
            ours.add(route)
    return frozenset(ours), frozenset(others)


def _route(message: Any, names: dict[int, str]) -> Route:
    anywhere = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    destination = ip_network(f"{message.get('dst') or anywhere}/{message['dst_len']}")
    via, kind = message.get("gateway"), NAMES[message["type"]]
    link = None if kind == "unreachable" else names.get(message.get("oif"))
    table, metric = message.get("table") or message["table"], message.get("priority") or 0
    return Route(destination, kind, link, ip_address(via) if via else None, table, metric)


def rules(netlink: Any) -> frozenset[Rule]:
    """Our ip rules, of both families."""
    return rules_in(rule_messages(netlink))


def rule_messages(netlink: Any) -> list[Any]:
    """All ip rules of both families, as the kernel describes them."""
    return [message for message in netlink.get_rules(family=socket.AF_UNSPEC) if message["family"] in FAMILIES]


def rules_in(messages: Iterable[Any]) -> frozenset[Rule]:
    """Ours among them."""
    found = set()
    for message in messages:
        if message.get("protocol") != PROTOCOL or message["action"] not in (LOOK_UP, PROHIBIT):
            continue
        source = message.get("src")
        found.add(
            Rule(
                message.get("priority") or 0,
                (message.get("table") or message["table"]) if message["action"] == LOOK_UP else 0,
                message.get("iifname"),
                IPv4Network(f"{source}/{message['src_len']}") if source else None,
                message.get("fwmark") or 0,
                message.get("fwmask") or 0 if message.get("fwmark") else 0,
                "ipv4" if message["family"] == socket.AF_INET else "ipv6",
            )
        )
    return frozenset(found)


def all_addresses(netlink: Any) -> frozenset[IPv4Address | IPv6Address]:
    """The addresses of all links, whoever gave them."""
    return frozenset(ip_address(message.get("local") or message.get("address")) for message in netlink.get_addr())


def strange_rules(messages: Iterable[Any], wanted: Iterable[Rule]) -> list[str]:
    """Rules of others that come before one we want and would send the packets of its mark elsewhere."""
    ours = [rule for rule in wanted if rule.mask]
    found = []
    for message in messages:
        mark, mask = message.get("fwmark") or 0, message.get("fwmask") or 0
        preference = message.get("priority") or 0
        if message.get("protocol") == PROTOCOL or not mark:
            continue
        family: Family = "ipv4" if message["family"] == socket.AF_INET else "ipv6"
        table = (message.get("table") or message["table"]) if message["action"] == LOOK_UP else 0
        taken = [rule for rule in ours if (rule.family, rule.mark & mask) == (family, mark)]
        if any(preference <= rule.priority and rule.table != table for rule in taken):
            found.append(f"ip{FAMILY_OPTION[family]} rule pref {preference} fwmark {mark:#x}/{mask:#x}")
    return found


def uplink_address(netlink: Any) -> IPv4Address | None:
    """The address of the interface with the default route; without one, the first that is not this machine's own."""
    found: dict[int, IPv4Address] = {}
    for message in netlink.get_addr(family=socket.AF_INET):
        address = IPv4Address(message.get("local") or message.get("address"))
        if not address.is_loopback and not address.is_link_local:
            found.setdefault(message["index"], address)
    defaults = [message for message in netlink.get_default_routes(family=socket.AF_INET) if message.get("oif") in found]
    best = min(defaults, key=lambda message: message.get("priority") or 0, default=None)
    return found[best.get("oif")] if best else next(iter(found.values()), None)


def addresses_of(netlink: Any, name: str) -> tuple[IPv4Address, ...] | None:
    """The IPv4 addresses of a link, whoever made it; None if there is no such link."""
    found: list[int] = netlink.link_lookup(ifname=name)
    if not found:
        return None
    messages = netlink.get_addr(family=socket.AF_INET, index=found[0])
    return tuple(sorted(IPv4Address(message.get("local") or message.get("address")) for message in messages))


def move(netlink: Any, name: str, namespace_path: str) -> None:
    """Mark a link as ours and put it into another namespace, where the mark goes with it."""
    mark(netlink, name)
    descriptor = os.open(namespace_path, os.O_RDONLY)
    try:
        netlink.link("set", index=_index(netlink, name), net_ns_fd=descriptor)
    finally:
        os.close(descriptor)


def set_link(netlink: Any, link: Link) -> None:
    """Give the link its MTU and bring it up."""
    size = {} if link.mtu is None else {"mtu": link.mtu}
    netlink.link("set", index=_index(netlink, link.name), state="up", **size)


def mark(netlink: Any, name: str) -> None:
    netlink.link("set", index=_index(netlink, name), ifalias=OWNER)


def remove_link(netlink: Any, name: str) -> None:
    with _gone_is_fine():
        netlink.link("del", ifname=name)


def add(netlink: Any, item: Address | Route | Rule) -> None:
    """Add the object; a route takes the place of an earlier one of ours with the same key."""
    match item:
        case Address():
            quiet = {"flags": 0x02} if item.interface.version == 6 else {}  # IFA_F_NODAD: there is no link layer
            netlink.addr("add", index=_index(netlink, item.link), **_address(item), **quiet)
        case Route():
            netlink.route("add", **_route_words(netlink, item))
        case Rule():
            netlink.rule("add", **_rule_words(item))


def replace_route(netlink: Any, route: Route) -> None:
    netlink.route("replace", **_route_words(netlink, route))


def remove(netlink: Any, item: Address | Route | Rule) -> None:
    """Remove the object; one that went away with its link is no error."""
    with _gone_is_fine():
        match item:
            case Address():
                netlink.addr("del", index=_index(netlink, item.link), **_address(item))
            case Route():
                netlink.route("del", **_route_words(netlink, item))
            case Rule():
                netlink.rule("del", **_rule_words(item))


def _address(item: Address) -> dict[str, Any]:
    return {"address": str(item.interface.ip), "prefixlen": item.interface.network.prefixlen}


def _route_words(netlink: Any, route: Route) -> dict[str, Any]:
    words: dict[str, Any] = {
        "dst": str(route.destination),
        "type": route.kind,
        "table": route.table,
        "proto": PROTOCOL,
        "family": socket.AF_INET if route.destination.version == 4 else socket.AF_INET6,
    }
    words |= {"oif": _index(netlink, route.link)} if route.link else {}
    words |= {"gateway": str(route.via)} if route.via else {}
    words |= {"priority": route.metric} if route.metric else {}
    words |= {"scope": 254} if route.kind == "local" else {}  # RT_SCOPE_HOST
    words |= {"scope": 253} if route.kind == "unicast" and route.via is None else {}  # RT_SCOPE_LINK
    return words


def _rule_words(rule: Rule) -> dict[str, Any]:
    words: dict[str, Any] = {
        "family": socket.AF_INET if rule.family == "ipv4" else socket.AF_INET6,
        "priority": rule.priority,
        "table": rule.table,
        "action": LOOK_UP if rule.table else PROHIBIT,
        "protocol": PROTOCOL,
    }
    words |= {"iifname": rule.incoming} if rule.incoming else {}
    words |= {"src": str(rule.source.network_address), "src_len": rule.source.prefixlen} if rule.source else {}
    words |= {"fwmark": rule.mark, "fwmask": rule.mask} if rule.mask else {}
    return words


def _index(netlink: Any, name: str) -> int:
    found: list[int] = netlink.link_lookup(ifname=name)
    if not found:
        raise NetlinkError(errno.ENODEV, f"there is no link {name}")
    return found[0]


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code not in GONE:
            raise
