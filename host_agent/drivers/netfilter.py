"""Chains of iptables: read with iptables-save, changed in one iptables-restore per family and namespace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from host_agent.drivers import chain_outline, chain_reading, nftables
from host_agent.drivers.chain_reading import Rules
from host_agent.drivers.command import run
from host_agent.drivers.memory import Memory
from host_agent.state import DECIDING, Chain, Family, FilterRule

TOOLS: dict[Family, tuple[str, str]] = {
    "ipv4": ("iptables-save", "iptables-restore"),
    "ipv6": ("ip6tables-save", "ip6tables-restore"),
}


@dataclass(frozen=True)
class Reading:
    chains: frozenset[Chain] = frozenset()  # ours
    strangers: frozenset[Chain] = frozenset()  # those we want, where somebody else has a chain of the name


def read(family: Family, wanted: frozenset[Chain], memory: Memory) -> Reading:
    """Chains in the namespace the caller is in; none if the kernel does not have the family."""
    if not Path("/proc/sys/net", family).exists():
        return Reading()
    outlined = _outlined(family, memory)
    known = chain_outline.judged(family, outlined, wanted) if outlined is not None else None
    if known is not None:
        return Reading(known)
    saved = chain_reading.saved(run([TOOLS[family][0]]))
    chains = chain_reading.ours(family, saved, wanted)
    taken = saved.keys() - {(chain.table, chain.name) for chain in chains}
    return Reading(chains, frozenset(it for it in wanted if not it.shared and (it.table, it.name) in taken))


def _outlined(family: Family, memory: Memory) -> Rules | None:
    """All rules of the family without their words; None where iptables does not keep them in nf_tables."""
    if not nftables.works_behind(TOOLS[family][0]):
        return None
    with suppress(OSError):
        generation = nftables.generation()
        if generation != memory.generation:
            memory.generation, memory.rules = generation, {}
        if family not in memory.rules:
            memory.rules[family] = chain_outline.rules(nftables.outline(family, generation))
        return memory.rules[family]
    return None


def write(family: Family, text: str) -> None:
    """Hand the text to the kernel: of each table all or nothing. Tables of nf_tables that are not there yet get our
    mark."""
    if nftables.works_behind(TOOLS[family][1]):
        named = {line[1:] for line in text.splitlines() if line.startswith("*")}
        with suppress(OSError):  # a kernel without nf_tables: iptables will say so
            for table in sorted(named - nftables.tables(family).keys()):
                nftables.create(family, table)
    run([TOOLS[family][1], "--noflush", "--wait", "10"], text)


def remove_empty_tables(family: Family) -> None:
    """Remove the tables we made, if nobody has put anything into them. Those of legacy iptables stay: they go with the
    network namespace, or with the kernel's module."""
    if not nftables.works_behind(TOOLS[family][0]):
        return
    with suppress(OSError):
        ours = {name for name, made in nftables.tables(family).items() if made}
        if ours:
            used = used_tables(run([TOOLS[family][0]]))
            for table in sorted(ours - used):
                nftables.delete(family, table)


def used_tables(text: str) -> set[str]:
    """Tables with a rule, a chain of somebody's own, or a policy that is not to accept."""
    used, table = set(), ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A ") or (line.startswith(":") and line.split()[1] != "ACCEPT"):
            used.add(table)
    return used


def replacement(wanted: Iterable[Chain], found: Iterable[Chain]) -> str:
    """Restore input that makes these chains as wanted, in place of what was found of them.

    Of an own chain only what differs is written: the other rules keep their counters, and to remove a rule costs the
    kernel more than to add ten. Naming a chain makes or empties it; all of a table are named before any is filled, as
    one may jump to another. Each table is a commit of its own. What stands in other tables
    for a mark has to be there before the chains that set it, and must not go before they have changed; so there the
    old rules go last.
    """
    before = {chain.key: chain for chain in found}
    ordered = sorted(wanted, key=lambda chain: (chain.table == DECIDING, chain.table, chain.shared, chain.name))
    first: dict[str, list[str]] = {chain.table: [] for chain in ordered}
    last: dict[str, list[str]] = {}
    for chain in ordered:
        if not chain.shared and chain.key not in before:
            first[chain.table].append(f":{chain.name} - [0:0]")
    for chain in ordered:
        lines = first[chain.table]
        there = before.get(chain.key)
        if not chain.shared:
            lines += _edits(chain, there.rules if there else ())
            continue
        going = _stale(chain, there) if chain.table != DECIDING else ()
        lines += _deletions(chain.name, there.rules if there else ())
        lines += _insertions(chain, there.system if there else 0, going)
        if going:
            last.setdefault(chain.table, []).extend(_deletions(chain.name, going))
    return _render(first) + _render(last)


def _edits(chain: Chain, found: Sequence[FilterRule]) -> list[str]:
    """From these rules to those of the chain: what both begin and end with stays."""
    wanted = chain.rules
    head = _alike(wanted, found)
    tail = _alike(wanted[head:][::-1], found[head:][::-1])
    coming, going = wanted[head : len(wanted) - tail], len(found) - tail - head
    lines = [f"-D {chain.name} {head + 1}"] * going
    if not tail:
        return [*lines, *(f"-A {chain.name} {rule.arguments}" for rule in coming)]
    return [*lines, *(f"-I {chain.name} {place} {rule.arguments}" for place, rule in enumerate(coming, head + 1))]


def _alike(one: Sequence[FilterRule], other: Sequence[FilterRule]) -> int:
    """With how many equal rules both begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


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
    ordered = sorted(stale, key=lambda chain: (chain.table != DECIDING, chain.table, not chain.shared, chain.name))
    tables: dict[str, list[str]] = {chain.table: [] for chain in ordered}
    for chain in ordered:
        tables[chain.table] += _deletions(chain.name, chain.rules) if chain.shared else [f"-F {chain.name}"]
    for chain in ordered:
        if not chain.shared:
            tables[chain.table].append(f"-X {chain.name}")
    return _render(tables)


def _deletions(name: str, rules: Iterable[FilterRule]) -> list[str]:
    return [f"-D {name} {rule.arguments}" for rule in rules if rule.digest]


def _render(tables: dict[str, list[str]]) -> str:
    return "".join("\n".join([f"*{table}", *lines, "COMMIT", ""]) for table, lines in tables.items())
