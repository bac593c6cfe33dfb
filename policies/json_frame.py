"""JSON text -> a tree of nodes, at the speed of the ``json`` module.

A policy is a small frame of mappings around lists that may have 100,000 items. The frame is walked key by key here; the
items of lists are read by the ``json`` module, and only where each begins is noted. Items that stand in an earlier text
as well are not read again. What is not beyond all doubt is left to ``policies.syntax``, which says what is wrong.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import deque
from functools import partial
from typing import NoReturn

from policies.layout import EarlierList, JsonText, Layout
from policies.syntax import Scalar, integer, json_events
from policies.tree import DEEPEST, LazyNodes, Node, Run, build, child_path


class Doubt(Exception):
    """The text may be no JSON, give a key twice, or be nested too deeply."""


def json_tree(text: str, file: str, earlier: JsonText | None = None) -> tuple[Node, JsonText]:
    """The tree of a text, and what the next version of it needs to know of this one. Raises Doubt."""
    if "\\u" in text and _SURROGATE.search(text):
        raise Doubt
    frame = _Frame(text, file, earlier)
    try:
        root = frame.node("", None, 0)
    except (ValueError, IndexError, RecursionError):  # no JSON, or too deep for the json module
        raise Doubt from None
    if text[frame.position :].strip(" \t\n\r"):
        raise Doubt
    return root, JsonText(text, frame.layouts)


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Doubt
    return found


def _no_number(word: str) -> NoReturn:
    raise Doubt


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BEYOND_BLANKS = re.compile(r"[^ \t\n\r]")
_value_at = json.JSONDecoder(object_pairs_hook=_once_each, parse_int=integer, parse_constant=_no_number).raw_decode


class _Frame:
    """A walk through the text. ``line`` is the line at the offset ``counted``."""

    def __init__(self, text: str, file: str, earlier: JsonText | None) -> None:
        self.text = text
        self.file = file
        self.earlier = earlier
        self.layouts: dict[str, Layout] = {}
        self.position = self.counted = 0
        self.line = 1

    def node(self, path: str, key_line: int | None, depth: int) -> Node:
        """The value at the position. ``depth`` counts the mappings and lists around it."""
        self.skip_blanks()
        line = self.line_here()
        first = self.text[self.position]
        value: Scalar | LazyNodes | dict[str, Node]
        if first in "{[" and depth >= DEEPEST:
            raise Doubt
        if first == "{":
            value = self.mapping(path, depth + 1)
        elif first == "[":
            value = self.items(path, depth + 1)
        else:
            value, self.position = _value_at(self.text, self.position)
        return Node(value, line, key_line or line)

    def mapping(self, path: str, depth: int) -> dict[str, Node]:
        children: dict[str, Node] = {}
        goes_on = not self.opens_and_closes("}")
        while goes_on:
            line = self.line_here()
            if self.text[self.position] != '"':
                raise Doubt
            key, self.position = _value_at(self.text, self.position)
            self.skip_blanks()
            if self.text[self.position] != ":" or key in children:
                raise Doubt
            self.position += 1
            children[key] = self.node(child_path(path, key), line, depth)
            goes_on = self.goes_on("}")
        return children

    def items(self, path: str, depth: int) -> LazyNodes:
        text, starts, lines = self.text, array("I"), array("I")
        fresh: deque[object] = deque()
        runs: list[Run] = []
        before = self.earlier_list(path)
        goes_on = not self.opens_and_closes("]")
        while goes_on:
            run = before.run(self.position, len(starts)) if before else None
            if before and run:
                goes_on = self.take(run, before.layout, starts, lines)
                runs.append(run)
                continue
            start = self.position
            starts.append(start)
            lines.append(self.line_here())
            value, end = _value_at(text, start)
            opened = text.count("{", start, end) + text.count("[", start, end)
            if depth + opened > DEEPEST and depth + _depth(value) > DEEPEST:
                raise Doubt
            fresh.append(value)
            self.position = end
            goes_on = self.goes_on("]")
        layout = self.layouts[path] = Layout(starts, lines, self.position)
        return LazyNodes(lines, partial(_item, text, self.file, layout), fresh, runs)

    def earlier_list(self, path: str) -> EarlierList | None:
        layout = self.earlier.layouts.get(path) if self.earlier else None
        return EarlierList(self.earlier.text, layout, self.text) if self.earlier and layout else None

    def take(self, run: Run, layout: Layout, starts: array[int], lines: array[int]) -> bool:
        """Goes past a run of items that are known. True if the list goes on behind it."""
        end = run.was + run.length
        shift, line_shift = self.position - layout.starts[run.was], self.line_here() - layout.lines[run.was]
        starts += _shifted(layout.starts[run.was : end], shift)
        lines += _shifted(layout.lines[run.was : end], line_shift)
        self.position = layout.bound(end) + shift
        if end == len(layout.starts):
            return False
        self.skip_blanks()
        return True

    def line_here(self) -> int:
        self.line += self.text.count("\n", self.counted, self.position)
        self.counted = self.position
        return self.line

    def skip_blanks(self) -> None:
        found = _BEYOND_BLANKS.search(self.text, self.position)
        if found is None:
            raise Doubt
        self.position = found.start()

    def opens_and_closes(self, bracket: str) -> bool:
        """Goes past an opening bracket. True if this closing one follows, past which it then goes."""
        self.position += 1
        self.skip_blanks()
        closes = self.text[self.position] == bracket
        self.position += closes
        return closes

    def goes_on(self, bracket: str) -> bool:
        """Goes past a comma, or this closing bracket. True if it was a comma, behind which another member stands."""
        self.skip_blanks()
        mark = self.text[self.position]
        if mark not in (",", bracket):
            raise Doubt
        self.position += 1
        if mark == ",":
            self.skip_blanks()
        return mark == ","


def _shifted(numbers: array[int], distance: int) -> array[int]:
    return array("I", [number + distance for number in numbers]) if distance else numbers


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _item(text: str, file: str, layout: Layout, number: int) -> Node:
    """An item as a node with the lines of all that is in it."""
    start, line = layout.starts[number], layout.lines[number]
    value, end = _value_at(text, start)
    if not isinstance(value, (dict, list)):
        return Node(value, line, line)
    node, _ = build(json_events(text[start:end], line), file)
    assert node is not None
    return node
