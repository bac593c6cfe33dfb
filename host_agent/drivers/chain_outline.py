"""Tell from the kernel's own list of rules which of our chains are as wanted, by the digests in their comments. Pure.

That costs a tenth of iptables-save, and is all there is to know of a machine that is in sync. What it cannot tell is
how a rule of somebody else, or a stale one of ours, reads: where that matters, iptables-save has to be asked.
"""

from __future__ import annotations

import re
from dataclasses import replace

from host_agent.drivers import chain_reading, nftables
from host_agent.drivers.chain_reading import Rules
from host_agent.drivers.nftables import Outline
from host_agent.state import OWNER, SHARED, Chain, Family, FilterRule

MARK = re.compile(rb"%s ([0-9a-f]{12})( after interface marks)?" % OWNER.encode())
UNREAD = FilterRule("", "")  # a rule of somebody else
INTERFACE_MARK = FilterRule("-i ? -j MARK ?", "")  # one of the system's, see chain_reading.SYSTEM_MARK


def rules(outline: Outline) -> Rules:
    """The rules, without their words."""
    return {place: [_rule(place[1], encoded) for encoded in rules] for place, rules in outline.items()}


def _rule(chain: str, encoded: bytes) -> FilterRule:
    marked = MARK.search(encoded)
    if marked:
        return FilterRule("", marked[1].decode(), "after interface marks" if marked[2] else "top")
    return INTERFACE_MARK if chain in SHARED and nftables.marks_by_interface(encoded) else UNREAD


def judged(family: Family, found: Rules, wanted: frozenset[Chain]) -> frozenset[Chain] | None:
    """Our chains, if all that is in them are rules we want, whose words we know, and if nobody else has taken the
    place of one; else None."""
    words = {(rule.digest, rule.placement): rule for chain in wanted for rule in chain.rules}
    ours = chain_reading.ours(family, found, wanted)
    there = {(chain.table, chain.name) for chain in ours if chain.rules}  # who jumps to an empty one is not known
    if any(it not in there and it in found for it in _own_places(wanted)):
        return None
    try:
        return frozenset(
            replace(chain, rules=tuple(words[rule.digest, rule.placement] for rule in chain.rules)) for chain in ours
        )
    except KeyError:
        return None


def _own_places(chains: frozenset[Chain]) -> list[chain_reading.Place]:
    return [(chain.table, chain.name) for chain in chains if not chain.shared]
