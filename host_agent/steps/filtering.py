"""Steps about ipsets and chains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from host_agent.drivers import ipset, netfilter
from host_agent.prefixes import Prefixes
from host_agent.state import Chain, Family, HostState, IpSet
from host_agent.steps.base import Machine, Step, at, inside
from policies.words import counted

ASIDE = "new"  # the ending of a set that is being built


@dataclass(frozen=True)
class ReplaceSets(Step):
    namespace: str
    wanted: frozenset[IpSet]
    found: frozenset[IpSet]

    def __str__(self) -> str:
        return f"{at(self.namespace)}: put in place {_listed(self.wanted)}"

    def carry_out(self, machine: Machine) -> None:
        with machine.namespaces.inside(self.namespace):
            ipset.replace(self.wanted, self.found)

    def commands(self) -> list[str]:
        there = {it.name for it in self.found}
        return [
            line for it in sorted(self.wanted, key=str) for line in _built(self.namespace, it, aside=it.name in there)
        ]

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(f"{at(self.namespace)}: ipset {it.name}" for it in sorted(self.wanted, key=str))

    def was(self, found: HostState) -> str:
        there = {it.name: str(it) for it in self.found}
        return "; ".join(_set_was(str(it), there.get(it.name)) for it in sorted(self.wanted, key=str))


@dataclass(frozen=True)
class RemoveSets(Step):
    namespace: str
    stale: frozenset[IpSet]

    def __str__(self) -> str:
        return f"{at(self.namespace)}: remove {_listed(self.stale)}"

    def carry_out(self, machine: Machine) -> None:
        with machine.namespaces.inside(self.namespace):
            ipset.remove(self.stale)

    def commands(self) -> list[str]:
        return [f"{inside(self.namespace)}ipset destroy {it.name}" for it in sorted(self.stale, key=str)]


@dataclass(frozen=True)
class ReplaceChains(Step):
    namespace: str
    family: Family
    wanted: frozenset[Chain]
    found: frozenset[Chain]

    def __str__(self) -> str:
        before = {chain.key: chain for chain in self.found}
        changes = sorted(_change(chain, before.get(chain.key)) for chain in self.wanted)
        return f"{at(self.namespace)}: put in place {', '.join(changes)}"

    def carry_out(self, machine: Machine) -> None:
        with machine.namespaces.inside(self.namespace):
            netfilter.write(self.family, netfilter.replacement(self.wanted, self.found))

    def commands(self) -> list[str]:
        return _restored(self.namespace, self.family, netfilter.replacement(self.wanted, self.found))

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(f"{at(self.namespace)}: {_title(chain)}" for chain in sorted(self.wanted, key=str))

    def was(self, found: HostState) -> str:
        there = {chain.key: chain for chain in self.found}
        return "; ".join(_chain_was(chain, there.get(chain.key)) for chain in sorted(self.wanted, key=str))


@dataclass(frozen=True)
class RemoveChains(Step):
    namespace: str
    family: Family
    stale: frozenset[Chain]

    def __str__(self) -> str:
        return f"{at(self.namespace)}: remove {_listed(self.stale)}"

    def carry_out(self, machine: Machine) -> None:
        with machine.namespaces.inside(self.namespace):
            netfilter.write(self.family, netfilter.removal(self.stale))
            netfilter.remove_empty_tables(self.family)

    def commands(self) -> list[str]:
        return _restored(self.namespace, self.family, netfilter.removal(self.stale))


def _listed(items: frozenset[IpSet] | frozenset[Chain]) -> str:
    return ", ".join(sorted(map(str, items)))


def _change(wanted: Chain, found: Chain | None) -> str:
    """With how many of the chain's rules are new, if most of them stay."""
    there = {rule.digest for rule in found.rules} if found else set()
    new, all_ = sum(rule.digest not in there for rule in wanted.rules), len(wanted.rules)
    return f"{_title(wanted)} ({new} of {counted(all_, 'rule')})" if 0 < new < all_ else str(wanted)


def _built(place: str, it: IpSet, aside: bool) -> list[str]:
    """Built aside and swapped, as the agent does it. Capacity and start value are the agent's mark and its digest."""
    name = f"{it.name}-{ASIDE}" if aside else it.name
    family = "inet" if it.family == "ipv4" else "inet6"
    capacity, start_value = ipset.capacity(it.seal.count), it.seal.digest
    lines = [f"create {name} hash:net family {family} maxelem {capacity} initval {start_value:#x}"]
    lines += [f"add {name} {prefix}" for prefix in it.prefixes] if isinstance(it.prefixes, Prefixes) else []
    lines += [f"swap {name} {it.name}", f"destroy {name}"] if aside else []
    return _fed(f"{inside(place)}ipset restore", lines)


def _restored(place: str, family: Family, text: str) -> list[str]:
    return _fed(f"{inside(place)}{netfilter.TOOLS[family][1]} --noflush --wait 10", text.splitlines())


def _fed(command: str, lines: Sequence[str]) -> list[str]:
    return [f"{command} <<'END'", *lines, "END"]


def _set_was(wanted: str, found: str | None) -> str:
    if found is None:
        return f"{wanted} was gone"
    return f"{wanted} had other entries" if found == wanted else f"{wanted} was {found}"


def _chain_was(wanted: Chain, found: Chain | None) -> str:
    there = [rule.digest for rule in found.rules] if found else []
    here = [rule.digest for rule in wanted.rules]
    lost = [str(place) for place, digest in enumerate(here, 1) if digest not in there]
    strange = [rule.arguments for rule in found.rules if rule.digest not in here] if found else []
    if len(lost) == len(here) and not strange:
        return f"{_title(wanted)} was gone"
    words = [f"lacked rule {', '.join(lost)}"] if lost else []
    words += [f"had the rule: {'; '.join(strange)}"] if strange else []
    return f"{_title(wanted)} {' and '.join(words) or 'had its rules in another order'}"


def _title(chain: Chain) -> str:
    return f"{'iptables' if chain.family == 'ipv4' else 'ip6tables'} {chain.table} {chain.name}"
