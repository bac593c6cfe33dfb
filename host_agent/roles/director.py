"""The director: which clients of the LAN go by Xray and which by a tunnel, in the node's own namespace. Pure.

This is the packet flow document as kernel objects, for both families of addresses: XRAY_TPROXY and its sets, ip rule
and table; TUN_DIR with the tunnels' marks, ip rules and tables; and what closes the gaps between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network

from host_agent.facts.values import Facts, NodeFacts
from host_agent.prefixes import Prefixes
from host_agent.roles import director_tunnels as tunnels
from host_agent.roles import director_xray as xray
from host_agent.roles.director_blocks import blocks
from host_agent.roles.director_chains import (
    jumps,
    nameless_are_blocked,
    support,
    tunnel_chain,
    tunnel_rulings,
    tunnelled,
)
from host_agent.roles.director_guard import guard
from host_agent.roles.director_sides import SIDES, Side
from host_agent.roles.director_tunnels import Slot
from host_agent.state import DEGRADED, NODE, Chain, File, HostState, IpSet, NamespaceState, Route, Rule, combine
from policies.host_model import Director

NO_BLOCKS = (
    f"{DEGRADED}this kernel has no IPsec policies, so that nothing holds clients when all of netfilter is flushed;"
    " modprobe xfrm_user"
)


def director(policy: Director, facts: Facts) -> HostState:
    """The state of the node. Raises Refused for tunnels that would share a table."""
    slots = tunnels.slots(policy, facts.node)
    sides = [side for side in SIDES if side.version == 4 or facts.ipv6]
    parts = [_side(policy, side, slots, facts) for side in sides]
    rules = tunnels.rules(slots, policy, facts) | tunnels.probing(slots, policy, facts)
    state = NamespaceState(routes=tunnels.routes(slots, facts), rules=rules)
    whole = combine([HostState(namespaces={NODE: state}), *parts])
    if whole.namespaces[NODE] == NamespaceState():
        return HostState()
    said = (
        *facts.node.obstacles,
        *_absent_lan(policy, facts.node),
        *tunnels.waiting(slots, facts.node),
    )
    said += () if facts.node.blocks else (NO_BLOCKS,)
    said += _blocked_ipv6(policy, slots) if facts.ipv6 else ()
    files = _hash_file(policy, whole) if facts.node.hash_file else frozenset()
    return combine([whole, HostState(files=files, waiting=said)])


def _side(policy: Director, side: Side, slots: tuple[Slot, ...], facts: Facts) -> HostState:
    names = policy.advanced.tunnel_director
    with_xray = xray.has_clients(policy, side)
    sets, missing = _countries(policy, side, slots, with_xray, facts.node)
    by_tunnel = {slot.tunnel.name: _names(slot.tunnel.exclude, side, facts.node) for slot in slots}
    to_tunnels = tunnel_rulings(policy, side, slots, by_tunnel)
    if not with_xray and not to_tunnels:
        return HostState(waiting=missing)
    excluded = _names(policy.xray.exclude_sets, side, facts.node)
    to_xray = xray.rulings(policy, side, excluded, tunnelled(side, policy, slots)) if with_xray else ()
    chains = _merged(support(policy, side, slots), guard(policy, side, to_xray, to_tunnels, facts.node))
    chains.add(Chain(side.family, "mangle", "PREROUTING", jumps(policy, with_xray, bool(to_tunnels))))
    if to_tunnels:
        chains.add(Chain(side.family, "mangle", names.chain, tunnel_chain(policy, to_tunnels)))
    refused = Rule(names.refuse_pref, 0, None, None, names.refused, names.mark_mask, side.family)
    kept = blocks(policy, side, to_xray, to_tunnels, facts.node)
    state = NamespaceState(rules=frozenset({refused}), blocks=kept)
    if with_xray:
        sets |= _xray_sets(policy, side, facts.node)
        chains.add(Chain(side.family, "mangle", policy.advanced.xray.chain, xray.chain(policy, side, to_xray)))
        state |= _to_xray(policy, side)
    state |= NamespaceState(sets=frozenset(sets), chains=frozenset(chains))
    return HostState(namespaces={NODE: state}, waiting=missing)


def _merged(*parts: Iterable[Chain]) -> set[Chain]:
    """Of a chain that several parts have rules for, one with all of them, in the order of the parts."""
    found: dict[tuple[str, ...], Chain] = {}
    for chain in (chain for part in parts for chain in part):
        before = found.get(chain.key)
        found[chain.key] = replace(chain, rules=before.rules + chain.rules) if before else chain
    return set(found.values())


def _to_xray(policy: Director, side: Side) -> NamespaceState:
    """What TPROXY marks is delivered here. ``iif`` keeps the mark out of the kernel's source check, which
    src_valid_mark=1 would turn against TPROXY."""
    names = policy.advanced.xray
    links = policy.advanced.lan.interfaces
    return NamespaceState(
        routes=frozenset({Route(side.everything, "local", "lo", table=names.route_table, metric=side.metric)}),
        rules=frozenset(
            Rule(names.rule_pref, names.route_table, link, None, names.fwmark, names.fwmark_mask, side.family)
            for link in links
        ),
    )


def _xray_sets(policy: Director, side: Side, facts: NodeFacts) -> set[IpSet]:
    names = policy.advanced.xray
    addresses = [ip_network(address) for name in policy.xray.servers for address in facts.servers.get(name, ())]
    servers = Prefixes.of(side.family, [address for address in addresses if address.version == side.version])
    return {
        IpSet(names.clients_ipset + side.suffix, side.family, xray.clients_set(policy, side)),
        IpSet(names.servers_ipset + side.suffix, side.family, servers),
    }


def _names(codes: tuple[str, ...], side: Side, facts: NodeFacts) -> tuple[str, ...]:
    """The sets of these countries, of those whose ranges are known; the extended ranges before the plain ones."""
    keys = [_key(code, side, facts) for code in codes]
    return tuple(dict.fromkeys(key + side.suffix for key in keys if key))


def _key(code: str, side: Side, facts: NodeFacts) -> str | None:
    for name in (f"{code}_ext", code):
        country = facts.countries.get((name, side.family))
        if country is not None and country.prefixes:
            return name
    return None


def _countries(
    policy: Director, side: Side, slots: tuple[Slot, ...], with_xray: bool, facts: NodeFacts
) -> tuple[set[IpSet], tuple[str, ...]]:
    """The sets of all excluded countries, and what is to be said of those that nothing is known of."""
    asked = [*(policy.xray.exclude_sets if with_xray else ())]
    asked += [code for slot in slots if tunnelled(side, policy, (slot,)) for code in slot.tunnel.exclude]
    sets, missing = set(), []
    for code in dict.fromkeys(asked):
        key = _key(code, side, facts)
        country = facts.countries.get((key or code, side.family))
        if key and country and country.prefixes:
            sets.add(IpSet(key + side.suffix, side.family, country.prefixes))
        if not key or (country and country.problem):
            problem = (country.problem if country else None) or "no source has them; privacy-agent apply asks for them"
            lost, end = ("", "; privacy-agent run asks again") if key else (": its destinations stay in the tunnel", "")
            missing.append(f"degraded: ranges of {code} ({side.family}){lost}: {problem}{end}")
    return sets, tuple(missing)


def _absent_lan(policy: Director, facts: NodeFacts) -> tuple[str, ...]:
    return tuple(
        f"degraded: interface {link} of the LAN is not there; make it, or name the right one in advanced.lan.interfaces"
        for link in policy.advanced.lan.interfaces
        if link not in facts.links
    )


def _blocked_ipv6(policy: Director, slots: tuple[Slot, ...]) -> tuple[str, ...]:
    if not nameless_are_blocked(policy, slots):
        return ()
    return (
        "note: IPv6 of hosts that no MAC or IPv6 address names is refused, as some clients are named by IPv4 address"
        " alone (advanced.lan.unnamed_ipv6)",
    )


def _hash_file(policy: Director, whole: HostState) -> frozenset[File]:
    """Written for the operator to compare; nothing here reads it."""
    name = policy.advanced.tunnel_director.chain
    chains = sorted((chain for chain in whole.namespaces[NODE].chains if chain.name == name), key=str)
    if not chains:
        return frozenset()
    text = "".join(f"{chain.family} {rule.arguments}\n" for chain in chains for rule in chain.rules)
    digest = sha256(text.encode()).hexdigest()
    return frozenset({File(policy.advanced.tunnel_director.hash_file, f"{digest}\n".encode(), 0o644)})
