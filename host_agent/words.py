"""How numbers of things are said to people. Pure."""

from __future__ import annotations


def counted(number: int, one: str, more: str = "") -> str:
    """``1 step``, ``2 steps``; ``more`` is the plural that has no mere "s" at its end."""
    return f"{number} {one if number == 1 else more or f'{one}s'}"
