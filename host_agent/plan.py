"""The steps from the state that was found to the state that is wanted. Pure.

The order fails closed: what refuses packets (unreachable routes) and what decides about them (rules, sets, chains)
stands before any link comes up, programs start last, and what is stale goes when its successor works.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

from host_agent.guard import ahead, both
from host_agent.peers import change
from host_agent.state import (
    FAMILIES,
    FORWARDING_PREFERENCE,
    NODE,
    Bridge,
    Daemon,
    HostState,
    Link,
    NamespaceState,
    Route,
    Rule,
    Sysctl,
    of_family,
)
from host_agent.steps import (
    Add,
    ChangeBridge,
    ConfigureWireGuard,
    CreateNamespace,
    CreateWireGuard,
    MoveLink,
    Remove,
    RemoveBridge,
    RemoveChains,
    RemoveDeadLink,
    RemoveFile,
    RemoveNamespace,
    RemovePorts,
    RemoveSets,
    RemoveWireGuard,
    ReplaceChains,
    ReplaceRoute,
    ReplaceSets,
    Replug,
    SetLink,
    SetSysctl,
    StartDaemon,
    Step,
    StopDaemon,
    WriteFile,
)
from host_agent.waypoint import waypoint

Pair = tuple[str, NamespaceState, NamespaceState]  # name, wanted, found


def plan(wanted: HostState, found: HostState) -> tuple[Step, ...]:
    """No steps if and only if the host is as wanted. Between any two steps a packet meets the old policy or the new."""
    halfway = waypoint(wanted, found)
    guarded = both(halfway or wanted, found)
    first = (guarded and ahead(guarded, found)) or found
    stops = [first, *(stop for stop in (guarded, halfway, wanted) if stop is not None)]
    return (*_first(first, found), *(step for before, stop in pairwise(stops) for step in _leg(stop, before)))


def _first(wanted: HostState, found: HostState) -> Iterator[Step]:
    """Sets and chains that have to change before all else."""
    for name, state in sorted(wanted.namespaces.items()):
        pair = (name, state, found.namespace(name))
        yield from _sets(pair)
        yield from _chains(pair)


def _leg(wanted: HostState, found: HostState) -> tuple[Step, ...]:
    pairs = [(name, state, found.namespace(name)) for name, state in sorted(wanted.namespaces.items())]
    return (
        *_end_daemons(wanted, found),
        *_write_files(wanted, found),
        *(CreateNamespace(name) for name, _, _ in pairs if name != NODE and name not in found.namespaces),
        *(step for pair in pairs for step in _settings(pair, None)),
        *(step for pair in pairs for step in _routes(pair, by_link=False)),
        *(step for pair in pairs for step in _rules(pair)),
        *(step for pair in pairs for step in _sets(pair)),
        *(step for pair in pairs for step in _chains(pair)),
        *(step for pair in pairs for step in _blocks(pair)),
        *_bridges(wanted, found),
        *(step for pair in pairs for step in _links(pair, found)),
        *(step for pair in pairs for step in _routes(pair, by_link=True)),
        *_start_daemons(wanted, found),
        *_remove_stale(wanted, found),
    )


def _end_daemons(wanted: HostState, found: HostState) -> Iterator[Step]:
    names = {daemon.name for daemon in wanted.daemons}
    for daemon in sorted(found.daemons, key=_name):
        if daemon.name not in names:
            yield StopDaemon(daemon)


def _start_daemons(wanted: HostState, found: HostState) -> Iterator[Step]:
    for daemon in sorted(wanted.daemons - found.daemons, key=_name):
        yield from (StopDaemon(other) for other in found.daemons if other.name == daemon.name)
        yield StartDaemon(daemon)


def _write_files(wanted: HostState, found: HostState) -> Iterator[Step]:
    for file in sorted(wanted.files - found.files, key=lambda file: file.path):
        yield WriteFile(file)


def _settings(pair: Pair, link: Link | None) -> Iterator[Step]:
    """The kernel settings of one link, or those of no link."""
    name, wanted, found = pair
    # ip_forward goes first: writing it resets accept_redirects to a host's or a router's value.
    missing = wanted.sysctls - found.sysctls
    if any(it.key.endswith("/ip_forward") for it in missing):
        missing |= {it for it in wanted.sysctls if it.key.endswith("/all/accept_redirects")}
    for sysctl in sorted(missing, key=lambda it: (not it.key.endswith("/ip_forward"), it.key)):
        owner = next((it for it in wanted.links if f"/{it.name}/" in sysctl.key), None)
        if owner == link:
            yield SetSysctl(name, sysctl)


def _routes(pair: Pair, by_link: bool) -> Iterator[Step]:
    """Those by links of ours, which may not be there yet, or the others."""
    name, wanted, found = pair
    there = {route.key for route in found.routes}
    ours = {link.name for link in wanted.links}
    for route in sorted(wanted.routes - found.routes, key=_route_order):
        if (route.link in ours) == by_link:
            yield ReplaceRoute(name, route) if route.key in there else Add(name, route)


def _route_order(route: Route) -> tuple[int, str]:
    """The narrower before the wider: a packet never finds only the wide one."""
    return (-route.destination.prefixlen, str(route))


def _rules(pair: Pair) -> Iterator[Step]:
    name, wanted, found = pair
    for rule in sorted(wanted.rules - found.rules, key=_preference):
        yield Add(name, rule)


def _sets(pair: Pair) -> Iterator[Step]:
    name, wanted, found = pair
    if wanted.sets - found.sets:
        yield ReplaceSets(name, wanted.sets - found.sets, found.sets)


def _chains(pair: Pair) -> Iterator[Step]:
    name, wanted, found = pair
    for family in FAMILIES:
        missing = of_family(family, wanted.chains) - found.chains
        if missing:
            yield ReplaceChains(name, family, missing, of_family(family, found.chains))


def _blocks(pair: Pair) -> Iterator[Step]:
    """Behind the chains: what these have judged bears a mark."""
    name, wanted, found = pair
    for block in sorted(wanted.blocks - found.blocks, key=str):
        yield Add(name, block)


def _bridges(wanted: HostState, found: HostState) -> Iterator[Step]:
    there = {bridge.name: bridge for bridge in found.bridges}
    for bridge in sorted(wanted.bridges, key=lambda bridge: bridge.name):
        before = there.get(bridge.name)
        new_ports = bridge.ports - (before.ports if before else frozenset())
        differing = _differing(bridge, before) if before else {"create": "create"}
        if new_ports or differing:
            words = [*differing.values(), *([f"add ports {', '.join(sorted(new_ports))}"] if new_ports else [])]
            controller = not differing.keys().isdisjoint({"create", "controller", "max_backoff", "connection_mode"})
            yield ChangeBridge(bridge, new_ports, controller, "; ".join(words))


def _differing(wanted: Bridge, found: Bridge) -> dict[str, str]:
    """By the setting's name: what it is to be, and what it is."""
    names = [field.name for field in fields(Bridge) if field.compare and field.name != "ports"]
    pairs = {name: (getattr(wanted, name), getattr(found, name)) for name in names}
    return {name: f"{name} {_value(new)} (was {_value(old)})" for name, (new, old) in pairs.items() if new != old}


def _value(setting: str | int | bool | tuple[str, ...] | None) -> str:
    """As ovs-vsctl(8) has it."""
    match setting:
        case bool():
            return str(setting).lower()
        case tuple():
            return ",".join(setting) or "none"
    return str(setting or "none")


def _links(pair: Pair, found_host: HostState) -> Iterator[Step]:
    """Links and their addresses; a link has all its settings before it comes up."""
    name, wanted, found = pair
    devices = {device.name: device for device in wanted.wireguard}
    settings = {device.name: device for device in found.wireguard}
    there = {link.name: link for link in found.links}
    for link in sorted(wanted.links, key=lambda link: (link.kind, link.name)):
        before = there.get(link.name)
        if before is not None and not before.alive:
            yield RemoveDeadLink(name, before)
            before = None
        if before is None:
            yield from _bring(name, link, found_host)
        yield from _settings(pair, link)
        if link.name in devices:
            difference = change(devices[link.name], settings.get(link.name))
            if difference:
                yield ConfigureWireGuard(name, link.name, difference)
        if before is None or not before.up or link.mtu not in (None, before.mtu):
            yield SetLink(name, link)
    for address in sorted(wanted.addresses - found.addresses, key=str):
        yield Add(name, address)


def _bring(namespace: str, link: Link, found: HostState) -> Iterator[Step]:
    """The link into its namespace, from wherever it is."""
    elsewhere = [
        name
        for name, state in found.namespaces.items()
        if any(it.alive and it.name == link.name for it in state.links) and name != namespace
    ]
    if elsewhere:
        yield MoveLink(elsewhere[0], namespace, link)
    elif link.kind == "wireguard":
        yield CreateWireGuard(namespace, link)
    else:
        yield from (Replug(bridge.name, link.name) for bridge in found.bridges if link.name in bridge.ports)
        yield MoveLink("", namespace, link)


def _remove_stale(wanted: HostState, found: HostState) -> Iterator[Step]:
    wanted_links = {link.name for state in wanted.namespaces.values() for link in state.links}
    going = [name for name, state in found.namespaces.items() if state.created and name not in wanted.namespaces]
    for name, state in sorted(found.namespaces.items()):
        for link in sorted(state.links, key=lambda link: link.name):
            if link.kind == "wireguard" and link.name not in wanted_links:
                yield RemoveWireGuard(name, link.name)
            elif not link.alive and name not in wanted.namespaces and name not in going:
                yield RemoveDeadLink(name, link)
        if name not in going:
            yield from _stale_in_namespace(name, wanted.namespace(name), state)
    kept = {bridge.name: bridge for bridge in wanted.bridges}
    for bridge in sorted(found.bridges, key=lambda bridge: bridge.name):
        if bridge.name not in kept:
            yield RemoveBridge(bridge.name)
        elif bridge.ports - kept[bridge.name].ports:
            yield RemovePorts(bridge.name, bridge.ports - kept[bridge.name].ports)
    yield from (RemoveNamespace(name) for name in sorted(going))
    paths = {file.path for file in wanted.files}
    yield from (RemoveFile(file) for file in sorted(found.files, key=lambda f: f.path) if file.path not in paths)


def _stale_in_namespace(name: str, wanted: NamespaceState, found: NamespaceState) -> Iterator[Step]:
    for rule in sorted(found.rules - wanted.rules, key=_preference):
        if rule.priority == FORWARDING_PREFERENCE and name == NODE:
            # While the chains that restrict it still stand.
            yield SetSysctl(name, Sysctl(f"net/ipv4/conf/{rule.incoming}/forwarding", "0"))
    for block in sorted(found.blocks - wanted.blocks, key=str):
        yield Remove(name, block)
    keys = {chain.key for chain in wanted.chains}
    for family in FAMILIES:
        others = (chain for chain in of_family(family, found.chains) if chain.key not in keys)
        if stale := frozenset(chain for chain in others if chain.rules or not chain.shared):
            yield RemoveChains(name, family, stale)
    names = {ipset.name for ipset in wanted.sets}
    if stale_sets := frozenset(ipset for ipset in found.sets if ipset.name not in names):
        yield RemoveSets(name, stale_sets)
    for rule in sorted(found.rules - wanted.rules, key=_preference):
        yield Remove(name, rule)
    route_keys = {route.key for route in wanted.routes}
    for route in sorted(found.routes, key=str):
        if route.key not in route_keys:
            yield Remove(name, route)
    for address in sorted(found.addresses - wanted.addresses, key=str):
        yield Remove(name, address)


def _preference(rule: Rule) -> tuple[int, str]:
    return (rule.priority, str(rule))


def _name(daemon: Daemon) -> str:
    return daemon.name
