"""Flow entries as the policy wants them: port names, not numbers; values, not messages.

The pipeline compiles a policy into these, ``ofctl`` prints them for people, ``wire`` turns them into OpenFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

Match = tuple[tuple[str, str], ...]
"""Fields by their ovs-fields(7) names, sorted; protocol words such as "ip" carry an empty text."""

TABLES = {0: "classify", 10: "privacy_chain", 20: "mesh"}
CLASSIFY, PRIVACY_CHAIN, MESH = TABLES

# "PR" in ASCII: an entry with these upper 16 bits of the cookie is ours, whoever runs the controller now.
COOKIE_MARK = 0x5052 << 48
COOKIE_MASK = 0xFFFF << 48


@dataclass(frozen=True)
class Output:
    """Send the packet out of the named switch port."""

    port: str


@dataclass(frozen=True)
class GotoTable:
    table: int


Action = Output | GotoTable


@dataclass(frozen=True)
class FlowEntry:
    """One flow entry. No action means drop."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    item: str  # the policy item it comes from, by name
    description: str = ""

    @property
    def identity(self) -> tuple[int, int, Match]:
        """What an OpenFlow table tells entries apart by."""
        return self.table, self.priority, self.match

    @property
    def cookie(self) -> int:
        return item_cookie(self.item)

    @property
    def in_port(self) -> str | None:
        return dict(self.match).get("in_port")

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(action.port for action in self.actions if isinstance(action, Output))

    @property
    def ports(self) -> tuple[str, ...]:
        """Every port name that must have a number before a switch can hold the entry."""
        return ((self.in_port,) if self.in_port else ()) + self.outputs


def item_cookie(item: str) -> int:
    """The cookie of a policy item: our mark, then 48 bits of its name's hash."""
    return COOKIE_MARK | int.from_bytes(blake2b(item.encode(), digest_size=6).digest(), "big")


def is_ours(cookie: int) -> bool:
    return cookie & COOKIE_MASK == COOKIE_MARK


def fields(**texts: str) -> Match:
    """A match from its fields, in canonical order."""
    return tuple(sorted(texts.items()))
