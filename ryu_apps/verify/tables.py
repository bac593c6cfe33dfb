"""The flow tables of one bridge, indexed for proofs: each question costs look-ups, not a walk over all entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ryu_apps.flows.flow import FlowEntry, GotoTable, Output
from ryu_apps.packets.cubes import Budget, Cube, CubeIndex
from ryu_apps.packets.headers import Space

STEPS, STEPS_OF_AN_ENTRY = 10_000_000, 200  # that all searches of a node may take together, some seconds


class Row(NamedTuple):
    """A flow entry and the packets it matches."""

    cube: Cube
    entry: FlowEntry


@dataclass
class Table:
    """``senders`` is by in_port and port sent to; None holds the entries that any port's packets can meet."""

    rows: list[Row] = field(default_factory=list)
    index: CubeIndex[FlowEntry] = field(default_factory=CubeIndex)
    senders: dict[str | None, dict[str, list[Row]]] = field(default_factory=lambda: defaultdict(dict))
    jumps: CubeIndex[FlowEntry] = field(default_factory=CubeIndex)
    _best: dict[int, dict[int, int]] = field(default_factory=dict)  # mask -> value -> highest priority
    _most: dict[int, int] = field(default_factory=dict)  # mask -> highest priority
    _above: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def add(self, cube: Cube, entry: FlowEntry) -> None:
        row = Row(cube, entry)
        self.rows.append(row)
        self.index.add(row)
        self._most[cube.mask] = max(entry.priority, self._most.get(cube.mask, 0))
        for action in entry.actions:
            if isinstance(action, Output):
                self.senders[entry.in_port].setdefault(action.port, []).append(row)
            elif isinstance(action, GotoTable):
                self.jumps.add(row)

    def above(self, cube: Cube, priority: int, budget: Budget) -> list[Row]:
        """The entries of a higher priority that take packets of the cube."""
        found = []
        met = 0
        for other, entry in self.index.meeting(cube, self._masks_above(priority)):
            met += 1
            if entry.priority > priority:
                found.append(Row(other, entry))
        budget.spend(met)
        return found

    def _masks_above(self, priority: int) -> tuple[int, ...]:
        """The masks of entries of a higher priority."""
        known = self._above.get(priority)
        if known is None:
            known = self._above[priority] = tuple(mask for mask, most in self._most.items() if most > priority)
        return known

    def _highest(self, mask: int) -> dict[int, int]:
        """The highest priority among the entries with this mask, by their values."""
        best = self._best.get(mask)
        if best is None:
            best = self._best[mask] = {}
            for cube, entry in self.index.group(mask):
                best[cube.value] = max(entry.priority, best.get(cube.value, 0))
        return best

    def taken_above(self, point: int, priority: int) -> bool:
        """Whether an entry of a higher priority takes this packet."""
        return any(self._highest(mask).get(point & mask, -1) > priority for mask in self._masks_above(priority))

    def jumping(self, now: Cube) -> Iterator[Row]:
        """The entries that packets of the cube can meet and that go on to another table."""
        return (Row(cube, entry) for cube, entry in self.jumps.meeting(now))

    def sending(self, port: str, out: str) -> Iterator[Row]:
        """The entries that packets from ``port`` can meet and that send to ``out``."""
        for in_port in (None, port):
            yield from self.senders.get(in_port, {}).get(out, ())


@dataclass
class Bridge:
    """The tables of one node. ``budget`` bounds all searches together.

    ``node_ports`` are in the node's own network namespace, as no container's is.
    """

    node: str
    space: Space
    tables: dict[int, Table]
    budget: Budget
    node_ports: Collection[str] = ()

    @property
    def ports(self) -> tuple[str, ...]:
        """Every port that an entry names."""
        return tuple(self.space.ports)


def bridge(node: str, entries: Iterable[FlowEntry], node_ports: Collection[str] = ()) -> Bridge:
    """Raises KeyError or ValueError for an entry that no switch would take."""
    space = Space()
    tables: dict[int, Table] = defaultdict(Table)
    count = 0
    for entry in entries:
        tables[entry.table].add(space.cube(entry.match), entry)
        count += 1
    for table in tables.values():
        for sent in table.senders.values():
            for port in sent:
                space.port(port)
    return Bridge(node, space, dict(tables), Budget(STEPS + STEPS_OF_AN_ENTRY * count), node_ports)
