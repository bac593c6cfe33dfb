"""What ``status`` says of a place: what the packet flow document calls the applied state, and counters.

The commands are the document's; what they show is read as the agent reads it, so that only names and rules of ours are
looked at, with the packets and bytes that iptables has counted for each rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from host_agent.drivers.chain_reading import COMMENT
from host_agent.drivers.command import run
from host_agent.drivers.netfilter import TOOLS
from host_agent.state import (
    DECIDING,
    FAMILY_OPTION,
    NODE,
    OWNER,
    SHARED,
    Chain,
    Family,
    NamespaceState,
    Route,
    Rule,
    table_name,
)
from policies.words import counted

COUNTED = re.compile(r"\[(\d+):(\d+)\] -A (\S+) ?(.*)")
ITEM = re.compile(rf' ?-m comment --comment "{OWNER} [0-9a-f]{{12}} ?([^"]*)"')
OUTCOME = re.compile(r"-j (\S+)(?: --set-xmark (0x[0-9a-f]+)/(0x[0-9a-f]+))?")


@dataclass(frozen=True)
class KernelRow:
    """A command of the document, and what it shows of ours."""

    command: str
    lines: tuple[str, ...]
    short: str  # the same in a few words
    namespace: str = NODE


@dataclass(frozen=True)
class ItemRow:
    """What became of a policy item's packets. ``outcome``: "carried", "let past" (RETURN), "refused"; "stopped by the
    guard" where the chains that should have decided did not."""

    item: str
    family: Family
    outcome: str
    packets: int
    bytes: int


@dataclass(frozen=True)
class Counted:
    family: Family
    table: str
    chain: str
    rule: str  # without our comment
    item: str
    ours: bool
    packets: int
    bytes: int


def counters(family: Family) -> list[Counted]:
    """The rules of all tables with their counters, in the namespace the caller is in."""
    found, table = [], ""
    for line in run([TOOLS[family][0], "--counters"]).splitlines():
        table = line[1:] if line.startswith("*") else table
        parts = COUNTED.match(line)
        if parts:
            packets, size, chain, rule = parts.groups()
            item = ITEM.search(rule)
            name = item[1] if item else ""
            ours = COMMENT.search(rule) is not None
            found.append(Counted(family, table, chain, ITEM.sub("", rule).strip(), name, ours, int(packets), int(size)))
    return found


def families(state: NamespaceState) -> tuple[Family, ...]:
    """Those in which chains of ours are wanted there."""
    return tuple(family for family in TOOLS if any(chain.family == family for chain in state.chains))


def kernel(wish: NamespaceState, there: NamespaceState, rules: Iterable[Counted], name: str) -> tuple[KernelRow, ...]:
    """The document's table "Kernel (applied state)", for both families, and the guard's chains; of a hop likewise."""
    return tuple(
        replace(row, namespace=name, command=row.command if name == NODE else f"ip netns exec {name} {row.command}")
        for row in _rows(wish, there, list(rules), name)
    )


def _rows(wish: NamespaceState, there: NamespaceState, rules: list[Counted], name: str) -> Iterator[KernelRow]:
    sets = sorted(f"{ipset.name}: {counted(ipset.seal.count, 'entry', 'entries')}" for ipset in there.sets)
    if sets or name == NODE:
        yield _row("ipset list -n", sets, "set")
    shown = (chain for chain in wish.chains if chain.table == DECIDING or not chain.shared or name != NODE)
    yield from (_chain(chain, rules) for chain in sorted(shown, key=str))
    for family, option in FAMILY_OPTION.items():
        own = sorted((rule for rule in there.rules if rule.family == family), key=_preference)
        if own:
            yield _row(f"ip{option} rule show", map(str, own), "rule")
    if there.blocks:
        yield _row("ip xfrm policy", sorted(map(str, there.blocks)), "block")
    tables = sorted({(route.table, route.destination.version) for route in there.routes})
    for table, version in tables:
        routes = [it for it in there.routes if (it.table, it.destination.version) == (table, version)]
        option = FAMILY_OPTION["ipv4" if version == 4 else "ipv6"]
        lines = map(str, sorted(routes, key=_metric))
        yield _row(f"ip{option} route show table {table_name(table)}", lines, "route")


def _row(command: str, shown: Iterable[str], each: str) -> KernelRow:
    lines = tuple(shown)
    return KernelRow(command, lines, lines[0] if len(lines) == 1 else counted(len(lines), each))


def _preference(rule: Rule) -> int:
    return rule.priority


def _metric(route: Route) -> int:
    return route.metric


def _chain(chain: Chain, rules: list[Counted]) -> KernelRow:
    here = [rule for rule in rules if (rule.family, rule.table, rule.chain) == chain.key]
    lines = (
        f"{place}: {rule.rule}  [{counted(rule.packets, 'packet')}, {counted(rule.bytes, 'byte')}]"
        + ("" if rule.ours else "  (not ours)")
        for place, rule in enumerate(here, 1)
    )
    strange = sum(not rule.ours for rule in here)
    short = counted(len(here), "rule") + (f", {strange} not ours" if strange else "")
    return KernelRow(f"{chain.tool} -t {chain.table} -S {chain.name}", tuple(lines), short)


def items(rules: Iterable[Counted]) -> tuple[ItemRow, ...]:
    """Counters by policy item: the sums of its rules of one outcome."""
    sums: dict[tuple[str, Family, str], list[int]] = {}
    for rule, outcome in _outcomes(rules):
        total = sums.setdefault((rule.item, rule.family, outcome), [0, 0])
        total[0] += rule.packets
        total[1] += rule.bytes
    return tuple(ItemRow(*key, *total) for key, total in sorted(sums.items()))


def _outcomes(rules: Iterable[Counted]) -> Iterator[tuple[Counted, str]]:
    for rule in rules:
        end = OUTCOME.search(rule.rule)
        if not rule.item or not end or "! --match-set" in rule.rule or rule.chain in SHARED:  # others' packets, too
            continue
        if rule.table != DECIDING:
            if end[1] == "DROP":
                yield rule, "stopped by the guard"
        elif end[1] == "TPROXY" or (end[1] == "MARK" and end[2] != end[3]):
            yield rule, "carried"
        elif end[1] == "MARK":
            yield rule, "refused"
        elif "--mark" not in rule.rule:
            yield rule, "let past"
