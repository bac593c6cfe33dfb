"""Which chains and rules of a machine are ours, and whether they stand where they belong. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from host_agent.state import OWNER, Chain, Family, FilterRule, Placement

COMMENT = re.compile(rf'--comment "{OWNER} ([0-9a-f]{{12}})( after interface marks)?')
JUMP = re.compile(r"-[jg] (\S+)")
SYSTEM_MARK = re.compile(r"(^|.* )-i \S+ .*-j (MARK|CONNMARK) ")

Place = tuple[str, str]  # table and chain
Rules = Mapping[Place, Sequence[FilterRule]]


def saved(text: str) -> dict[Place, list[FilterRule]]:
    """What iptables-save prints."""
    found: dict[Place, list[FilterRule]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found[(table, line[1:].split()[0])] = []
        elif line.startswith("-A "):
            _, chain, arguments = line.split(" ", 2) if line.count(" ") > 1 else (*line.split(" "), "")
            found.setdefault((table, chain), []).append(_rule(arguments))
    return found


def ours(family: Family, found: Rules, wanted: Iterable[Chain]) -> frozenset[Chain]:
    """Own chains whole: those with a rule of ours in them or a jump of ours to them, and empty ones of a wanted name
    that nobody jumps to. Of shared chains our rules; if these do not stand where they belong, all rules down to the
    last of ours, so that a stranger in between is seen."""
    if_empty = {(chain.table, chain.name) for chain in wanted} - _jumps(found, ours=False)
    jumps = _jumps(found, ours=True)
    chains = []
    for place, rules in found.items():
        chain = Chain(family, *place, tuple(rules))
        if chain.shared:
            chains.append(_shared(chain))
        elif any(rule.digest for rule in rules) or place in jumps or (not rules and place in if_empty):
            chains.append(chain)
    return frozenset(chain for chain in chains if chain.rules or chain.system or not chain.shared)


def _jumps(chains: Rules, ours: bool) -> set[Place]:
    """Where rules of ours, or of others, jump to: table and target."""
    return {
        (table, jump[1])
        for (table, _), rules in chains.items()
        for rule in rules
        if bool(rule.digest) == ours and (jump := JUMP.search(rule.arguments))
    }


def _rule(arguments: str) -> FilterRule:
    marked = COMMENT.search(arguments)
    if not marked:
        return FilterRule(arguments, "")
    placement: Placement = "after interface marks" if marked[2] else "top"
    return FilterRule(arguments, marked[1], placement)


def _shared(chain: Chain) -> Chain:
    others = [rule for rule in chain.rules if not rule.digest]
    marks = [place for place, rule in enumerate(others, 1) if SYSTEM_MARK.match(rule.arguments)]
    system = marks[-1] if marks else 0
    ours = tuple(rule for rule in chain.rules if rule.digest)
    top = tuple(rule for rule in ours if rule.placement == "top")
    late = ours[len(top) :]
    if chain.rules[: len(ours) + (system if late else 0)] == (*top, *(others[:system] if late else ()), *late):
        return Chain(chain.family, chain.table, chain.name, ours, system)
    last = max(place for place, rule in enumerate(chain.rules, 1) if rule.digest)
    return Chain(chain.family, chain.table, chain.name, chain.rules[:last], system)
