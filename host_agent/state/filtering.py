"""Ipsets and chains of iptables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Literal

from host_agent.prefixes import Family, Prefixes, Seal
from host_agent.state.names import IPSET_NAME, OWNER, checked
from policies.words import counted


@dataclass(frozen=True, eq=False)
class IpSet:
    """A set of type hash:net, ipset(8). Equal are two whose seals are: of one that was read there may be no more."""

    name: str
    family: Family
    prefixes: Prefixes | Seal = field(repr=False)

    def __post_init__(self) -> None:
        checked(self.name, IPSET_NAME)
        if isinstance(self.prefixes, Prefixes) and self.prefixes.family != self.family:
            raise ValueError(f"{self.prefixes.family} prefixes for the {self.family} set {self.name}")

    @property
    def seal(self) -> Seal:
        return self.prefixes if isinstance(self.prefixes, Seal) else self.prefixes.seal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IpSet) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, Family, Seal]:
        return (self.name, self.family, self.seal)

    def __str__(self) -> str:
        return f"ipset {self.name} ({counted(self.seal.count, 'entry', 'entries')})"


SETS_MARK = re.compile(r"--set-xmark (0x[0-9a-f]+)/(0x[0-9a-f]+)")
Placement = Literal["top", "after interface marks"]
SHARED = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})  # chains of the kernel's own
COMMENT = re.compile(r' -m comment --comment "[^"]*"')


@dataclass(frozen=True)
class FilterRule:
    """A rule of iptables(8). iptables-save does not print what was given, so a rule's identity is a digest that
    it carries in its comment; a rule of somebody else has none."""

    arguments: str = field(compare=False)  # what follows "-A CHAIN"
    digest: str
    placement: Placement = "top"  # in a shared chain

    @property
    def plain(self) -> str:
        """The arguments without the comment."""
        return COMMENT.sub("", self.arguments)


def filter_rule(arguments: str, note: str = "", placement: Placement = "top") -> FilterRule:
    """The rule with its comment. The text goes into restore input, where a line break would begin another rule."""
    if not (arguments + note).isprintable() or '"' in note:
        raise ValueError(f"not one plain line: {arguments!r} {note!r}")
    digest = sha256(arguments.encode()).hexdigest()[:12]
    words = [OWNER, digest, note if placement == "top" else placement]
    comment = " ".join(words).rstrip()
    return FilterRule(f'{arguments} -m comment --comment "{comment}"', digest, placement)


@dataclass(frozen=True)
class Chain:
    """An own chain with all its rules, or a shared (built-in) chain with the rules we keep in it.

    Those stand at its top, or right behind the last rule by which the system marks what comes in by an interface.
    """

    family: Family
    table: str
    name: str
    rules: tuple[FilterRule, ...]
    system: int = field(default=0, compare=False)  # read: how many rules of others end with the last such one

    @property
    def shared(self) -> bool:
        return self.name in SHARED

    @property
    def key(self) -> tuple[Family, str, str]:
        return (self.family, self.table, self.name)

    @cached_property
    def marks(self) -> frozenset[tuple[int, int]]:
        """Those that its rules set, each with its mask."""
        found = (SETS_MARK.search(rule.arguments) for rule in self.rules)
        return frozenset((int(it[1], 16), int(it[2], 16)) for it in found if it)

    @property
    def tool(self) -> str:
        return "iptables" if self.family == "ipv4" else "ip6tables"

    def __hash__(self) -> int:
        return hash((self.key, len(self.rules)))  # chains are compared often, and have hundreds of rules

    def __str__(self) -> str:
        return f"{self.tool} {self.table} {self.name} ({counted(len(self.rules), 'rule')})"


def of_family(family: Family, chains: Iterable[Chain]) -> frozenset[Chain]:
    return frozenset(chain for chain in chains if chain.family == family)


def merged(chains: Iterable[Chain], others: Iterable[Chain]) -> frozenset[Chain]:
    """Both; of a chain that both have rules for, one with the rules of the first and then the others."""
    found = {chain.key: chain for chain in chains}
    for chain in others:
        before = found.get(chain.key)
        rules = dict.fromkeys((*before.rules, *chain.rules) if before else chain.rules)
        found[chain.key] = replace(chain, rules=tuple(rules))
    return frozenset(found.values())
