"""The word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown word: the nearest known one, or all of them."""
    words = sorted(known)
    near = get_close_matches(word[:60], words)
    swapped = [other for other in near if sorted(other) == sorted(word)]  # two letters in the wrong order
    return f"did you mean {[*swapped, *near][0]}?" if near else f"known here: {', '.join(words)}"
