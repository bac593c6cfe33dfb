"""Words for people: the one that was probably meant, how many of a thing there are, the first of a long list."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_NAMED = 20  # of a list


def counted(number: int, one: str, more: str = "") -> str:
    """``1 step``, ``2 steps``; ``more`` is the plural that has no mere "s" at its end."""
    return f"{number} {one if number == 1 else more or f'{one}s'}"


def first_of(names: Iterable[object]) -> str:
    """The first of them, in their order; of the others only how many they are."""
    words = list(map(str, names))
    shown = ", ".join(words[:_NAMED]) or "none"
    return f"{shown} and {len(words) - _NAMED} more" if len(words) > _NAMED else shown


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
