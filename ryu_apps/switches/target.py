"""What one switch shall hold: a compiled policy with the switch's own port numbers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from policies import reuse
from ryu_apps.flows.flow import TABLES, FlowEntry
from ryu_apps.openflow.ofctl import entry_text, match_text
from ryu_apps.openflow.oxm import decode_match, match_of
from ryu_apps.openflow.shapes import IDENTITY, Identity, IdentityEncoder
from ryu_apps.openflow.wire import Encoder, SwitchEntry, actions_of
from ryu_apps.policy.file import CompiledPolicy
from ryu_apps.switches.plan import Change, Pair

_PORTION = 2000  # entries between two turns of others; some 20 ms


@dataclass(frozen=True)
class Target:
    compiled: CompiledPolicy
    ports: Mapping[str, int]
    entries: Mapping[Identity, bytes]  # identity -> content
    waiting: tuple[FlowEntry, ...]  # for ports that the switch does not have: left out, or dropping

    def entry(self, identity: Identity) -> SwitchEntry | None:
        content = self.entries.get(identity)
        return None if content is None else SwitchEntry(identity, content)

    @property
    def swept(self) -> Collection[int]:
        """The tables out of which entries of others go."""
        return TABLES if self.compiled.policy.openflow.foreign_flows == "remove" else ()

    @property
    def absent_ports(self) -> frozenset[str]:
        return frozenset(port for flow in self.waiting for port in flow.ports if port not in self.ports)

    def flows(self, identities: Iterable[Identity]) -> dict[Identity, FlowEntry]:
        """The policy's entries at these identities. Looks through all of the policy's: best asked once for many."""
        sought, identity_of = set(identities), IdentityEncoder(self.ports)
        heads = {identity[: IDENTITY.size] for identity in sought}
        found: dict[Identity, FlowEntry] = {}
        for flow in self.compiled.entries:
            if IDENTITY.pack(flow.table, flow.priority) in heads:
                identity = identity_of(flow.table, flow.priority, flow.match)
                if identity is not None and identity in sought:
                    found[identity] = flow
        return found

    def text(self, entry: SwitchEntry, flow: FlowEntry | None) -> str:
        """An entry for people: item, ovs-ofctl text and the document's line; what the policy lacks, as it is."""
        if flow is None:
            return self.raw_text(entry)
        place = f" ({flow.place})" if flow.place else ""
        return f"{flow.item}: {entry_text(flow)}{place}"

    def raw_text(self, entry: SwitchEntry) -> str:
        """An entry as the switch holds it."""
        names = {number: name for name, number in self.ports.items()}
        fields = match_text(match_of(decode_match(entry.match), names))
        head = f"cookie={entry.cookie:#x},table={entry.table},priority={entry.priority}"
        return f"{head},{fields + ',' if fields else ''}actions={actions_of(entry.instructions, names)}"


def target(
    compiled: CompiledPolicy, ports: Mapping[str, int], pause: Callable[[], object], known: Target | None = None
) -> Target:
    """``pause`` is called now and then: 100,000 entries take a quarter of a second.

    Of a ``known`` target the entries are taken over whose flow entries are the very same objects.
    """
    if known is not None and known.ports == ports:
        gone, come = reuse.difference(known.compiled.entries, compiled.entries)
        if len(gone) + len(come) <= len(compiled.entries) // 2:
            altered = _altered(known, compiled, gone, come)
            if _is_one_to_one(altered):
                return altered
    entries: dict[Identity, bytes] = {}
    waiting: list[FlowEntry] = []
    encoder = Encoder(ports)
    for portion in _portions(compiled.entries):
        waiting += encoder.encode(portion, entries)
        pause()
    return Target(compiled, dict(ports), entries, tuple(waiting))


def _portions(entries: tuple[FlowEntry, ...]) -> Iterator[tuple[FlowEntry, ...]]:
    several = iter(entries)
    while portion := tuple(islice(several, _PORTION)):
        yield portion


def _is_one_to_one(made: Target) -> bool:
    """Whether each flow entry has an identity of its own: if not, another may be left where one has gone."""
    left_out = sum(flow.in_port is not None and flow.in_port not in made.ports for flow in made.waiting)
    return len(made.entries) + left_out == len(made.compiled.entries)


def _altered(
    known: Target, compiled: CompiledPolicy, gone: Collection[FlowEntry], come: Collection[FlowEntry]
) -> Target:
    entries, encoder, no_longer = dict(known.entries), Encoder(known.ports), set(map(id, gone))
    old: dict[Identity, bytes] = {}
    encoder.encode(gone, old)
    for identity in old:
        del entries[identity]
    waiting = [flow for flow in known.waiting if id(flow) not in no_longer]
    waiting += encoder.encode(come, entries)
    return Target(compiled, known.ports, entries, tuple(waiting))


def difference(wanted: Target, known: Target) -> tuple[list[Pair], list[Pair]]:
    """What a plan from ``known`` to ``wanted`` has to look at of the two: what is not the very same object in both."""
    there = known.entries
    new = [pair for pair in wanted.entries.items() if there.get(pair[0]) is not pair[1]]
    old = [(identity, there[identity]) for identity, _ in new if identity in there]
    if len(wanted.entries) - len(new) + len(old) < len(there):
        old += [(identity, there[identity]) for identity in there.keys() - wanted.entries.keys()]
    return new, old


def left_over(change: Change, missing: Collection[Identity], others: Collection[SwitchEntry]) -> int:
    """How many entries of a change are not as they should be after it: ``missing`` was not found, ``others`` were."""
    found = {entry.identity for entry in others}
    wrong = sum(entry.identity in missing for entry in (*change.replace, *change.add)) if missing else 0
    return wrong + sum(entry.identity in found for entry in change.delete)
