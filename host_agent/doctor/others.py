"""Read the ip rules and routes that others made where the policy decides. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from socket import AF_INET, AF_INET6

from host_agent.doctor.machine import ForeignRoute, ForeignRule, Machine, Unled
from host_agent.drivers import netlink
from host_agent.drivers.namespaces import Namespaces
from host_agent.drivers.rtnetlink import RuleMessage
from host_agent.state import MAIN_TABLE, NODE, PROTOCOL, HostState

LOCAL_TABLE = 255
NOBODYS_FAULT = (PROTOCOL, netlink.OF_THE_KERNEL)  # who made them


def others(wanted: HostState, namespaces: Namespaces) -> Machine:
    """A machine of which no more than this was read."""
    there = places(wanted, namespaces)
    rules = {name: netlink.rule_messages(namespaces.netlink(name)) for name in there}
    return Machine(
        rules=tuple(rule for name, messages in rules.items() for rule in _rules(name, messages)),
        routes=tuple(route for name in there for route in _routes(name, namespaces)),
        unled=tuple(table for name, messages in rules.items() for table in _unled(name, messages)),
    )


def places(wanted: HostState, namespaces: Namespaces) -> list[str]:
    """The node, and the namespaces of the policy that there are."""
    return [NODE, *(name for name in sorted(wanted.namespaces) if name != NODE and namespaces.exists(name))]


def _rules(name: str, messages: Iterable[RuleMessage]) -> Iterator[ForeignRule]:
    for it in messages:
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


def _unled(name: str, messages: Iterable[RuleMessage]) -> Iterator[Unled]:
    unconditional = {
        (it.family, it.table)
        for it in messages
        if it.action == netlink.LOOK_UP and not (it.incoming or it.outgoing or it.source or it.mask)
    }
    for family in (AF_INET, AF_INET6) if Path("/proc/sys/net/ipv6").exists() else (AF_INET,):
        for table in (LOCAL_TABLE, MAIN_TABLE):
            if (family, table) not in unconditional:
                yield Unled(name, 4 if family == AF_INET else 6, table)
