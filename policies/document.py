"""Text of a document -> a tree of nodes that know their file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple

from policies.errors import MOST_PROBLEMS, DocumentError, Problem
from policies.model import Place
from policies.syntax import Event, Scalar, SyntaxFault, json_events, yaml_events

LARGEST = 16 * 1024 * 1024  # bytes of a document
DEEPEST = 32  # mappings and lists inside each other; a policy needs six

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Node(NamedTuple):
    """A value with its line (from 1). ``key_line`` is that of the key which names it, or its own."""

    value: Scalar | tuple[Node, ...] | dict[str, Node]
    line: int
    key_line: int


@dataclass(frozen=True)
class Document:
    file: str
    root: Node

    def place(self, path: str) -> Place:
        """Where the value of this dotted path stands; for a key that is left out, where its mapping begins.

        Steps into a value that holds no others are dropped (a match given as one text has no keys).
        """
        node = self.root
        for step in re.findall(r"[^.\[\]]+", path):
            value = node.value
            if isinstance(value, dict) and step in value:
                node = value[step]
            elif isinstance(value, tuple) and step.isdigit() and int(step) < len(value):
                node = value[int(step)]
            elif isinstance(value, dict):
                return Place(self.file, node.key_line, path)
            else:
                return Place(self.file, node.line, path[: path.rindex(step) - 1])
        return Place(self.file, node.line, path)


def child_path(path: str, key: str) -> str:
    """The dotted path of a key of the mapping at ``path``."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{json.dumps(key[:60])}]"
    return f"{path}.{key}" if path else key


def read_text(path: Path) -> str:
    """The text of a file. Raises DocumentError when it cannot be read, is too large, or is not UTF-8."""
    file = str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _fault(file, 0, f"cannot be read: {reason}") from None
    if len(raw) > LARGEST:
        raise _fault(file, 0, f"larger than {LARGEST // 1024 // 1024} MiB, which no policy is")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _fault(file, line, f"not UTF-8 text (byte 0x{raw[error.start]:02x}): save the file as UTF-8") from None


def parse_document(text: str, file: str) -> Document:
    """The tree of a text. The name decides: .json is JSON, .yaml and .yml YAML; else the first character does.

    Raises DocumentError.
    """
    if text.startswith("\ufeff"):
        raise _fault(file, 1, "begins with a byte order mark: save the file as UTF-8 without one")
    if not text.strip():
        raise _fault(file, 0, "is empty: a policy document was expected")
    suffix = PurePath(file).suffix.lower()
    is_json = suffix == ".json" or (suffix not in (".yaml", ".yml") and text.lstrip().startswith("{"))
    try:
        root = _Builder(file).build(json_events(text) if is_json else yaml_events(text))
    except SyntaxFault as fault:
        raise _fault(file, fault.line, fault.message) from None
    if root is None:
        raise _fault(file, 0, "is empty: a policy document was expected")
    return Document(file, root)


def _fault(file: str, line: int, message: str) -> DocumentError:
    return DocumentError([Problem(Place(file, line, ""), message)])


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
    root: Node | None = None

    def build(self, events: Iterable[Event]) -> Node | None:
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
        if self.problems:
            raise DocumentError(self.problems)
        return self.root

    def _take_key(self, inner: _Open, children: dict[str, Node], line: int, key: Scalar) -> None:
        if not isinstance(key, str):
            raise SyntaxFault(line, "a key must be text: put it in quotes")
        inner.key, inner.waiting_line = key, line
        if key in children:
            path = child_path(inner.path(), key)
            first = children[key].key_line
            message = f"this key is given twice, first in line {first}: keep one of them"
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
