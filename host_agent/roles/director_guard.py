"""TUN_GUARD and XRAY_GUARD: what the other chains decide about a packet is checked where it leaves. Pure.

Whoever empties the mangle table, a set, a routing table, or takes away an ip rule, makes the kernel route a client's
packets as if nobody had named them. The guard stands in another table, at the other end of the packet's way, and says
the same policy in other words: by the client's address and the device by which the packet leaves, never by a mark or
by the clients' set. What a policy carries may leave by its tunnel only; what a proxy takes may not leave at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from host_agent.facts.values import NodeFacts
from host_agent.roles import director_xray as xray
from host_agent.roles.director_rulings import DNS, Ruling
from host_agent.roles.director_sides import Side, active, macs, source
from host_agent.roles.director_tunnels import Slot
from host_agent.state import NAME, Chain, IPNetwork, filter_rule
from policies.host_model import Director


def guard(
    director: Director, side: Side, to_xray: tuple[Ruling, ...], to_tunnels: tuple[Ruling, ...], facts: NodeFacts
) -> frozenset[Chain]:
    """The guard's chains, and the jumps to them: of all that is forwarded, and of queries to this machine."""
    names, table = director.advanced.tunnel_director, director.advanced.tunnel_director.guard_table
    links = director.advanced.lan.interfaces
    chains = {
        names.guard: _rules(director, side, to_xray, to_tunnels, facts),
        "FORWARD": [(f"-i {link} -j {names.guard}", "") for link in links],
        "INPUT": [(f"-i {link} {rest} -j {names.guard}", "") for link in links for rest in _queries(director)],
    }
    if to_xray:
        keeps = director.xray.treatment.kill_switch
        own = [(it, "xray") for it in _redirected(director, side, to_tunnels, facts)]
        own += [(_verdict(it.match, _may_pass(it, keeps)), it.item) for it in to_xray]
        chains[director.advanced.xray.guard] = own
    return frozenset(
        Chain(side.family, table, name, tuple(filter_rule(*rule) for rule in rules)) for name, rules in chains.items()
    )


def _queries(director: Director) -> tuple[str, ...]:
    """Those that TPROXY has not given to the proxy."""
    names = director.advanced.xray
    return tuple(f"{port} -m mark ! --mark {names.fwmark:#x}/{names.fwmark_mask:#x}" for port in DNS)


def _redirected(director: Director, side: Side, to_tunnels: tuple[Ruling, ...], facts: NodeFacts) -> Iterator[str]:
    """Queries that Xray leaves to a client's tunnel. Nat has sent them to the tunnel's resolver since, so that only
    conntrack knows where they were bound for."""
    slots = [it.outcome for it in to_tunnels if isinstance(it.outcome, Slot)]
    if all(slot.tunnel.treatment.dns != "hijack" for slot in slots):
        return
    asked = [str(it) for name in director.xray.servers for it in facts.servers.get(name, ())]
    asked += side.bypassed if director.xray.treatment.dns == "tunnel" or xray.blocked(director, side) else ()
    for address in (it for it in dict.fromkeys(asked) if (":" in it) == (side.version == 6)):
        yield from (f"{port} -m conntrack --ctstate DNAT --ctorigdst {address} -j RETURN" for port in DNS)


def _rules(
    director: Director, side: Side, to_xray: tuple[Ruling, ...], to_tunnels: tuple[Ruling, ...], facts: NodeFacts
) -> list[tuple[str, str]]:
    """Of TUN_GUARD, each with its policy item."""
    rules = [(it, "LAN") for it in _within_the_lan(director, side)]
    if to_xray:
        clients = [f"-s {network}" for network in xray.clients_set(director, side)]
        clients += [source(mac) for mac in macs(active(director.xray.clients, director))]
        rules += [(f"{client} -j {director.advanced.xray.guard}", "xray") for client in clients]
    return rules + [(rule, ruling.item) for ruling in to_tunnels for rule in _checked(ruling, side, facts)]


def _within_the_lan(director: Director, side: Side) -> Iterator[str]:
    """A bridge may show netfilter what it passes from port to port (bridge-nf-call-iptables)."""
    own = [str(it) for it in director.advanced.lan.subnets if it.version == side.version]
    for link in director.advanced.lan.interfaces:
        yield from (f"-o {link} -d {network} -j RETURN" for network in dict.fromkeys([*own, *side.bypassed]))


def _may_pass(ruling: Ruling, keeps: bool) -> bool:
    """``keeps``: the kill switch; without it a packet goes its own way where its group cannot carry it."""
    return ruling.outcome == "past" or (ruling.outcome != "refused" and not keeps)


def _verdict(match: str, passes: bool) -> str:
    return f"{match} -j {'RETURN' if passes else 'DROP'}".lstrip()


def _checked(ruling: Ruling, side: Side, facts: NodeFacts) -> Iterator[str]:
    slot = ruling.outcome
    if not isinstance(slot, Slot):
        yield _verdict(ruling.match, _may_pass(ruling, keeps=True))
    elif not slot.keeps:
        yield _verdict(ruling.match, passes=True)
    else:
        yield from (f"{ruling.match} {exit} -j RETURN" for exit in _exits(slot, side, facts))
        yield _verdict(ruling.match, passes=False)


def _exits(slot: Slot, side: Side, facts: NodeFacts) -> Iterable[str]:
    """By which devices, and for which destinations, a tunnel's ways lead; also those it does not go just now."""
    found = dict.fromkeys(f"-o {it.link}" for it in slot.ways if it.link and NAME.fullmatch(it.link))
    tables = {it.table for it in slot.ways if not it.link}
    routes = [it for it in facts.routes if it.table in tables and it.destination.version == side.version]
    for link in sorted({it.link for it in routes if it.link and NAME.fullmatch(it.link)}):
        for network in _collapsed(it.destination for it in routes if it.link == link):
            found[f"-o {link} -d {network}" if network.prefixlen else f"-o {link}"] = None
    return found


def _collapsed(networks: Iterable[IPNetwork]) -> list[IPNetwork]:
    found = list(networks)
    return [
        *collapse_addresses(it for it in found if isinstance(it, IPv4Network)),
        *collapse_addresses(it for it in found if isinstance(it, IPv6Network)),
    ]
