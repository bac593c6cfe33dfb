"""A guard that lets past what either of two policies allows, for the time in which one takes the other's place. Pure.

A guard checks, in a table of its own, what the deciding chains have done with a packet. The two tables change one after
the other, and ip rules and routes before and after them. So between two policies the old guard's chains stay, and
where they would drop a packet they send it to the new guard's, which stand under free names: dropped is what both
drop. When everything else is as the new policy has it, the new guard takes its own names, alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_network

from host_agent.state import DECIDING, Chain, FilterRule, HostState, NamespaceState, filter_rule, free_name

DROP = re.compile(r"-j DROP$")
JUMP = re.compile(r"(?<=-[jg] )\S+")
SOURCE = re.compile(r"-s (\S+) ")
PASSES = re.compile(r"-j RETURN( -m comment|$)")
SET = re.compile(r"--match-set (\S+) ")


def both(wanted: HostState, found: HostState) -> HostState | None:
    """The wanted state with a guard for what was found and for what is wanted. None if there is no need of one."""
    return wanted.changed(found, _between)


def ahead(guarded: HostState, found: HostState) -> HostState | None:
    """What was found, with the guard for both, and the sets it asks. None if the guard may change with the deciding
    chains, as these ask no set whose content will change under them."""
    return found.changed(guarded, _ahead)


def _ahead(found: NamespaceState, guarded: NamespaceState) -> NamespaceState | None:
    places = {(chain.family, chain.table) for chain in found.chains if _guards(chain)}
    guards = {chain for chain in guarded.chains if _guards(chain) and (chain.family, chain.table) in places}
    names = {ipset.name for ipset in found.sets}
    if guards <= found.chains or not any(it.name in names for it in guarded.sets - found.sets):
        return None
    sets = found.sets | {ipset for ipset in guarded.sets if ipset.name not in names}
    return replace(found, sets=sets, chains=_with(found.chains, guards))


def _with(chains: Iterable[Chain], others: Iterable[Chain]) -> frozenset[Chain]:
    """The others, each in place of the one of its name."""
    return frozenset({chain.key: chain for chain in (*chains, *others)}.values())


def _between(wanted: NamespaceState, found: NamespaceState) -> NamespaceState | None:
    chains: set[Chain] = set()
    for place in sorted({(chain.family, chain.table) for chain in wanted.chains if _guards(chain)}):
        new = {it.name: it for it in wanted.chains if _guards(it) and (it.family, it.table) == place}
        old = {it.name: it for it in found.chains if _guards(it) and (it.family, it.table) == place}
        entry = _entry(new, wanted)
        if entry in old and set(new.values()) != set(old.values()) and _decides_otherwise(wanted, found):
            chains |= _for_both(new, old, entry)
    if not chains:
        return None
    needed = {name for chain in chains for rule in chain.rules for name in SET.findall(rule.arguments)}
    needed -= {ipset.name for ipset in wanted.sets}
    sets = {ipset for ipset in found.sets if ipset.name in needed}
    return replace(wanted, chains=_with(wanted.chains, chains), sets=wanted.sets | sets)


def _guards(chain: Chain) -> bool:
    return chain.table != DECIDING and not chain.shared


def _entry(new: Mapping[str, Chain], wanted: NamespaceState) -> str:
    """The chain that a shared one jumps to."""
    jumps = (rule.arguments for chain in wanted.chains if chain.shared for rule in chain.rules)
    return next((name for rule in jumps for name in JUMP.findall(rule) if name in new), "")


def _decides_otherwise(wanted: NamespaceState, found: NamespaceState) -> bool:
    """Whether anything that sends packets on their way will change; a guard that only was damaged is put right."""
    one, other = (
        (state.sets, state.rules, state.routes, {it for it in state.chains if it.table == DECIDING})
        for state in (wanted, found)
    )
    return one != other


def _for_both(new: Mapping[str, Chain], old: Mapping[str, Chain], entry: str) -> set[Chain]:
    """One that drops no more than both do: the laxer, if the other is that and more, else one made of the two."""
    if _adds(new, old, entry):
        return set(old.values())
    return set(new.values()) if _adds(old, new, entry) else _union(new, old, entry)


def _adds(more: Mapping[str, Chain], less: Mapping[str, Chain], entry: str) -> bool:
    """Whether the one is the other with rules about more sources, of which the other lets everything past."""
    others = {name: chain for name, chain in more.items() if name != entry}
    if others != {name: chain for name, chain in less.items() if name != entry}:
        return False
    known = dict.fromkeys(less[entry].rules)
    if tuple(rule for rule in more[entry].rules if rule in known) != less[entry].rules:
        return False
    sources = {rule: SOURCE.match(rule.arguments) for rule in more[entry].rules}
    if any(not sources[rule] and not PASSES.search(rule.arguments) for rule in known):
        return False
    there = {source[1] for rule in known if (source := sources[rule])}
    added = {source[1] if source else "" for rule, source in sources.items() if rule not in known}
    return "" not in added and not _overlap(there, added)


def _overlap(one: Iterable[str], other: Iterable[str]) -> bool:
    networks = [ip_network(text) for text in other]
    return any(ip_network(text).overlaps(network) for text in one for network in networks)


def _union(new: Mapping[str, Chain], old: Mapping[str, Chain], entry: str) -> set[Chain]:
    taken = {*new, *old}
    names: dict[str, str] = {}
    for name in new:
        names[name] = free_name(name, taken)
        taken.add(names[name])
    first = {replace(chain, rules=_changed(chain.rules, {}, f"-g {names[entry]}")) for chain in old.values()}
    then = {replace(it, name=names[it.name], rules=_changed(it.rules, names, "-j DROP")) for it in new.values()}
    return first | then


def _changed(rules: Iterable[FilterRule], names: Mapping[str, str], drop: str) -> tuple[FilterRule, ...]:
    """With other chains to jump to, and another end for what is dropped. Rules of others are not taken along."""
    return tuple(
        filter_rule(DROP.sub(drop, JUMP.sub(lambda found: names.get(found[0], found[0]), rule.plain)))
        for rule in rules
        if rule.digest
    )
