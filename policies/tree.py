"""A document as a tree of nodes that know their lines."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

from policies.errors import MOST_PROBLEMS, DocumentError, Problem
from policies.model import Place
from policies.syntax import Event, Scalar, SyntaxFault

DEEPEST = 32  # mappings and lists inside each other; a policy needs six
MOST_VALUES = 1_000_000  # of a document: each takes about 100 bytes while it is read, and some have 3 characters

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Node(NamedTuple):
    """A value with its line (from 1). ``key_line`` is that of the key which names it, or its own."""

    value: Scalar | Nodes | dict[str, Node]
    line: int
    key_line: int


class Run(NamedTuple):
    """Items that stand, text for text, in the list's earlier version too, where the first one is number ``was``."""

    first: int
    was: int
    length: int


@dataclass(frozen=True, eq=False)
class LazyNodes(Sequence[Node]):
    """The items of a list, of which each becomes a node when it is asked for.

    ``lines`` has the line of each. ``fresh`` has the plain values of those that are in none of the ``runs``, in order.
    """

    lines: Sequence[int]
    node_at: Callable[[int], Node]
    fresh: deque[object] = field(repr=False)
    runs: Sequence[Run] = ()

    def take(self) -> Iterator[object]:
        """The fresh values, each once: what is made of them can have their memory."""
        while self.fresh:
            yield self.fresh.popleft()

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Node]: ...
    def __getitem__(self, index: int | slice) -> Node | Sequence[Node]:
        if isinstance(index, slice):
            return tuple(map(self.node_at, range(*index.indices(len(self)))))
        return self.node_at(range(len(self))[index])


Nodes = tuple[Node, ...] | LazyNodes
LISTS = (tuple, LazyNodes)  # for isinstance


def plain(value: Scalar | Nodes | dict[str, Node]) -> object:
    """The value of a node without its lines: mappings, lists and scalars."""
    if isinstance(value, dict):
        return {key: plain(child.value) for key, child in value.items()}
    if isinstance(value, LazyNodes) and len(value.fresh) == len(value):
        return list(value.fresh)
    if isinstance(value, LISTS):
        return [plain(child.value) for child in value]
    return value


def child_path(path: str, key: str) -> str:
    """The dotted path of a key of the mapping at ``path``."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{json.dumps(key[:60])}]"
    return f"{path}.{key}" if path else key


def build(events: Iterable[Event], file: str) -> tuple[Node | None, tuple[Problem, ...]]:
    """The tree of a document, None if it is empty; and its keys that are given twice, of which it has the last.

    Raises SyntaxFault; DocumentError for too many such keys.
    """
    builder = _Builder(file)
    builder.build(events)
    return builder.root, tuple(builder.problems)


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being filled. ``key`` is the key that waits for its value."""

    children: dict[str, Node] | list[Node]
    line: int
    key_line: int
    outer: _Open | None
    key: str | None = None
    waiting_line: int = 0

    def path(self) -> str:
        """The dotted path of the mapping or list."""
        if self.outer is None:
            return ""
        outer = self.outer.path()
        if isinstance(self.outer.children, list):
            return f"{outer}[{len(self.outer.children)}]"
        return child_path(outer, self.outer.key or "")


@dataclass
class _Builder:
    """Puts events together to a tree, without recursion."""

    file: str
    stack: list[_Open] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    values: int = 0
    root: Node | None = None

    def build(self, events: Iterable[Event]) -> None:
        for kind, line, value in events:
            inner = self.stack[-1] if self.stack else None
            if kind == "end":
                self._close()
            elif inner is not None and inner.key is None and isinstance(inner.children, dict):
                self._take_key(inner, inner.children, line, value)
            elif kind == "scalar":
                self._place(value, line, inner.waiting_line if inner is not None and inner.key is not None else line)
            else:
                self._open(inner, kind, line)

    def _take_key(self, inner: _Open, children: dict[str, Node], line: int, key: Scalar) -> None:
        if not isinstance(key, str):
            raise SyntaxFault(line, "a key must be text: put it in quotes")
        inner.key, inner.waiting_line = key, line
        if key in children:
            path = child_path(inner.path(), key)
            first = children[key].key_line
            where = "both times in this line" if first == line else f"first in line {first}"
            message = f"this key is given twice, {where}: keep one of them"
            self.problems.append(Problem(Place(self.file, line, path), message))
            if len(self.problems) >= MOST_PROBLEMS:
                raise DocumentError(self.problems)

    def _open(self, inner: _Open | None, kind: str, line: int) -> None:
        if len(self.stack) >= DEEPEST:
            raise SyntaxFault(line, f"nested deeper than {DEEPEST} levels, which no policy is")
        key_line = inner.waiting_line if inner is not None and isinstance(inner.children, dict) else line
        self.stack.append(_Open({} if kind == "mapping" else [], line, key_line, inner))

    def _close(self) -> None:
        done = self.stack.pop()
        value = done.children if isinstance(done.children, dict) else tuple(done.children)
        self._place(value, done.line, done.key_line)

    def _place(self, value: Scalar | tuple[Node, ...] | dict[str, Node], line: int, key_line: int) -> None:
        self.values += 1
        if self.values > MOST_VALUES:
            raise SyntaxFault(line, f"these are more than {MOST_VALUES:,} values, which no policy has")
        node = Node(value, line, key_line)
        if not self.stack:
            self.root = node
            return
        inner = self.stack[-1]
        if isinstance(inner.children, list):
            inner.children.append(node)
        elif inner.key is not None:
            inner.children[inner.key] = node
            inner.key = None
