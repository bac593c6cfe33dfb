"""One line of the demo's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """``number`` is the demo's, 1 to 9; a number may have several lines. ``held``: it was seen as promised."""

    number: int
    what: str
    held: bool
    measured: str
