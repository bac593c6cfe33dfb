"""Chains of iptables: read with iptables-save, changed in one iptables-restore per family and namespace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from host_agent.command import run
from host_agent.drivers import nftables
from host_agent.state import OWNER, Chain, Family, FilterRule, Placement

COMMENT = re.compile(rf'--comment "{OWNER} ([0-9a-f]{{12}})( after interface marks)?')
JUMP = re.compile(r"-j (\S+)")
SYSTEM_MARK = re.compile(r"(^|.* )-i \S+ .*-j (MARK|CONNMARK) ")
SHARED = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})
DECIDING = "mangle"  # the table whose chains decide about a packet; the others follow the mark it sets
TOOLS: dict[Family, tuple[str, str]] = {
    "ipv4": ("iptables-save", "iptables-restore"),
    "ipv6": ("ip6tables-save", "ip6tables-restore"),
}


def read(family: Family, wanted: Iterable[str] = ()) -> frozenset[Chain]:
    """Our chains in the namespace the caller is in; none if the kernel does not have the family.

    ``wanted`` are names of chains that are ours even without a rule.
    """
    if not Path("/proc/sys/net", family).exists():
        return frozenset()
    return parse(family, run([TOOLS[family][0]]), wanted)


def is_taken(chain: Chain) -> bool:
    """Whether there is a chain of this name in its table."""
    text = run([TOOLS[chain.family][0], "-t", chain.table])
    return any(line.startswith(f":{chain.name} ") for line in text.splitlines())


def write(family: Family, text: str) -> None:
    """Hand the text to the kernel: of each table all or nothing. Tables that are not there yet get our mark."""
    with suppress(OSError):  # a kernel without nf_tables
        missing = {line[1:] for line in text.splitlines() if line.startswith("*")} - nftables.tables(family).keys()
        if missing and nftables.works_behind_iptables():
            for table in sorted(missing):
                nftables.create(family, table)
    run([TOOLS[family][1], "--noflush", "--wait", "10"], text)


def remove_empty_tables(family: Family) -> None:
    """Remove the tables we made, if nobody has put anything into them."""
    with suppress(OSError):
        ours = {name for name, made in nftables.tables(family).items() if made}
        if ours:
            used = _used_tables(run([TOOLS[family][0]]))
            for table in sorted(ours - used):
                nftables.delete(family, table)


def _used_tables(text: str) -> set[str]:
    """Tables with a rule, a chain of somebody's own, or a policy that is not to accept."""
    used, table = set(), ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A ") or (line.startswith(":") and line.split()[1] != "ACCEPT"):
            used.add(table)
    return used


def parse(family: Family, text: str, wanted: Iterable[str] = ()) -> frozenset[Chain]:
    """Own chains whole: those with a rule of ours in them or a jump of ours to them, and empty ones of a wanted name
    that nobody jumps to. Of shared chains our rules; if these do not stand where they belong, all rules down to the
    last of ours, so that a stranger in between is seen."""
    found: dict[tuple[str, str], list[FilterRule]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found[(table, line[1:].split()[0])] = []
        elif line.startswith("-A "):
            _, chain, arguments = line.split(" ", 2) if line.count(" ") > 1 else (*line.split(" "), "")
            found.setdefault((table, chain), []).append(_rule(arguments))
    empty_ours = set(wanted) - {name for _, name in _jumps(found, ours=False)}
    jumps = _jumps(found, ours=True)
    chains = []
    for (table, name), rules in found.items():
        if name in SHARED:
            chains.append(_shared(Chain(family, table, name, tuple(rules))))
        elif any(rule.digest for rule in rules) or (table, name) in jumps or (not rules and name in empty_ours):
            chains.append(Chain(family, table, name, tuple(rules)))
    return frozenset(chain for chain in chains if chain.rules or chain.system or not chain.shared)


def _jumps(chains: Mapping[tuple[str, str], Iterable[FilterRule]], ours: bool) -> set[tuple[str, str]]:
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


def replacement(wanted: Iterable[Chain], found: Iterable[Chain]) -> str:
    """Restore input that makes these chains as wanted, in place of what was found of them.

    Naming a chain empties it under --noflush, within the same commit that fills it again. Each table is a commit of
    its own. What stands in other tables for a mark has to be there before the chains that set it, and must not go
    before they have changed; so there the old rules go last.
    """
    before = {chain.key: chain for chain in found}
    first: dict[str, list[str]] = {}
    last: dict[str, list[str]] = {}
    for chain in sorted(wanted, key=lambda chain: (chain.table == DECIDING, chain.table, chain.shared, chain.name)):
        lines = first.setdefault(chain.table, [])
        there = before.get(chain.key)
        if not chain.shared:
            lines.append(f":{chain.name} - [0:0]")
            lines += [f"-A {chain.name} {rule.arguments}" for rule in chain.rules]
            continue
        going = _stale(chain, there) if chain.table != DECIDING else ()
        lines += _deletions(chain.name, there.rules if there else ())
        lines += _insertions(chain, there.system if there else 0, going)
        if going:
            last.setdefault(chain.table, []).extend(_deletions(chain.name, going))
    return _render(first) + _render(last)


def _stale(wanted: Chain, found: Chain | None) -> tuple[FilterRule, ...]:
    return tuple(rule for rule in found.rules if rule.digest and rule not in wanted.rules) if found else ()


def _insertions(chain: Chain, system: int, going: Sequence[FilterRule]) -> list[str]:
    """``going``: rules that stay for a while, behind those that are wanted."""
    top = [rule for rule in (*chain.rules, *going) if rule.placement == "top"]
    late = [rule for rule in (*chain.rules, *going) if rule.placement != "top"]
    places = [*range(1, len(top) + 1), *range(len(top) + system + 1, len(top) + system + len(late) + 1)]
    return [f"-I {chain.name} {place} {rule.arguments}" for place, rule in zip(places, [*top, *late], strict=True)]


def removal(stale: Iterable[Chain]) -> str:
    """Restore input that removes these chains and the rules we keep in shared ones; jumps go first."""
    tables: dict[str, list[str]] = {}
    for chain in sorted(stale, key=lambda chain: (chain.table != DECIDING, chain.table, not chain.shared, chain.name)):
        lines = tables.setdefault(chain.table, [])
        lines += _deletions(chain.name, chain.rules) if chain.shared else [f"-F {chain.name}", f"-X {chain.name}"]
    return _render(tables)


def _deletions(name: str, rules: Iterable[FilterRule]) -> list[str]:
    return [f"-D {name} {rule.arguments}" for rule in rules if rule.digest]


def _render(tables: dict[str, list[str]]) -> str:
    return "".join("\n".join([f"*{table}", *lines, "COMMIT", ""]) for table, lines in tables.items())
