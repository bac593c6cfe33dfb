"""Flow entries as the policy wants them: port names, not numbers; values, not messages.

The pipeline compiles a policy into these, ``ofctl`` prints them for people, ``wire`` turns them into OpenFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

from policies.model import Place

Match = tuple[tuple[str, str], ...]
"""Fields by their ovs-fields(7) names, sorted; protocol words such as "ip" carry an empty text."""

TABLES = {0: "classify", 10: "privacy_chain", 15: "xray_shares", 20: "mesh", 30: "mesh_delivery"}
CLASSIFY, PRIVACY_CHAIN, XRAY_SHARES, MESH, MESH_DELIVERY = TABLES

# "PR" in ASCII: an entry with these upper 16 bits of the cookie is ours, whoever runs the controller now.
COOKIE_MARK = 0x5052 << 48
COOKIE_MASK = 0xFFFF << 48


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of the named switch port."""

    port: str


@dataclass(frozen=True, slots=True)
class GotoTable:
    table: int


@dataclass(frozen=True, slots=True)
class SetField:
    """Write a header field, before what stands behind it in the list: ``Output`` sends the packet as it is then.

    ``field`` and ``value`` are as in a match: an ovs-fields(7) name and its text, without a mask. The entry's own match
    implies the field's prerequisites (nw_dst: ip; tp_dst: tcp, udp or sctp). Checksums are the switch's business.
    """

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class DecTtl:
    """Take one from the TTL (IPv4 and IPv6). A packet whose TTL is 0 or 1 is dropped at this point."""


@dataclass(frozen=True, slots=True)
class PushVlan:
    """Put a new outermost 802.1Q tag (0x8100) on, with id 0 and priority 0; SetField("vlan_vid", ...) fills it."""


@dataclass(frozen=True, slots=True)
class StripVlan:
    """Take the outermost VLAN tag off; nothing happens to a packet without one."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something else that an entry of a switch does, which none of ours would: by its number, for people only."""

    text: str


# There are no groups: back ends of one function are told apart by masked source addresses, which an atomic bundle can
# change and a verifier can read. GotoTable, if there is one, is the last action.
Action = Output | SetField | DecTtl | PushVlan | StripVlan | GotoTable | Foreign


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """One flow entry. No action means drop."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    item: str  # the policy item it comes from, by name
    description: str = ""
    place: Place | None = field(default=None, compare=False)  # the document's object that it stands for

    @property
    def identity(self) -> tuple[int, int, Match]:
        """What an OpenFlow table tells entries apart by."""
        return self.table, self.priority, self.match

    @property
    def cookie(self) -> int:
        return item_cookie(self.item)

    @property
    def in_port(self) -> str | None:
        for name, text in self.match:
            if name == "in_port":
                return text
        return None

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple([action.port for action in self.actions if isinstance(action, Output)])

    @property
    def ports(self) -> tuple[str, ...]:
        """Every port name that must have a number before a switch can hold the entry."""
        return ((self.in_port,) if self.in_port else ()) + self.outputs


@lru_cache(maxsize=1024)
def item_cookie(item: str) -> int:
    """The cookie of a policy item: our mark, then 48 bits of its name's hash."""
    return COOKIE_MARK | int.from_bytes(blake2b(item.encode(), digest_size=6).digest(), "big")


def is_ours(cookie: int) -> bool:
    return cookie & COOKIE_MASK == COOKIE_MARK


def fields(**texts: str) -> Match:
    """A match from its fields, in canonical order."""
    return tuple([_pair(name, texts[name]) for name in sorted(texts)])


@lru_cache(maxsize=65536)
def sent_to(port: str) -> tuple[Action, ...]:
    """The actions of entries that just send to a port, which many share."""
    return (Output(port),)


def form(name: str, **texts: str) -> Callable[[str], Match]:
    """Matches that differ in the text of one field, for those who make very many."""
    before = fields(**{other: text for other, text in texts.items() if other < name})
    behind = fields(**{other: text for other, text in texts.items() if other > name})
    return lambda text: (*before, (name, text), *behind)


def _pair(name: str, text: str) -> tuple[str, str]:
    """What many matches have in common is kept once."""
    return _common_pair(name, text) if not text or name == "in_port" else (name, text)


@lru_cache(maxsize=4096)
def _common_pair(name: str, text: str) -> tuple[str, str]:
    return name, text
