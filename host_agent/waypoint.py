"""A state half way from one policy to another, which means what the new one means but in names of its own. Pure.

Chains of one table and family change at one instant. Marks and sets do not change with them: an ip rule that gives a
mark another meaning, or a set that gets another content, would for a moment serve the old chains, and a packet would
get a mixture of both policies. So what is used by old and new alike, and differs, is first built under a free mark
and a free name; the chains change to these; then the proper mark or set, which now nobody uses, is changed; then the
chains change to it. A plan is two legs then: to the waypoint, and from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from host_agent.state import (
    DECIDING,
    FAMILIES,
    Chain,
    Family,
    FilterRule,
    HostState,
    IpSet,
    NamespaceState,
    Rule,
    filter_rule,
    free_name,
    of_family,
)

NAMES_MARK = re.compile(r"(--set-xmark|--mark) (0x[0-9a-f]+)/")
NAMES_SET = re.compile(r"(--match-set) (\S+) ")


def waypoint(wanted: HostState, found: HostState) -> HostState | None:
    """None if there is no need of one."""
    return wanted.changed(found, _between)


def _between(wanted: NamespaceState, found: NamespaceState) -> NamespaceState | None:
    names = _new_names(wanted, found)
    marks = _new_marks(wanted, found)
    if not names and not marks:
        return None
    before = {ipset.name: ipset for ipset in found.sets}
    aside = {IpSet(names[it.name], it.family, it.prefixes) for it in wanted.sets if it.name in names}
    kept = {before[it.name] if it.name in names else it for it in wanted.sets}
    systems = {chain.key: chain.system for chain in found.chains}
    chains = (replace(_renamed(chain, marks, names), system=systems.get(chain.key, 0)) for chain in wanted.chains)
    rules = (replace(rule, mark=marks.get(rule.mark, rule.mark)) for rule in wanted.rules)
    return replace(wanted, sets=frozenset(aside | kept), chains=frozenset(chains), rules=frozenset(rules))


def _new_names(wanted: NamespaceState, found: NamespaceState) -> dict[str, str]:
    """Sets that rules of the found chains use, whose content changes together with something else."""
    before = {ipset.name: ipset for ipset in found.sets}
    taken = {*before, *(ipset.name for ipset in wanted.sets)}
    renamed: dict[str, str] = {}
    for family in FAMILIES:
        used = set(_words(NAMES_SET, _rules(of_family(family, found.chains))))
        sets = [it for it in wanted.sets if it.family == family and it.name in used]
        changed = [it for it in sets if before.get(it.name, it) != it]
        if len(changed) > 1 or (changed and _deciding(family, wanted) != _deciding(family, found)):
            renamed |= {it.name: free_name(it.name, taken) for it in changed}
    return renamed


def _deciding(family: Family, state: NamespaceState) -> set[Chain]:
    return {chain for chain in of_family(family, state.chains) if chain.table == DECIDING and chain.rules}


def _rules(chains: Iterable[Chain]) -> Iterator[FilterRule]:
    return (rule for chain in chains for rule in chain.rules)


def _words(pattern: re.Pattern[str], rules: Iterable[FilterRule]) -> Iterator[str]:
    return (found[2] for rule in rules for found in pattern.finditer(rule.arguments))


def _new_marks(wanted: NamespaceState, found: NamespaceState) -> dict[int, int]:
    """Marks that old or new chains set, and that old and new ip rules, or other tables, take differently."""
    ambiguous: set[int] = set()
    fields = {mask for chain in wanted.chains for _, mask in chain.marks}
    for family in FAMILIES:
        if _deciding(family, wanted) == _deciding(family, found):
            continue  # each mark's packets change at one instant, when its rule does
        old, new = _marks_set(family, found), _marks_set(family, wanted)
        # A rule that stands ready for marks nobody sets takes the old ones as well.
        new |= {rule.mark for rule in wanted.rules if rule.family == family and rule.mask in fields}
        ambiguous |= {mark for mark in new if _misread(mark, family, wanted, found)}
        for mark in old:
            hidden = _misread(mark, family, found, wanted)
            ambiguous |= {it for it in new for rule in hidden if it & rule.mask == rule.mark}
        ambiguous |= {mark for mark in old & new if _elsewhere(mark, family, wanted) != _elsewhere(mark, family, found)}
        # Nobody sets these just now, but an apply that was killed may have left rules that ask for them.
        fresh = _marks_set(family, wanted) - old
        ambiguous |= {mark for mark in fresh if _elsewhere(mark, family, found) - _elsewhere(mark, family, wanted)}
    return _free_marks(ambiguous, wanted, found)


def _marks_set(family: Family, state: NamespaceState) -> set[int]:
    return {mark for chain in of_family(family, state.chains) for mark, _ in chain.marks}


def _misread(mark: int, family: Family, own: NamespaceState, other: NamespaceState) -> list[Rule]:
    """Rules of the other state that would send a packet of this mark elsewhere than its own rules do.

    None, if its own rules say nothing of the mark: what is missing may come back at any time.
    """
    meant = [rule.table for rule in _matching(mark, family, own)][:1]
    return [rule for rule in _matching(mark, family, other) if [rule.table] != meant] if meant else []


def _matching(mark: int, family: Family, state: NamespaceState) -> list[Rule]:
    rules = [it for it in state.rules if it.family == family and it.mask and mark & it.mask == it.mark]
    return sorted(rules, key=lambda rule: rule.priority)


def _elsewhere(mark: int, family: Family, state: NamespaceState) -> set[str]:
    """The rules of other tables that ask for the mark."""
    return {
        rule.digest
        for rule in _rules(it for it in of_family(family, state.chains) if it.table != DECIDING)
        if any(int(word, 16) == mark for word in _words(NAMES_MARK, [rule]))
    }


def _free_marks(ambiguous: set[int], wanted: NamespaceState, found: NamespaceState) -> dict[int, int]:
    """A free mark of the same field for each; without one, the mark of what is refused: packets wait, none leaks."""
    if not ambiguous:
        return {}
    rules = [*wanted.rules, *found.rules]
    refused = {rule.mask: rule.mark for rule in wanted.rules if rule.mask and not rule.table}
    taken = {it for family in FAMILIES for state in (wanted, found) for it in _marks_set(family, state)}
    renamed = {}
    for mark in sorted(ambiguous):
        mask = next((rule.mask for rule in wanted.rules if rule.mask and mark & rule.mask == rule.mark), 0)
        if not mask or mark == refused.get(mask):
            continue
        step = mask & -mask
        free = (
            it
            for it in range(step, mask, step)
            if it not in taken and not any(rule.mask and it & rule.mask == rule.mark for rule in rules)
        )
        renamed[mark] = next(free, refused.get(mask, mark))
        taken.add(renamed[mark])
    return {mark: new for mark, new in renamed.items() if new != mark}


def _renamed(chain: Chain, marks: Mapping[int, int], names: Mapping[str, str]) -> Chain:
    def mark(found: re.Match[str]) -> str:
        number = int(found[2], 16)
        return f"{found[1]} {marks.get(number, number):#x}/"

    rules = []
    for rule in chain.rules:
        marked = NAMES_MARK.sub(mark, rule.plain)
        other = NAMES_SET.sub(lambda found: f"{found[1]} {names.get(found[2], found[2])} ", marked)
        rules.append(rule if other == rule.plain else filter_rule(other, placement=rule.placement))
    return replace(chain, rules=tuple(rules))
