"""Read the ip rules and routes that others made where the policy decides. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from socket import AF_INET

from host_agent.doctor.machine import ForeignRoute, ForeignRule, Machine
from host_agent.drivers import netlink
from host_agent.drivers.namespaces import Namespaces
from host_agent.state import NODE, PROTOCOL, HostState

NOBODYS_FAULT = (PROTOCOL, netlink.OF_THE_KERNEL)  # who made them


def others(wanted: HostState, namespaces: Namespaces) -> Machine:
    """A machine of which no more than this was read."""
    there = places(wanted, namespaces)
    return Machine(
        rules=tuple(rule for name in there for rule in _rules(name, namespaces)),
        routes=tuple(route for name in there for route in _routes(name, namespaces)),
    )


def places(wanted: HostState, namespaces: Namespaces) -> list[str]:
    """The node, and the namespaces of the policy that there are."""
    return [NODE, *(name for name in sorted(wanted.namespaces) if name != NODE and namespaces.exists(name))]


def _rules(name: str, namespaces: Namespaces) -> Iterator[ForeignRule]:
    for it in netlink.rule_messages(namespaces.netlink(name)):
        if it.protocol not in NOBODYS_FAULT:
            family = 4 if it.family == AF_INET else 6
            yield ForeignRule(name, family, it.priority, it.table, it.mark, it.mask, it.incoming or None)


def _routes(name: str, namespaces: Namespaces) -> Iterator[ForeignRoute]:
    socket = namespaces.netlink(name)
    names = {link.index: link.name for link in netlink.links(socket).values()}
    for it in netlink.route_messages(socket):
        if it.protocol not in NOBODYS_FAULT:
            target = str(netlink.destination(it)) if it.length else "default"
            device = f" dev {names[it.link]}" if it.link in names else ""
            yield ForeignRoute(name, it.table, f"{target}{device}")
