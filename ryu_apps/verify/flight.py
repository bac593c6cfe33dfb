"""Sets of packets on their way through the tables, kept in terms of the packets that came in.

A set is a cube less other cubes, all over the header as it came in, and what has been written into it since. So
whatever becomes of the packets, one that it happens to can be named (see ``Flight.packet``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from ryu_apps.flows.flow import DecTtl, FlowEntry, GotoTable, Match, Output, PushVlan, SetField, StripVlan
from ryu_apps.packets.cubes import EVERYTHING, Budget, Cube, point_outside
from ryu_apps.packets.headers import Space
from ryu_apps.verify.arriving import brought_by_none
from ryu_apps.verify.tables import Bridge, Row


class Outside:
    """Cubes that are worked out when they are first asked for. Mostly nobody asks, and they may be very many."""

    def __init__(self, work: Callable[[], tuple[Cube, ...]]) -> None:
        self._work = work

    @cached_property
    def _cubes(self) -> tuple[Cube, ...]:
        return self._work()

    def __iter__(self) -> Iterator[Cube]:
        return iter(self._cubes)


class Flight(NamedTuple):
    """Packets that came in by ``port`` and are about to meet ``table``.

    ``inside`` less ``outside``: the packets, as they came in. ``written``: what is known of them now. ``unknown``:
    bits of which nothing is known now, because they were changed by more than a constant. A match on those is taken
    to hold, and none of them keeps a packet from anything: what is proved stays true, whatever they are.
    """

    port: str
    table: int
    inside: Cube
    outside: Iterable[Cube] = ()
    written: Cube = EVERYTHING
    unknown: int = 0
    path: tuple[FlowEntry, ...] = ()

    @property
    def now(self) -> Cube:
        """A cube around the packets as they are now."""
        if not self.written.mask | self.unknown:
            return self.inside
        kept = self.inside.without(self.written.mask | self.unknown)
        return Cube(kept.mask | self.written.mask, kept.value | self.written.value)

    def meet(self, cube: Cube) -> Cube | None:
        """``inside`` narrowed to the packets that the cube takes now; None if it takes none."""
        if (cube.value ^ self.written.value) & cube.mask & self.written.mask:
            return None
        return self.inside.meet(cube.without(self.written.mask | self.unknown))

    def origin(self, cube: Cube) -> Cube | None:
        """The packets, as they came in, that the cube surely takes now; None if it takes none for sure."""
        if cube.mask & self.unknown or (cube.value ^ self.written.value) & cube.mask & self.written.mask:
            return None
        return cube.without(self.written.mask)

    def less(self, cubes: Iterable[Cube]) -> tuple[Cube, ...]:
        """``outside`` and what these cubes take before."""
        taken = (self.origin(cube) for cube in cubes)
        return (*self.outside, *(cube for cube in taken if cube is not None))

    def into(self, bridge: Bridge, row: Row) -> Flight | None:
        """The packets that this entry takes, as it is about to act on them; None if there are none to begin with."""
        inside = self.meet(row.cube)
        if inside is None:
            return None
        path = (*self.path, row.entry)
        taken = Flight(self.port, self.table, inside, self.outside, self.written, self.unknown, path)

        def outside() -> tuple[Cube, ...]:
            above = bridge.tables[self.table].above(taken.now, row.entry.priority, bridge.budget)
            return taken.less(other.cube for other in above)

        return taken._replace(outside=Outside(outside))

    def after(self, bridge: Bridge, row: Row, out: str | None) -> Flight:
        """After the entry's actions up to its Output to ``out``; with None after all of them, in the next table."""
        written, unknown, table = self.written, self.unknown, self.table
        for action in row.entry.actions:
            match action:
                case Output(port) if port == out:
                    break
                case SetField(name, text):
                    cube = bridge.space.field(name, text, row.entry.match)
                    written = Cube(written.mask | cube.mask, written.value & ~cube.mask | cube.value)
                    unknown &= ~cube.mask
                case DecTtl() | PushVlan() | StripVlan():
                    bits = bridge.space.bits(*(("nw_ttl",) if isinstance(action, DecTtl) else ("vlan_vid", "vlan_pcp")))
                    written, unknown = written.without(bits), unknown | bits
                case GotoTable(number):
                    table = number
        return Flight(self.port, table, self.inside, self.outside, written, unknown, self.path)

    def example(self, budget: Budget, space: Space, more: tuple[Cube, ...] = ()) -> Match | None:
        """One of the packets, as it came in, that is in none of ``more`` either. None if there is none.

        Raises TooHard.
        """
        outside = (*self.outside, *more)
        point = a_point(self.inside, outside, budget, space)
        return None if point is None else packet(space, point, self.inside, outside)


def a_point(inside: Cube, outside: tuple[Cube, ...], budget: Budget, space: Space) -> int | None:
    """A packet inside and not outside: an ordinary one if one will do. Raises TooHard."""
    for ordinary in (_ordinary(space), EVERYTHING):
        point = inside.value | ordinary.value & ~inside.mask
        if not any(cube.has(point) for cube in outside):
            return point
    return point_outside(inside, outside, budget)


def packet(space: Space, point: int, inside: Cube, outside: tuple[Cube, ...]) -> Match:
    """The packet in as few fields as will do: those of ``inside``, and those that keep it from ``outside``."""
    bits = space.fields_of(inside.mask) & (~brought_by_none(space) | space.fields_of(inside.value))
    while blocking := next((cube for cube in outside if cube.has(point & bits)), None):
        bits |= space.fields_of(blocking.mask)
    return space.match(Cube(bits, point & bits))


_ORDINARY = (("nw_src", "198.51.100.7"), ("nw_dst", "198.51.100.1"), ("nw_ttl", "64"))


def _ordinary(space: Space) -> Cube:
    mask = value = 0
    for name, text in _ORDINARY:
        cube = space.field(name, text, ())
        mask, value = mask | cube.mask, value | cube.value
    return Cube(mask, value)


def leaving(bridge: Bridge, flight: Flight, out: str) -> Iterator[Flight]:
    """The packets of a flight that leave by ``out``, by every way through the tables. Some may turn out to be empty."""
    table = bridge.tables.get(flight.table)
    if table is None or out == flight.port:
        return
    rows = sorted(table.sending(flight.port, out), key=lambda row: row.cube.mask.bit_count())
    for row in rows:
        inside = flight.into(bridge, row)
        if inside is not None:
            yield inside.after(bridge, row, out)
    for row in table.jumping(flight.now):
        inside = flight.into(bridge, row)
        if inside is not None:
            further = inside.after(bridge, row, None)
            if further.table > flight.table:
                yield from leaving(bridge, further, out)
