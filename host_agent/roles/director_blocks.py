"""The last guard, for the day on which all of netfilter is flushed: IPsec policies, which are none of it. Pure.

What the chains in mangle have judged bears a mark: a tunnel's, the proxy's, or that of what they let past. A packet
without any has met no chain. If it comes from a client whose group keeps what it cannot carry, it is dropped.
"""

from __future__ import annotations

import re
from ipaddress import ip_network

from host_agent.facts.values import NodeFacts
from host_agent.prefixes import Prefixes
from host_agent.roles import director_xray as xray
from host_agent.roles.director_rulings import Ruling
from host_agent.roles.director_sides import Side
from host_agent.roles.director_tunnels import Slot
from host_agent.state import Block, IPNetwork
from policies.host_model import Director

LINK_LOCAL = ip_network("fe80::/10")  # is never forwarded, but asks for names
WHOLE = re.compile(rf"-s (?:({LINK_LOCAL}) .*|(\S+))")  # the match of a ruling about all that a client sends
EVERYTHING = ""  # that of one about everybody


def blocks(
    director: Director, side: Side, to_xray: tuple[Ruling, ...], to_tunnels: tuple[Ruling, ...], facts: NodeFacts
) -> frozenset[Block]:
    """Of each address whose packets may not go by the main table unless a chain has let them past."""
    if not facts.blocks:
        return frozenset()
    kept: list[IPNetwork] = []
    for ruling in reversed(to_tunnels):  # the first that takes a packet decides, so it has the last word here
        own = _lan(director, side, facts) if ruling.match == EVERYTHING else _client(ruling.match)
        kept = [*kept, *own] if _keeps(ruling) else _without(side, kept, own)
    if any(ruling.match == EVERYTHING and _keeps(ruling) for ruling in to_xray):
        kept += _networks(xray.clients_set(director, side))
    sources = _networks(Prefixes.of(side.family, kept))
    return frozenset(Block(source, queries) for source in sources for queries in ("", "udp", "tcp"))


def _keeps(ruling: Ruling) -> bool:
    return ruling.outcome.keeps if isinstance(ruling.outcome, Slot) else ruling.outcome == "refused"


def _client(match: str) -> list[IPNetwork]:
    """None for a part of what he sends, nor for one who is known by his MAC address."""
    found = WHOLE.fullmatch(match)
    return [ip_network(found[1] or found[2])] if found else []


def _lan(director: Director, side: Side, facts: NodeFacts) -> list[IPNetwork]:
    links = [facts.links[link] for link in director.advanced.lan.interfaces if link in facts.links]
    networks = [*director.advanced.lan.subnets, LINK_LOCAL, *(network for link in links for network in link.networks)]
    return [network for network in networks if network.version == side.version]


def _without(side: Side, networks: list[IPNetwork], others: list[IPNetwork]) -> list[IPNetwork]:
    return _networks(Prefixes.of(side.family, networks) - Prefixes.of(side.family, others)) if others else networks


def _networks(prefixes: Prefixes) -> list[IPNetwork]:
    return [ip_network(prefix) for prefix in prefixes]
