"""Chains of iptables: read with iptables-save, changed in one iptables-restore per family and namespace."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from host_agent.command import run
from host_agent.state import OWNER, Chain, Family, FilterRule

OWN_CHAINS = ("XRAY_TPROXY",)
COMMENT = re.compile(rf'--comment "{OWNER} ([0-9a-f]{{12}})')
TOOLS: dict[Family, tuple[str, str]] = {
    "ipv4": ("iptables-save", "iptables-restore"),
    "ipv6": ("ip6tables-save", "ip6tables-restore"),
}


def read(family: Family) -> frozenset[Chain]:
    """Our chains in the namespace the caller is in; none if the kernel does not have the family."""
    if not Path("/proc/sys/net", family).exists():
        return frozenset()
    return parse(family, run([TOOLS[family][0]]))


def write(family: Family, text: str) -> None:
    """Hand the text to the kernel: all of it or nothing."""
    run([TOOLS[family][1], "--noflush", "--wait", "10"], text)


def parse(family: Family, text: str) -> frozenset[Chain]:
    """Own chains whole; of shared chains all rules down to our last one, so that a stranger above ours is seen."""
    found: dict[tuple[str, str], list[FilterRule]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":") and line[1:].split()[0] in OWN_CHAINS:
            found.setdefault((table, line[1:].split()[0]), [])
        elif line.startswith("-A "):
            _, chain, arguments = line.split(" ", 2) if line.count(" ") > 1 else (*line.split(" "), "")
            marked = COMMENT.search(arguments)
            found.setdefault((table, chain), []).append(FilterRule(arguments, marked[1] if marked else ""))
    chains = (Chain(family, table, name, tuple(rules)) for (table, name), rules in found.items())
    return frozenset(chain for chain in map(_down_to_our_last, chains) if chain.rules or chain.name in OWN_CHAINS)


def _down_to_our_last(chain: Chain) -> Chain:
    if chain.name in OWN_CHAINS:
        return chain
    ours = [place for place, rule in enumerate(chain.rules) if rule.digest]
    return Chain(chain.family, chain.table, chain.name, chain.rules[: ours[-1] + 1] if ours else ())


def replacement(wanted: Iterable[Chain], found: Iterable[Chain]) -> str:
    """Restore input that makes these chains as wanted, in place of what was found of them.

    Naming a chain empties it under --noflush, within the same commit that fills it again.
    """
    before = {chain.key: chain for chain in found}
    tables: dict[str, list[str]] = {}
    for chain in sorted(wanted, key=lambda chain: (chain.table, chain.shared, chain.name)):
        lines = tables.setdefault(chain.table, [])
        if chain.shared:
            lines += _deletions(before.get(chain.key))
            lines += [f"-I {chain.name} {place} {rule.arguments}" for place, rule in enumerate(chain.rules, 1)]
        else:
            lines.append(f":{chain.name} - [0:0]")
            lines += [f"-A {chain.name} {rule.arguments}" for rule in chain.rules]
    return _render(tables)


def removal(stale: Iterable[Chain]) -> str:
    """Restore input that removes these chains and the rules we keep in shared ones; jumps go first."""
    tables: dict[str, list[str]] = {}
    for chain in sorted(stale, key=lambda chain: (chain.table, not chain.shared, chain.name)):
        lines = tables.setdefault(chain.table, [])
        lines += _deletions(chain) if chain.shared else [f"-F {chain.name}", f"-X {chain.name}"]
    return _render(tables)


def _deletions(chain: Chain | None) -> list[str]:
    return [f"-D {chain.name} {rule.arguments}" for rule in chain.rules if rule.digest] if chain else []


def _render(tables: dict[str, list[str]]) -> str:
    return "".join("\n".join([f"*{table}", *lines, "COMMIT", ""]) for table, lines in tables.items())
