"""Text of a document -> a tree of nodes that know their file and line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from policies.errors import DocumentError, Problem
from policies.json_frame import Doubt, json_tree
from policies.layout import JsonText
from policies.model import Place
from policies.syntax import SyntaxFault, json_events, yaml_events
from policies.tree import LISTS, MOST_VALUES, Node, build

LARGEST = 32 * 1024 * 1024  # bytes of a document


@dataclass(frozen=True)
class Document:
    """``json`` is what the next version of a JSON text needs to know of this one.

    ``doubled``: the keys that are given twice, which are errors. Of each the tree has the last, so that all else can be
    judged.
    """

    file: str
    root: Node
    json: JsonText | None = None
    doubled: tuple[Problem, ...] = ()

    def place(self, path: str) -> Place:
        """Where the value of this dotted path stands; for a key that is left out, where its mapping begins.

        Steps into a value that holds no others are dropped (a match given as one text has no keys).
        """
        node = self.root
        for step in re.findall(r"[^.\[\]]+", path):
            value = node.value
            if isinstance(value, dict) and step in value:
                node = value[step]
            elif isinstance(value, LISTS) and step.isdigit() and int(step) < len(value):
                node = value[int(step)]
            elif isinstance(value, dict):
                return Place(self.file, node.key_line, path)
            else:
                return Place(self.file, node.line, path[: path.rindex(step) - 1])
        return Place(self.file, node.line, path)


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
        raise _too_large(file)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _fault(file, line, f"not UTF-8 text (byte 0x{raw[error.start]:02x}): save the file as UTF-8") from None


def is_json(text: str, file: str) -> bool:
    """The name decides: .json is JSON, .yaml and .yml YAML; else the first character of the text does."""
    suffix = PurePath(file).suffix.lower()
    return suffix == ".json" or (suffix not in (".yaml", ".yml") and text.lstrip().startswith("{"))


def parse_document(text: str, file: str, earlier: JsonText | None = None) -> Document:
    """The tree of a text, JSON or YAML.

    With an earlier version of a JSON text, only what differs from it is read. Raises DocumentError, but not for
    ``Document.doubled``.
    """
    if text.startswith("\ufeff"):
        raise _fault(file, 1, "begins with a byte order mark: save the file as UTF-8 without one")
    if not text.strip():
        raise _fault(file, 0, "is empty: a policy document was expected")
    if len(text if text.isascii() else text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise _too_large(file)
    json = is_json(text, file)
    if json and sum(map(text.count, ",[{")) > MOST_VALUES:  # told before memory is taken: each may begin a value
        raise _fault(file, 0, f"has more than {MOST_VALUES:,} commas and opening brackets, which no policy has")
    try:
        if json:
            return Document(file, *json_tree(text, file, earlier))
    except Doubt:
        pass
    try:
        root, doubled = build(json_events(text) if json else yaml_events(text), file)
    except SyntaxFault as fault:
        raise _fault(file, fault.line, fault.message) from None
    if root is None:
        raise _fault(file, 0, "is empty: a policy document was expected")
    return Document(file, root, doubled=doubled)


def _too_large(file: str) -> DocumentError:
    return _fault(file, 0, f"larger than {LARGEST // 1024 // 1024} MiB, which no policy is")


def _fault(file: str, line: int, message: str) -> DocumentError:
    return DocumentError([Problem(Place(file, line, ""), message)])
