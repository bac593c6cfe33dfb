"""Tunnels of the director: which routing table each one is, their slots and marks, routes and ip rules. Pure.

A tunnel that is an interface gets a table of the agent's own, with a number made from its name, so that no change of
order in the document gives a table another meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zlib import crc32

from host_agent.errors import Refused
from host_agent.facts.values import Facts, NodeFacts
from host_agent.roles.director_sides import SIDES, Side, active
from host_agent.state import LAST_METRIC, MAIN_TABLE, NAME, Route, Rule
from policies.host_model import MAIN, Director, Tunnel

OWN_TABLES = 1_000_000  # from here on, as many again


@dataclass(frozen=True)
class Way:
    """Where a tunnel's name leads. ``link``: the interface, of a tunnel that is one."""

    name: str
    table: int
    link: str | None = None


@dataclass(frozen=True)
class Slot:
    """A tunnel at work: its mark, and the ways it can go in their order, of which the first that lives is taken."""

    tunnel: Tunnel
    mark: int
    preference: int
    ways: tuple[Way, ...]
    table: int

    @property
    def is_main(self) -> bool:
        return self.tunnel.name == MAIN

    @property
    def keeps(self) -> bool:
        """What it cannot carry is refused: the kill switch."""
        return self.tunnel.treatment.kill_switch and all(it.table != MAIN_TABLE for it in self.ways)


def slots(director: Director, facts: NodeFacts) -> tuple[Slot, ...]:
    """The tunnels that have clients, by their position. One without clients takes no slot."""
    names = director.advanced.tunnel_director
    working = [tunnel for tunnel in director.tunnels if active(tunnel.clients, director)]
    found = []
    for index, tunnel in enumerate(working):
        ways = tuple(way(name, facts) for name in (tunnel.name, *tunnel.failover))
        taken = next((it for it in ways if _lives(it, facts)), ways[0])
        found.append(Slot(tunnel, names.mark(index + 1), names.pref_base + index, ways, taken.table))
    _refuse_shared_tables(found, director)
    return tuple(found)


def way(name: str, facts: NodeFacts) -> Way:
    """A name of rt_tables is a table, as in the document; any other is an interface, there or not."""
    if name == MAIN:
        return Way(name, MAIN_TABLE)
    if name.isdecimal():
        return Way(name, int(name))
    if name in facts.tables:
        return Way(name, facts.tables[name])
    return Way(name, OWN_TABLES + crc32(name.encode()) % OWN_TABLES, name)


def _lives(it: Way, facts: NodeFacts) -> bool:
    if it.name in facts.dead:
        return False
    return it.link is None or (it.link in facts.links and facts.links[it.link].up)


def _refuse_shared_tables(found: Iterable[Slot], director: Director) -> None:
    users: dict[int, str] = {director.advanced.xray.route_table: "advanced.xray.route_table"}
    for slot in found:
        for it in slot.ways:
            if it.table in (253, 255, 0):
                raise Refused(f"tunnel_director.tunnels.{it.name}: table {it.table} is the kernel's own")
            if it.table != MAIN_TABLE and users.setdefault(it.table, it.name) != it.name:
                raise Refused(
                    f"tunnel_director.tunnels.{it.name}: its table {it.table} is that of {users[it.table]} too"
                )


def waiting(found: Iterable[Slot], facts: NodeFacts) -> tuple[str, ...]:
    """What is said of tunnels that cannot carry anything."""
    said = []
    for slot in found:
        end = "its clients are refused" if slot.tunnel.treatment.kill_switch else "its clients go out directly"
        living = [it for it in slot.ways if _lives(it, facts)]
        first = slot.ways[0]
        if first in living:
            continue
        reason = "is dead" if first.name in facts.dead else "is no interface that is up, nor a table of rt_tables"
        end = f"its clients go by {living[0].name}" if living else end
        said.append(f"degraded: tunnel {first.name} {reason}: {end}; bring it up, or name another")
    return tuple(said)


def routes(found: Iterable[Slot], facts: Facts) -> frozenset[Route]:
    """Of each interface its default route; behind every tunnel ``unreachable``, which a dead one leaves alone."""
    made = set()
    for slot in found:
        for it in slot.ways:
            if it.table == MAIN_TABLE:
                continue
            for side in _sides(facts):
                link = facts.node.links.get(it.link or "")
                if it.link and link and link.up and (side.version == 4 or link.ipv6):
                    made.add(Route(side.everything, link=it.link, table=it.table, metric=side.metric))
                if slot.tunnel.treatment.kill_switch:
                    made.add(Route(side.everything, "unreachable", table=it.table, metric=LAST_METRIC))
    return frozenset(made)


def rules(found: Iterable[Slot], director: Director, facts: Facts) -> frozenset[Rule]:
    mask = director.advanced.tunnel_director.mark_mask
    return frozenset(
        Rule(slot.preference, slot.table, None, None, slot.mark, mask, side.family)
        for slot in found
        for side in _sides(facts)
    )


def probing(found: Iterable[Slot], director: Director, facts: Facts) -> frozenset[Rule]:
    """What a probe sends, bound to its tunnel's device, is looked up in the tunnel's table. Main need not have a route
    by that device; without one, IPv6 sends nothing, and IPv4 takes the target for a neighbour (ip(7))."""
    preference = director.advanced.tunnel_director.refuse_pref
    ways = {it.name: it for slot in found for it in slot.ways}
    made = set()
    for tunnel in (tunnel for tunnel in director.tunnels if tunnel.name in ways):
        versions = {target.address.version for target in tunnel.probe}
        for side in (side for side in _sides(facts) if side.version in versions):
            link = device(ways[tunnel.name], side.version, facts.node.routes)
            if link:
                made.add(Rule(preference, ways[tunnel.name].table, family=side.family, outgoing=link))
    return frozenset(made)


def device(taken: Way, version: int, routes: Iterable[Route]) -> str | None:
    """The interface that a tunnel is, or that its table's default route leads to."""
    if taken.link:
        return taken.link
    everything = next(side.everything for side in SIDES if side.version == version)
    defaults = [it for it in routes if (it.table, it.destination) == (taken.table, everything) and it.link]
    return min(defaults, key=lambda route: route.metric).link if defaults else None


def _sides(facts: Facts) -> tuple[Side, ...]:
    return tuple(side for side in SIDES if side.version == 4 or facts.ipv6)


def tables_by_name(found: Iterable[Slot]) -> Mapping[str, int]:
    """For reports: what the number of each tunnel's table is."""
    return {it.name: it.table for slot in found for it in slot.ways}


def interfaces(slot: Slot) -> tuple[str, ...]:
    return tuple(it.link for it in slot.ways if it.link and NAME.fullmatch(it.link))
