"""The document's example, and changed copies of it, for tests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from policies.errors import DocumentError
from policies.load import parse
from policies.model import PrivacyRouter

DOCUMENTS = Path(__file__).resolve().parents[1] / "policies" / "documents"
EXAMPLE = (DOCUMENTS / "privacy-router.json").read_text(encoding="utf-8")

Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> str:
    """The example as JSON text, one value a line, after ``change`` was applied to its ``privacy_router``."""
    document = json.loads(EXAMPLE)
    change(document["privacy_router"])
    return json.dumps(document, indent=1)


def policy(change: Change) -> PrivacyRouter:
    return parse(changed(change), "policy.json")


def problems(text: str, file: str = "policy.json") -> list[tuple[str, str, str]]:
    """(path, text of the line, message) of every problem of a document, in the order of the lines.

    Where the path leads to a value, the problem's line must be that of the value, or of its key.
    """
    try:
        parse(text, file)
    except DocumentError as error:
        lines = ["", *text.splitlines()]
        places = [problem.place for problem in error.problems]
        assert all(place.file == file for place in places)
        assert [place.line for place in places] == sorted(place.line for place in places)
        for place in places:
            assert place.line in (line_of(text, place.path) or {place.line}), place
        return [(problem.place.path, lines[problem.place.line].strip(), problem.message) for problem in error.problems]
    return []


def line_of(text: str, path: str) -> set[int]:
    """The lines of the value at a path and of its key, as PyYAML's tree builder sees them; empty if there is none."""
    node: Any = yaml.compose(text)
    lines = {1}
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == step]
        elif isinstance(node, yaml.SequenceNode) and step.isdigit():
            found = [(value, value) for value in node.value[int(step) : int(step) + 1]]
        else:
            return set()
        if not found:
            return set()
        key, node = found[0]
        lines = {key.start_mark.line + 1, node.start_mark.line + 1}
    return lines
