"""How long lines are said to people. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

NARROW = 20  # columns that are left on any terminal


def wrapped(text: str, width: int | None, indent: int) -> str:
    """Broken where it is wider than ``width`` columns: behind commas, and between words where that is not enough.
    None: it may be as wide as it is."""
    if width is None or len(text) < width:
        return text
    lines = [""]
    for part in _parts(text, max(width - indent, NARROW)):
        if len(lines[-1]) + len(part) < width or not lines[-1]:
            lines[-1] += part
        else:
            lines[-1] = lines[-1].rstrip()
            lines.append(f"{' ' * indent}{part}")
    return "\n".join(lines)


def _parts(text: str, width: int) -> Iterator[str]:
    """The items of a list, each with what parts it from the next; those that are too wide, in pieces."""
    items = text.split(", ")
    for number, item in enumerate(items, 1):
        separator = ", " if number < len(items) else ""
        pieces = [item] if len(item) < width else wrap(item, width - 1, break_long_words=False, break_on_hyphens=False)
        yield from (f"{piece} " for piece in pieces[:-1])
        yield f"{pieces[-1]}{separator}"
