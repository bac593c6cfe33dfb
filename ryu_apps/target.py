"""What one switch shall hold: a compiled policy with the switch's own port numbers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from ryu_apps.flow import TABLES, FlowEntry
from ryu_apps.ofctl import entry_text, match_text
from ryu_apps.oxm import decode_match, match_of
from ryu_apps.plan import Change
from ryu_apps.policy_file import CompiledPolicy
from ryu_apps.wire import Identity, SwitchEntry, actions_of, resolve, switch_entry

_PORTION = 2000  # entries between two turns of others; some 20 ms


@dataclass(frozen=True)
class Target:
    compiled: CompiledPolicy
    ports: Mapping[str, int]
    entries: Mapping[Identity, SwitchEntry]
    waiting: tuple[FlowEntry, ...]  # for ports that the switch does not have: left out, or dropping

    @property
    def swept(self) -> Collection[int]:
        """The tables out of which entries of others go."""
        return TABLES if self.compiled.policy.openflow.foreign_flows == "remove" else ()

    @property
    def absent_ports(self) -> frozenset[str]:
        return frozenset(port for flow in self.waiting for port in flow.ports if port not in self.ports)

    def flow(self, entry: SwitchEntry) -> FlowEntry | None:
        """The policy's entry at this identity."""
        for flow in self.compiled.entries:
            same = (flow.table, flow.priority) == (entry.table, entry.priority)
            if same and all(port in self.ports for port in flow.ports):
                wanted = switch_entry(flow, self.ports)
                if wanted.match == entry.match:
                    return flow
        return None

    def text(self, entry: SwitchEntry) -> str:
        """An entry for people: item, ovs-ofctl text and the document's line; what the policy lacks, as it is."""
        flow = self.flow(entry)
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


def target(compiled: CompiledPolicy, ports: Mapping[str, int], pause: Callable[[], object]) -> Target:
    """``pause`` is called now and then: 100,000 entries take a second."""
    entries: dict[Identity, SwitchEntry] = {}
    waiting: list[FlowEntry] = []
    for portion in _portions(compiled.entries):
        ready, absent = resolve(portion, ports)
        entries |= {wanted.identity: wanted for _, wanted in ready}
        waiting += absent
        waiting += [flow for flow, _ in ready if not all(port in ports for port in flow.outputs)]
        pause()
    return Target(compiled, dict(ports), entries, tuple(waiting))


def _portions(entries: tuple[FlowEntry, ...]) -> Iterator[tuple[FlowEntry, ...]]:
    several = iter(entries)
    while portion := tuple(islice(several, _PORTION)):
        yield portion


def left_over(change: Change, there: Collection[Identity], others: Collection[SwitchEntry]) -> int:
    """How many entries of a change are not as they should be after it: ``there`` are the right ones, and ``others``."""
    wrong = sum(entry.identity not in there for entry in (*change.replace, *change.add))
    return wrong + len({entry.identity for entry in change.delete} & {entry.identity for entry in others})
