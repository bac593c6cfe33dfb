"""What the node's own firewall makes of a packet: others' part of the table filter. Pure.

Of iptables every rule is asked as far as its matches are known here. Of other base chains of nf_tables no more is known
than that they drop what their rules do not accept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from host_agent.drivers.chain_reading import JUMP
from host_agent.explain.rules import Packet, Place, Unknown, meet
from host_agent.state import FAMILIES, SHARED, Family, FilterRule

VERDICTS = {"ACCEPT": "ACCEPT", "DROP": "DROP", "REJECT": "DROP"}


@dataclass(frozen=True)
class Chains:
    """Of the table filter of one family; rules of ours are left out."""

    tool: str = "iptables"
    policies: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, Sequence[FilterRule]] = field(default_factory=dict)


@dataclass(frozen=True)
class ClosedChain:
    """A base chain that nft(8) made and iptables does not show, with ``policy drop``."""

    name: str  # as nft(8) says it: "inet filter forward"
    hook: str  # as iptables calls it: "FORWARD"
    families: tuple[Family, ...] = FAMILIES
    text: str = field(default="", repr=False)  # its table, as nft(8) lists it


@dataclass(frozen=True)
class Firewall:
    chains: Mapping[Family, Chains] = field(default_factory=dict)
    closed: tuple[ClosedChain, ...] = ()


@dataclass(frozen=True)
class Verdict:
    passes: bool
    by: str  # what decided, in words
    doubts: tuple[str, ...] = ()  # rules that would have decided otherwise, if the packet has what they ask for


def verdict(chains: Chains, hook: str, packet: Packet, place: Place) -> Verdict:
    """Of the table filter about a packet at this hook ("FORWARD", "INPUT")."""
    doubts: list[tuple[str, str]] = []  # verdict, rule
    policy = chains.policies.get(hook, "ACCEPT")
    end, by = _in_chain(chains, hook, packet, place, doubts) or (VERDICTS.get(policy, "ACCEPT"), f": policy {policy}")
    where = f"{chains.tool} filter {hook}"
    doubtful = dict.fromkeys(f"{where}{rule}" for would, rule in doubts if would != end)
    return Verdict(end == "ACCEPT", f"{where}{by}", tuple(doubtful))


def _in_chain(
    chains: Chains, name: str, packet: Packet, place: Place, doubts: list[tuple[str, str]]
) -> tuple[str, str] | None:
    """The verdict and the rule that gives it; None if the packet comes back, or to the chain's end."""
    for rule in chains.rules.get(name, ()):
        words = f": {rule.arguments}" if name in SHARED else f", chain {name}: {rule.arguments}"
        try:
            met = meet(rule, packet, place)
        except Unknown:
            jump = JUMP.search(rule.arguments)
            target = jump[1] if jump else ""
            branches = [VERDICTS[target]] if target in VERDICTS else ["ACCEPT", "DROP"]
            decides = target in VERDICTS or target in ("RETURN", *chains.rules)
            doubts += [(branch, words) for branch in branches if decides]
            continue
        if met is None:
            continue
        if met.target == "RETURN":
            return None
        if met.target in VERDICTS:
            return VERDICTS[met.target], words
        if met.target in chains.rules:
            found = _in_chain(chains, met.target, packet, place, doubts)
            if found:
                return found
    return None
