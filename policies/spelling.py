"""The word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], all_of_them: str = "") -> str:
    """The end of an error about an unknown word: the nearest known one, or all of them.

    ``all_of_them``: where they are to be found, if they are too many to be named.
    """
    words = sorted(known)
    near = nearest(word, words)
    if near is not None:
        return f"did you mean {near}?"
    return all_of_them or f"known here: {', '.join(words)}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if there is one."""
    near = get_close_matches(word[:60], sorted(known))
    swapped = [other for other in near if sorted(other) == sorted(word)]  # two letters in the wrong order
    return next(iter([*swapped, *near]), None)
