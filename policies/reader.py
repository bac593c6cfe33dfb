"""Read the keys of a mapping into typed values, and note everything that is wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from policies.document import Document
from policies.errors import MOST_PROBLEMS, DocumentError, Problem
from policies.kinds import Kind, Unfit, described
from policies.model import Place
from policies.tree import LISTS, Node, Nodes, child_path, plain
from policies.words import did_you_mean, nearest

T = TypeVar("T")

_NOT_KEYS = {"place", "source"}  # fields that the document does not give


@dataclass
class Findings:
    """What reading a document has brought to light.

    ``unread`` holds the paths of the values that were given but could not be used: what depends on
    them cannot be judged.
    """

    document: Document
    problems: list[Problem] = field(init=False)
    unread: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.problems = list(self.document.doubled)
        self.unread = {problem.place.path for problem in self.problems}

    def report(self, line: int, path: str, message: str) -> None:
        """Raises DocumentError when there are too many already."""
        self.problems.append(Problem(Place(self.document.file, line, path), message))
        if len(self.problems) >= MOST_PROBLEMS:
            raise DocumentError(self.problems)

    def lose(self, line: int, path: str, message: str) -> None:
        """Report a value that could not be read."""
        self.report(line, path, message)
        self.unread.add(path)


class Section:
    """One mapping of the document. ``record`` is the dataclass it becomes, whose fields are the keys it may have."""

    def __init__(self, findings: Findings, node: Node, path: str, record: type[Any]) -> None:
        self._findings = findings
        self._line = node.key_line
        self._children: dict[str, Node] = {}
        self._is_mapping = isinstance(node.value, dict)
        self.path = path
        self.place = Place(findings.document.file, node.line, path)
        if not isinstance(node.value, dict):
            findings.lose(node.line, path, f"expected a mapping, got {described(node.value)}")
            return
        known = record.__dataclass_fields__.keys() - _NOT_KEYS
        for key, child in node.value.items():
            if key in known:
                self._children[key] = child
            else:
                message = f"unknown key; {did_you_mean(key, known)}"
                findings.report(child.key_line, child_path(path, key), message)
                meant = nearest(key, known)
                if meant is not None and meant not in node.value:  # given, but not read
                    findings.unread.add(child_path(path, meant))

    def has(self, key: str) -> bool:
        return key in self._children

    def read(self, key: str, kind: Kind[T], default: T) -> T:
        """The value of a key, or its default when it is left out."""
        node = self._children.get(key)
        if node is None:
            return default
        try:
            return kind(plain(node.value))
        except Unfit as unfit:
            for inner, message in unfit.problems:
                self.lose(key, message, inner)
            return default

    def require(self, key: str, kind: Kind[T]) -> T | None:
        """The value of a key that must be there; None, and a problem noted, when it is not."""
        return self.read(key, kind, None) if self.needs(key) else None

    def needs(self, key: str, why: str = "this key must be given") -> bool:
        """True if the key is there; a problem is noted if not."""
        path = child_path(self.path, key)
        if self._is_mapping and key not in self._children and path not in self._findings.unread:  # told already, if so
            self._findings.lose(self._line, path, f"missing: {why}")
        return key in self._children

    def get(self, key: str) -> Node:
        """The node under a key that is there. Raises KeyError."""
        return self._children[key]

    def section(self, key: str, record: type[Any]) -> Section:
        """The mapping under a key; an empty one when it is left out."""
        node = self._children.get(key, Node({}, self._line, self._line))
        return Section(self._findings, node, child_path(self.path, key), record)

    def sections(self, key: str, record: type[Any]) -> Iterator[Section]:
        """The mappings in the list under a key."""
        for index, node in enumerate(self.nodes(key)):
            yield self.item(node, f"{self.path}.{key}[{index}]", record)

    def item(self, node: Node, path: str, record: type[Any]) -> Section:
        """A mapping of this document that stands at this path."""
        return Section(self._findings, node, path, record)

    def values(self, key: str, kind: Kind[T], default: tuple[T, ...]) -> tuple[T, ...]:
        """The values of the list under a key. A list that is given must not be empty."""
        if key not in self._children:
            return default
        value = self._children[key].value
        if isinstance(value, LISTS) and not value:
            self.lose(key, "expected at least one entry in this list")
        return self.several(key, kind)

    def several(self, key: str, kind: Kind[T]) -> tuple[T, ...]:
        """The values of a list that may be empty or left out, without those that could not be read."""
        result: list[T] = []
        for index, node in enumerate(self.nodes(key)):
            try:
                result.append(kind(plain(node.value)))
            except Unfit as unfit:
                self.lose(key, str(unfit), index)
        return tuple(result)

    def lose(self, key: str, message: str, inner: str | int = "") -> None:
        """Note that the value of a key cannot be used, or that of ``inner`` in the mapping or list under it."""
        node, path = self._children[key], child_path(self.path, key)
        if isinstance(inner, int) and isinstance(node.value, LISTS):
            node, path = node.value[inner], f"{path}[{inner}]"
        elif isinstance(inner, str) and inner and isinstance(node.value, dict):
            node, path = node.value[inner], child_path(path, inner)
        self._findings.lose(node.line, path, message)

    def nodes(self, key: str) -> Nodes:
        """The items of the list under a key; none, and a problem noted, if there is something else."""
        node = self._children.get(key)
        if node is None:
            return ()
        if not isinstance(node.value, LISTS):
            self.lose(key, f"expected a list, got {described(node.value)}")
            return ()
        return node.value
