"""What one switch shall hold: a compiled policy with the switch's own port numbers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from policies import reuse
from ryu_apps.flows.flow import TABLES, FlowEntry
from ryu_apps.openflow.ofctl import actions_text, entry_text, match_text
from ryu_apps.openflow.shapes import IDENTITY, Identity, IdentityEncoder
from ryu_apps.openflow.wire import Encoder, SwitchEntry, in_words
from ryu_apps.policy.file import CompiledPolicy

_PORTION = 2000  # entries between two turns of others; some 5 ms
_NOTHING: Mapping[Identity, bytes] = {}


@dataclass(frozen=True)
class Target:
    compiled: CompiledPolicy
    ports: Mapping[str, int]
    entries: Mapping[Identity, bytes]  # identity -> content
    waiting: Sequence[FlowEntry]  # for ports that the switch does not have: left out, or dropping

    def entry(self, identity: Identity) -> SwitchEntry | None:
        content = self.entries.get(identity)
        return None if content is None else SwitchEntry(identity, content)

    @property
    def swept(self) -> Collection[int]:
        """The tables out of which entries of others go."""
        return TABLES if self.compiled.policy.openflow.foreign_flows == "remove" else ()

    @property
    def left_out(self) -> int:
        """How many of those that wait are not on the switch: their packets would come by a port that is not there."""
        return sum(flow.in_port is not None and flow.in_port not in self.ports for flow in self.waiting)

    @property
    def absent_ports(self) -> frozenset[str]:
        return frozenset(port for flow in self.waiting for port in flow.ports if port not in self.ports)

    def flows(self, identities: Iterable[Identity]) -> dict[Identity, FlowEntry]:
        """The policy's entries at these identities. Looks through all of the policy's: best asked once for many."""
        sought = set(identities)
        heads = {identity[: IDENTITY.size] for identity in sought}
        likely = [flow for flow in self.compiled.entries if IDENTITY.pack(flow.table, flow.priority) in heads]
        pairs = zip(IdentityEncoder(self.ports).identities(likely), likely, strict=True)
        return {identity: flow for identity, flow in pairs if identity is not None and identity in sought}

    def text(self, entry: SwitchEntry, flow: FlowEntry | None) -> str:
        """An entry for people: item, ovs-ofctl text and the document's line; what the policy lacks, as it is."""
        if flow is None:
            return self.raw_text(entry)
        place = f" ({flow.place})" if flow.place else ""
        return f"{flow.item}: {entry_text(flow)}{place}"

    def raw_text(self, entry: SwitchEntry) -> str:
        """An entry as the switch holds it."""
        names = {number: name for name, number in self.ports.items()}
        match, actions = in_words(entry, names)
        fields = match_text(match)
        head = f"cookie={entry.cookie:#x},table={entry.table},priority={entry.priority}"
        return f"{head},{fields + ',' if fields else ''}actions={actions_text(actions, match)}"


class Draft:
    """A target in the making, portion by portion: 100,000 routes take half a second. Whole after the last portion.

    Of a ``known`` target the entries are taken over whose flow entries are the very same objects; then it is whole at
    once, and all one portion.
    """

    def __init__(self, compiled: CompiledPolicy, ports: Mapping[str, int], known: Target | None = None) -> None:
        made = _altered(known, compiled, ports) if known else None
        self._entries: dict[Identity, bytes] = {}
        self._waiting: list[FlowEntry] = []
        self.target = made or Target(compiled, dict(ports), self._entries, self._waiting)
        self._portions = iter([(made.entries, _NOTHING)]) if made else self._encoded()

    def portions(self) -> Iterator[tuple[Mapping[Identity, bytes], Mapping[Identity, bytes]]]:
        """(the portion's entries, what earlier portions had in their place). To be taken once.

        The general rules keep entries of one identity apart. Where there are two nevertheless the later one counts.
        """
        return self._portions

    def whole(self, pause: Callable[[], object]) -> Target:
        """The target, made to its end; ``pause`` is called now and then."""
        for _ in self._portions:
            pause()
        return self.target

    def _encoded(self) -> Iterator[tuple[Mapping[Identity, bytes], Mapping[Identity, bytes]]]:
        encoder, entries, flows = Encoder(self.target.ports), self._entries, iter(self.target.compiled.entries)
        while some := tuple(islice(flows, _PORTION)):
            portion: dict[Identity, bytes] = {}
            self._waiting += encoder.encode(some, portion)
            earlier = {identity: entries[identity] for identity in portion.keys() & entries.keys()}
            entries.update(portion)
            yield portion, earlier


def _altered(known: Target, compiled: CompiledPolicy, ports: Mapping[str, int]) -> Target | None:
    """A target made of the known one, or that one; None if it has to be made from nothing."""
    if known.ports != ports:
        return None
    if known.compiled is compiled:
        return known
    gone, come = reuse.difference(known.compiled.entries, compiled.entries)
    if len(gone) + len(come) > len(compiled.entries) // 2:
        return None
    entries, encoder, no_longer = dict(known.entries), Encoder(known.ports), set(map(id, gone))
    old: dict[Identity, bytes] = {}
    encoder.encode(gone, old)
    for identity in old:
        del entries[identity]
    waiting = [flow for flow in known.waiting if id(flow) not in no_longer]
    waiting += encoder.encode(come, entries)
    made = Target(compiled, known.ports, entries, waiting)
    return made if _is_one_to_one(made) else None


def _is_one_to_one(made: Target) -> bool:
    """Whether each flow entry has an identity of its own: if not, another may be left where one has gone."""
    return len(made.entries) + made.left_out == len(made.compiled.entries)
