"""Cheap readings that tell whether anything of ours can have changed since the last whole reading.

They cost a millisecond or two, a whole reading some five times that. What they cannot see (a file, a WireGuard peer,
an entry exchanged in a large set whose turn has not come) the next whole readings see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from host_agent.drivers import ipset, netfilter, netlink, ovs, sysctl, xfrm
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError
from host_agent.state import MAIN_TABLE, NODE, HostState, NamespaceState, Route, of_family

UNREADABLE = -1  # differs from every digest but itself: the whole reading says what is wrong


def watched(wanted: HostState) -> tuple[str, ...]:
    return tuple(sorted({NODE, *wanted.namespaces}))


def routing(namespaces: Namespaces, wanted: HostState, names: Iterable[str]) -> Mapping[str, NamespaceState]:
    """What is ours of which the kernel tells changes: addresses, routes, ip rules, IPsec policies, and their links."""
    return {name: _routing(namespaces, name, wanted.namespace(name)) for name in names}


def _routing(namespaces: Namespaces, name: str, wanted: NamespaceState) -> NamespaceState:
    needed = {route.link for route in wanted.routes}
    socket = namespaces.netlink(name)
    links = netlink.links(socket)
    return NamespaceState(
        links=frozenset(link.link() for link in links.values() if link.ours or link.name in needed),
        addresses=netlink.addresses(socket, links),
        routes=netlink.routes(socket, links)[0],
        rules=netlink.rules(socket),
        blocks=xfrm.blocks(namespaces, name) if name == NODE else frozenset(),
    )


def routing_part(wanted: NamespaceState, found: NamespaceState) -> tuple[NamespaceState, NamespaceState]:
    """The ip rules and routes of both, but no route by a link that is gone or down: it cannot be put back. Pure."""
    up = {link.name for link in found.links if link.up and link.alive} | {"lo", None}
    possible = frozenset(route for route in wanted.routes if route.link in up)
    return (
        NamespaceState(routes=possible, rules=wanted.rules),
        NamespaceState(routes=found.routes - (wanted.routes - possible), rules=found.rules),
    )


def filtering(namespaces: Namespaces, wanted: HostState, names: Iterable[str]) -> Mapping[str, int]:
    """Digests of the chains, sets and settings of each namespace: they change without a word."""
    return {name: _filtering(namespaces, name, wanted.namespaces[name]) for name in names if name in wanted.namespaces}


def _filtering(namespaces: Namespaces, name: str, wanted: NamespaceState) -> int:
    found: list[object] = []
    memory = namespaces.memory(name)
    with namespaces.inside(name):
        try:
            for family in sorted({chain.family for chain in wanted.chains}):
                found.append(netfilter.read(family, of_family(family, wanted.chains), memory))
            found.append(sysctl.read(setting.key for setting in wanted.sysctls))
            if wanted.sets:
                found.append(ipset.look(wanted.sets, memory))
            found.append(_others_routes(namespaces, name, wanted))
        except (AgentError, OSError):
            return UNREADABLE
    return hash(tuple(found))


def _others_routes(namespaces: Namespaces, name: str, wanted: NamespaceState) -> frozenset[Route]:
    """Where the tables lead that others keep and our rules look into: by that the guard judges what leaves."""
    tables = {rule.table for rule in wanted.rules} - {route.table for route in wanted.routes if route.link}
    if not tables - {0, MAIN_TABLE}:
        return frozenset()
    socket = namespaces.netlink(name)
    others = netlink.routes(socket, netlink.links(socket))[1]
    return frozenset(route for route in others if route.table in tables)


def switch(wanted: HostState) -> int:
    """A digest of the bridge, if one is wanted: ovs-vsctl is a process each time."""
    if not wanted.bridges:
        return 0
    try:
        reading = ovs.read_database()
    except AgentError:
        return UNREADABLE
    return hash((reading.bridges, reading.strangers))
