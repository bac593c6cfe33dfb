"""One line of the demo's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """``number`` is the demo's, 1 to 9; a number may have several lines. ``held``: it was seen as promised.

    ``broke_off``: the demo ended here with an error, which ``measured`` says.
    """

    number: int
    what: str
    held: bool
    measured: str
    broke_off: bool = False
