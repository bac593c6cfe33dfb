"""Cheap readings that tell whether anything of ours can have changed since the last whole reading.

They cost a few milliseconds, a whole reading some ten times that. What they cannot see (a file, a WireGuard peer, what
``ipset.read`` cannot see of a large set) the next whole reading sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from host_agent.command import run
from host_agent.drivers import ipset, netlink, ovs, sysctl
from host_agent.drivers.namespaces import Namespaces
from host_agent.drivers.netfilter import TOOLS
from host_agent.errors import AgentError
from host_agent.state import NODE, HostState, NamespaceState

UNREADABLE = -1  # differs from every digest but itself: the whole reading says what is wrong


def watched(wanted: HostState) -> tuple[str, ...]:
    return tuple(sorted({NODE, *wanted.namespaces}))


def routing(namespaces: Namespaces, wanted: HostState, names: Iterable[str]) -> Mapping[str, NamespaceState]:
    """Addresses, routes and ip rules that are ours, and the links they need: what the kernel tells changes of."""
    return {name: _routing(namespaces, name, wanted.namespaces.get(name, NamespaceState())) for name in names}


def _routing(namespaces: Namespaces, name: str, wanted: NamespaceState) -> NamespaceState:
    needed = {route.link for route in wanted.routes}
    socket = namespaces.netlink(name)
    links = netlink.links(socket)
    return NamespaceState(
        links=frozenset(link.link() for link in links.values() if link.ours or link.name in needed),
        addresses=netlink.addresses(socket, links),
        routes=netlink.routes(socket, links)[0],
        rules=netlink.rules(socket),
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
    with namespaces.inside(name):
        try:
            for tool in sorted({TOOLS[chain.family][0] for chain in wanted.chains}):
                found += [line for line in run([tool]).splitlines() if not line.startswith((":", "#"))]
            found.append(sysctl.read(setting.key for setting in wanted.sysctls))
            if wanted.sets:
                found.append(ipset.read())
        except (AgentError, OSError):
            return UNREADABLE
    return hash(tuple(found))


def switch() -> int:
    try:
        reading = ovs.read()
    except AgentError:
        return UNREADABLE
    return hash((reading.bridges, reading.strangers))
