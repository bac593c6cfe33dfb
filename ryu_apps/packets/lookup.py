"""What takes a packet: the first of the highest priority whose cube has it, as a flow table chooses its entry.

Tuple space search (V. Srinivasan, S. Suri, G. Varghese, Packet Classification using Tuple Space Search, SIGCOMM 1999),
as Open vSwitch does it: what has one priority and one mask is found by one hash look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from ryu_apps.packets.cubes import Budget, Cube, point_outside

T = TypeVar("T")


class _Shape(Generic[T]):
    """The things of one priority that fix the same bits."""

    def __init__(self, priority: int, mask: int) -> None:
        self.priority = priority
        self.mask = mask
        self.things: dict[int, T] = {}
        self._by_common: dict[int, dict[int, list[int]]] = {}

    def meeting(self, cube: Cube) -> Iterable[int]:
        """The values whose cubes meet this one."""
        common = self.mask & cube.mask
        value = cube.value & common
        if common == self.mask:
            return (value,) if value in self.things else ()
        return self._buckets(common).get(value, ())

    def _buckets(self, common: int) -> Mapping[int, list[int]]:
        found = self._by_common.get(common)
        if found is None:
            found = self._by_common[common] = {}
            for value in self.things:
                found.setdefault(value & common, []).append(value)
        return found


class Lookup(Generic[T]):
    """Things with a priority and a cube. Of two of one priority that both have a packet, the first given wins."""

    def __init__(self, things: Iterable[tuple[int, Cube, T]] = ()) -> None:
        shapes: dict[tuple[int, int], _Shape[T]] = {}
        for priority, (mask, value), thing in things:
            shape = shapes.get((priority, mask))
            if shape is None:
                shape = shapes[priority, mask] = _Shape(priority, mask)
            shape.things.setdefault(value, thing)
        self._shapes = sorted(shapes.values(), key=lambda shape: -shape.priority)

    def find(self, header: int) -> T | None:
        for shape in self._shapes:
            found = shape.things.get(header & shape.mask)
            if found is not None:
                return found
        return None

    def bits_told_apart(self, cube: Cube, lowest: int) -> int:
        """The bits by which things of at least ``lowest`` priority tell packets of the cube apart."""
        bits = 0
        for shape in self._shapes:
            if shape.priority < lowest:
                break
            if shape.mask & ~cube.mask and any(True for _ in shape.meeting(cube)):
                bits |= shape.mask & ~cube.mask
        return bits

    def packets(self, cube: Cube, lowest: int, budget: Budget) -> Iterator[int]:
        """One packet of the cube for each thing of at least ``lowest`` priority that takes any, and one for the rest.

        So what is true of these, and depends on what takes a packet alone, is true of the whole cube. Raises TooHard.
        """
        above: list[Cube] = []
        for shape in self._shapes:
            if shape.priority < lowest:
                break
            for value in shape.meeting(cube):
                taken = Cube(shape.mask, value)
                both = cube.meet(taken)
                point = point_outside(both, above, budget) if both is not None else None
                if point is not None:
                    yield point
                if both == cube:
                    return
                above.append(taken)
        point = point_outside(cube, above, budget)
        if point is not None:
            yield point
