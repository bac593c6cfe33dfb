"""What is wrong with a document, said so that a person can find it and mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from policies.model import Place


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong. ``place.line`` 0 means the file as a whole, an empty path the whole document."""

    place: Place
    message: str

    def __str__(self) -> str:
        where = self.place.file if self.place.line == 0 else f"{self.place.file}:{self.place.line}"
        return ": ".join(part for part in (where, self.place.path, self.message) if part)


MOST_PROBLEMS = 1000
"""After so many the rest of a document is not read: nobody would read its problems, and a hostile one has millions."""


class DocumentError(Exception):
    """The document cannot be used. ``problems`` holds everything that was found, in the order of the lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))
