"""Lists of mappings that become values of one kind: flows, routes, sockets, containers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, is_
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from policies.kinds import Kind, Unfit
from policies.model import Place
from policies.reader import Section
from policies.tree import LazyNodes, Nodes, Run, plain


class _Placed(Protocol):
    def __init__(self, *values: Any) -> None: ...

    @property
    def place(self) -> Place: ...


T = TypeVar("T", bound=_Placed)
Misfits = Iterable[tuple[str, str | int, str]]  # key, key or index inside its value, message

_REQUIRED: Any = object()
_LOST: Any = object()


class Key(NamedTuple):
    name: str
    kind: Kind[Any]
    default: Any = _REQUIRED


def all_fit(values: Mapping[str, Any]) -> Misfits:
    return ()


@dataclass(frozen=True)
class Record(Generic[T]):
    """``of`` is made of the values of the keys, in their order, and the place.

    ``judge`` tells which of the values that could be read do not fit together.
    """

    of: type[T]
    keys: tuple[Key, ...]
    judge: Callable[[Mapping[str, Any]], Misfits] = all_fit

    def read(self, section: Section, key: str, earlier: tuple[T, ...] = ()) -> tuple[T, ...]:
        """The values of the list under a key, without those that could not be read.

        ``earlier``: the values of the document's earlier version. Those that have not changed are used again.
        """
        nodes = section.nodes(key)
        places = _Places(section.place.file, f"{section.path}.{key}", _lines(nodes))
        fresh = nodes.take() if isinstance(nodes, LazyNodes) else (plain(node.value) for node in nodes)
        runs = nodes.runs if isinstance(nodes, LazyNodes) else ()
        found: list[T] = []
        number = 0
        for run in (*runs, Run(len(nodes), 0, 0)):
            for each, given in zip(range(number, run.first), fresh, strict=False):
                place = places.of(each)
                try:
                    value = self._at_once(given, place)
                except Unfit:
                    found += self._with_care(section.item(nodes[each], place.path, self.of))
                    continue
                same = each < len(earlier) and earlier[each] == value and earlier[each].place == place
                found.append(earlier[each] if same else value)
            found += self._again(earlier[run.was : run.was + run.length], run, places)
            number = run.first + run.length
        return earlier if len(found) == len(earlier) and all(map(is_, found, earlier)) else tuple(found)

    def _at_once(self, given: object, place: Place) -> T:
        """Raises Unfit for whatever is not as it should be."""
        if not isinstance(given, dict):
            raise Unfit("expected a mapping")
        values = []
        known = 0
        for name, kind, default in self.keys:
            if name in given:
                values.append(kind(given[name]))
                known += 1
            elif default is _REQUIRED:
                raise Unfit("a key is missing")
            else:
                values.append(default)
        if known < len(given):
            raise Unfit("a key is unknown")
        if self.judge is not all_fit:
            names = (key.name for key in self.keys)
            if any(self.judge(dict(zip(names, values, strict=True)))):
                raise Unfit("the values do not fit together")
        return self.of(*values, place)

    def _with_care(self, section: Section) -> Iterator[T]:
        """The value, if it can be read; what is wrong is noted."""
        values: dict[str, Any] = {}
        for name, kind, default in self.keys:
            value = section.read(name, kind, _LOST if default is _REQUIRED else default)
            if value is not _LOST:
                values[name] = value
            else:
                section.needs(name)
        for key, inner, message in self.judge(values):
            section.lose(key, message, inner)
        if len(values) == len(self.keys):
            yield self.of(*values.values(), section.place)

    def _again(self, same: tuple[T, ...], run: Run, places: _Places) -> Iterable[T]:
        if not same or same[0].place == places.of(run.first):
            return same
        values_of = attrgetter(*(key.name for key in self.keys))
        return (self.of(*values_of(value), places.of(run.first + index)) for index, value in enumerate(same))


class _Places(NamedTuple):
    file: str
    path: str
    lines: Sequence[int]

    def of(self, number: int) -> Place:
        return Place(self.file, self.lines[number], f"{self.path}[{number}]")


def _lines(nodes: Nodes) -> Sequence[int]:
    return nodes.lines if isinstance(nodes, LazyNodes) else [node.line for node in nodes]
