"""Entries that contradict each other, and entries that no packet ever meets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random

from policies.model import Place
from ryu_apps.flows.flow import Action, FlowEntry, Match
from ryu_apps.openflow.ofctl import actions_text
from ryu_apps.packets.cubes import Cube, TooHard
from ryu_apps.verify.finding import Finding, Kind, named, named_together
from ryu_apps.verify.flight import Flight, a_point, packet
from ryu_apps.verify.safety import Flights
from ryu_apps.verify.tables import Bridge, Row, Table

_SAMPLES = 4

_Buckets = dict[int, dict[tuple[Action, ...], list[Row]]]


def conflicts(bridge: Bridge, found: Flights) -> Iterator[Finding]:
    """Pairs of one priority, with different actions, that some packet meets both: the switch may take either."""
    for number, table in bridge.tables.items():
        by_priority: dict[int, dict[int, list[Row]]] = {}
        for row in table.rows:
            by_priority.setdefault(row.entry.priority, {}).setdefault(row.cube.mask, []).append(row)
        for shapes in by_priority.values():
            yield from _conflicts_of(bridge, found, number, shapes)


def _conflicts_of(bridge: Bridge, found: Flights, number: int, shapes: dict[int, list[Row]]) -> Iterator[Finding]:
    masks = sorted(shapes, key=lambda mask: len(shapes[mask]))
    fixed = {mask: _fixed(mask, rows) for mask, rows in shapes.items()}
    for place, mask in enumerate(masks):
        for other in masks[place:]:
            common = mask & other
            if fixed[mask].meet(fixed[other]) is None:
                continue  # all of the one and all of the other differ in a bit: IPv4 and ARP, for one
            if mask == other and len({row.cube.value for row in shapes[mask]}) == len(shapes[mask]):
                continue
            buckets: _Buckets = {}
            for row in shapes[mask]:
                buckets.setdefault(row.cube.value & common, {}).setdefault(row.entry.actions, []).append(row)
            for row in shapes[other]:
                for actions, rows in buckets.get(row.cube.value & common, {}).items():
                    if actions != row.entry.actions:
                        yield from _conflict(bridge, found, number, row, rows)


def _fixed(mask: int, rows: list[Row]) -> Cube:
    """A cube around all of the rows, which have the same mask."""
    ones, zeros = mask, 0
    for row in rows:
        ones &= row.cube.value
        zeros |= row.cube.value
    alike = mask & ~(ones ^ zeros)
    return Cube(alike, ones & alike)


def _conflict(bridge: Bridge, found: Flights, number: int, row: Row, others: list[Row]) -> Iterator[Finding]:
    for other in others:
        bridge.budget.spend(1)
        both = row.cube.meet(other.cube)
        met = _met(bridge, found, number, both, row.entry.priority) if both is not None else None
        if both is not None and met is not None:
            flight, point = met
            above = bridge.tables[number].above(both, row.entry.priority, bridge.budget)
            outside = flight.less(higher.cube for higher in above)
            example = packet(bridge.space, point, flight.meet(both) or both, outside)
            first, second = sorted((other.entry, row.entry), key=lambda entry: str(entry.place))
            happens = (
                f"{named(first)} ({actions_text(first.actions)}) and {named(second)} ({actions_text(second.actions)}) "
                f"of table {number} both match it with priority {first.priority}"
            )
            yield Finding(Kind.CONFLICT, bridge.node, happens, example, (first, second))
            return


def _met(bridge: Bridge, found: Flights, number: int, cube: Cube, priority: int) -> tuple[Flight, int] | None:
    """Packets that come to the table and to this cube of it, and one that gets past all that is above; None if none."""
    table = bridge.tables[number]
    above: list[Row] | None = None
    for flight in found.meeting(number, cube):
        inside = flight.meet(cube)
        if inside is None:
            continue
        point = _sample(bridge, table, flight, inside, priority)
        if point is None:
            above = table.above(cube, priority, bridge.budget) if above is None else above
            outside = flight.less(row.cube for row in above)
            point = a_point(inside, outside, bridge.budget, bridge.space)
        if point is not None:
            return flight, point
    return None


def _sample(bridge: Bridge, table: Table, flight: Flight, inside: Cube, priority: int) -> int | None:
    """Quick tries for ``_met``, which spare listing all that lies above. They decide nothing when they fail."""
    if flight.unknown:
        return None
    random: Random | None = None
    fill = 0
    for _ in range(_SAMPLES):
        point = inside.value | fill & ~inside.mask
        now = point & ~flight.written.mask | flight.written.value
        if not any(cube.has(point) for cube in flight.outside) and not table.taken_above(now, priority):
            return point
        random = random or Random(inside.value)
        fill = random.getrandbits(bridge.space.width)
    return None


def never_met(
    bridge: Bridge, found: Flights, written: Mapping[Place, Match], accept: Callable[[int], bool] = lambda _: True
) -> Iterator[tuple[Place, Finding | None]]:
    """What the document's own entries come to: for each, None if some packet meets it, else what is wrong.

    ``written``: the matches of the document's objects. Entries that are only derived from an object, such as ARP for
    its address, are passed over. ``accept``: whether the packet that is to show it counts.
    """
    cubes = {place: bridge.space.cube(match) for place, match in written.items()}
    met: set[Place] = set()
    for number, table in bridge.tables.items():
        for row in table.rows:
            place = row.entry.place
            if place is None or place in met or place not in cubes or not row.cube.within(cubes[place]):
                continue
            try:
                meeting = _met(bridge, found, number, row.cube, row.entry.priority)
                lost = meeting is None or not accept(meeting[1])
            except TooHard:
                lost = False  # not a matter of safety
            if not lost:
                met.add(place)
            yield place, _never(bridge, found, number, row) if lost else None


def _never(bridge: Bridge, found: Flights, number: int, row: Row) -> Finding:
    table, entry = bridge.tables[number], row.entry
    above = tuple(other.entry for other in table.above(row.cube, entry.priority, bridge.budget))
    example = packet(bridge.space, row.cube.value, row.cube, ())
    if above and any(flight.meet(row.cube) for flight in found.meeting(number, row.cube)):
        covering = tuple(other.entry for other in _covering(table, row, above)) or above
        happens = f"{named(entry)} can never match: {named_together(covering)} of higher priority takes all its packets"
        return Finding(Kind.NEVER, bridge.node, happens, example, (entry, *covering))
    happens = f"{named(entry)} can never match: table 0 admits no such packet to table {number}"
    return Finding(Kind.NEVER, bridge.node, happens, example, (entry,))


def _covering(table: Table, row: Row, above: tuple[FlowEntry, ...]) -> Iterator[Row]:
    """The first entry that alone takes all that this one could, if there is one."""
    for cube, entry in table.index.meeting(row.cube):
        if entry.priority > row.entry.priority and row.cube.within(cube):
            yield Row(cube, entry)
            return
