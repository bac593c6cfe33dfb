"""Ternary cubes: sets of packets whose headers agree in some bits, and searches among many of them.

A header is one long integer (``ryu_apps.packets.headers`` says which bits are which field), so to meet, to contain and
to exclude are a few operations on integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Cube(NamedTuple):
    """All packets whose bits under ``mask`` are those of ``value``; the other bits of ``value`` are 0."""

    mask: int
    value: int

    def meets(self, other: Cube) -> bool:
        return not (self.value ^ other.value) & self.mask & other.mask

    def meet(self, other: Cube) -> Cube | None:
        """The packets of both; None if there are none."""
        if (self.value ^ other.value) & self.mask & other.mask:
            return None
        return Cube(self.mask | other.mask, self.value | other.value)

    def within(self, other: Cube) -> bool:
        return not other.mask & ~self.mask and not (self.value ^ other.value) & other.mask

    def has(self, point: int) -> bool:
        return point & self.mask == self.value

    def without(self, bits: int) -> Cube:
        """The same cube with these bits left open."""
        return Cube(self.mask & ~bits, self.value & ~bits)


EVERYTHING = Cube(0, 0)


class TooHard(Exception):
    """The search took more steps than it may. Nothing was shown, neither for nor against."""


@dataclass
class Budget:
    """Steps that searches may still take together, about 3 million a second."""

    steps: int

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TooHard


def point_outside(cube: Cube, others: Iterable[Cube], budget: Budget) -> int | None:
    """A packet of ``cube`` that is in none of ``others``; None if they cover it together. Exact.

    Splits the cube on one bit after the other. The half that the others fill less comes first: as long as they do
    not fill all of it there is always a half they do not fill, so a packet is found without going back.
    Raises TooHard.
    """
    mask, value = cube
    rest = []
    for other_mask, other_value in others:
        if not (value ^ other_value) & mask & other_mask:
            open_bits = other_mask & ~mask
            if not open_bits:
                return None
            rest.append((open_bits, other_value & open_bits))
    halves = [(value, rest)]
    while halves:
        value, rest = halves.pop()
        if not rest:
            return value
        budget.spend(len(rest))
        widest = min(rest, key=_bits_set)[0]
        bit = 1 << widest.bit_length() - 1
        both = sorted((_half(rest, bit, set_bit) for set_bit in (0, bit)), key=lambda half: half[0], reverse=True)
        halves += [(value | set_bit, inside) for filled, set_bit, inside in both if filled < 2]
    return None


def _bits_set(cube: tuple[int, int]) -> int:
    return cube[0].bit_count()


def _half(rest: list[tuple[int, int]], bit: int, set_bit: int) -> tuple[float, int, list[tuple[int, int]]]:
    """(how full the half is, or 2 if one cube fills it; the half's bit; what lies in it)."""
    inside = []
    filled = 0.0
    for mask, value in rest:
        if mask & bit:
            if value & bit != set_bit:
                continue
            mask, value = mask ^ bit, value & ~bit
            if not mask:
                return 2.0, set_bit, []
        inside.append((mask, value))
        filled += 2.0 ** -mask.bit_count()
    return min(filled, 1.5), set_bit, inside


class CubeIndex(Generic[T]):
    """Things with cubes, found by overlap. One hash look-up for each distinct mask that they have."""

    def __init__(self) -> None:
        self._groups: dict[int, list[tuple[Cube, T]]] = {}
        self._by_common: dict[tuple[int, int], dict[int, list[tuple[Cube, T]]]] = {}

    def add(self, pair: tuple[Cube, T]) -> None:
        mask = pair[0].mask
        group = self._groups.get(mask)
        if group is None:
            group = self._groups[mask] = []
        group.append(pair)
        if self._by_common:
            self._by_common.clear()

    def group(self, mask: int) -> Sequence[tuple[Cube, T]]:
        """The things with this mask."""
        return self._groups.get(mask, ())

    def meeting(self, cube: Cube, masks: Iterable[int] | None = None) -> Iterator[tuple[Cube, T]]:
        """The things whose cubes meet this one; only those with one of these masks, if some are given."""
        for mask in self._groups if masks is None else masks:
            yield from self._bucket(mask, mask & cube.mask).get(cube.value & mask, ())

    def _bucket(self, mask: int, common: int) -> Mapping[int, list[tuple[Cube, T]]]:
        key = mask, common
        found = self._by_common.get(key)
        if found is None:
            found = self._by_common[key] = {}
            for pair in self._groups[mask]:
                found.setdefault(pair[0].value & common, []).append(pair)
        return found
