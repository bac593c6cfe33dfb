"""What the verifier found wrong with a policy, told to the person who wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from policies.errors import Problem
from policies.model import Place
from ryu_apps.flows.flow import FlowEntry, Match
from ryu_apps.openflow.ofctl import match_text


class Kind(Enum):
    """What is wrong, and what the operator can do about it."""

    CONFLICT = "give one of the two another priority, or a match that leaves the other's packets alone"
    NEVER = "remove it, or raise its priority above what takes its packets"
    CROSSING = "nothing crosses between the privacy network and the mesh: take that port out"
    WAY_OUT = "what is in the privacy network leaves by the next hop of the chain only: send it there, or drop it"
    SPOOFING = "a port may speak only as itself: admit no other source"
    NOT_ADMITTED = "only the ports of the policy may send: admit no other"
    LOOP = "send what is not for the clients on to the next hop"
    APART = "a client's packets are for its own Xray, and never for the clients of another gateway: drop them there"
    UNREACHABLE = "let this traffic through, or disable the hop"
    UNDELIVERED = "leave the packets between caller and container to the function that they are of"
    UNPROVEN = "say the same with fewer overlapping matches"


@dataclass(frozen=True)
class Finding:
    """One reason to refuse a policy. ``packet`` is the counterexample: a packet to which it would happen."""

    kind: Kind
    node: str
    happens: str  # continues "packet ...: "
    packet: Match = ()
    entries: tuple[FlowEntry, ...] = ()  # those that cause it

    @property
    def places(self) -> tuple[Place, ...]:
        """The lines of the document that cause it; none if it follows from what the document leaves out."""
        return tuple(sorted({entry.place for entry in self.entries if entry.place is not None}))

    def __str__(self) -> str:
        packet = f"packet {match_text(self.packet)}: " if self.packet else ""
        node = f"on node {self.node}: " if self.node else ""
        return f"{node}{packet}{self.happens}; {self.kind.value}"

    def problem(self, file: str) -> Problem:
        """As an error of the document: at the object that can never match, else at the first line that causes it."""
        own = [entry.place for entry in self.entries[:1] if entry.place and self.kind is Kind.NEVER]
        place = next(iter([*own, *self.places]), Place(file, 0, "privacy_router.openflow"))
        return Problem(place, str(self))


def named(entry: FlowEntry) -> str:
    """An entry as an error names it: its policy item, and where the document has it."""
    where = f" (line {entry.place.line})" if entry.place is not None else ""
    return f'"{entry.item}"{where}'


def named_together(entries: tuple[FlowEntry, ...]) -> str:
    names = list(dict.fromkeys(named(entry) for entry in entries))
    shown = names[:3] + ([f"{len(names) - 3} more"] if len(names) > 3 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
