"""What an edit leaves as it was: two versions of a long sequence, compared by the identity of their items.

An unchanged item is the very same object in both, so runs of them are passed over at the speed of C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import compress, count, islice
from operator import is_not
from typing import TypeVar

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

_EDITS, _WINDOW, _ANCHOR = 32, 16, 2  # edits that are followed one by one; how far each may reach; what ends it


def reused(
    earlier_keys: Sequence[K], earlier_values: Sequence[V], keys: Sequence[K], make: Callable[[K], V]
) -> tuple[V, ...]:
    """``make`` of each key, without making anew what there was for the same key before."""
    shorter = min(len(earlier_keys), len(keys))
    start = _run(iter(earlier_keys), iter(keys), shorter)
    end = _run(reversed(earlier_keys), reversed(keys), shorter - start)
    last, earlier_last = len(keys) - end, len(earlier_keys) - end
    known = dict(zip(map(id, earlier_keys[start:earlier_last]), earlier_values[start:earlier_last], strict=True))
    between = (known[id(key)] if id(key) in known else make(key) for key in keys[start:last])
    return (*earlier_values[:start], *between, *earlier_values[earlier_last:])


def difference(earlier: Sequence[T], later: Sequence[T]) -> tuple[list[T], list[T]]:
    """(what is gone, what has come), in their order. An item may stand in a sequence only once."""
    gone: list[T] = []
    come: list[T] = []
    at = to = 0
    for _ in range(_EDITS):
        same = _run(islice(earlier, at, None), islice(later, to, None), min(len(earlier) - at, len(later) - to))
        at, to = at + same, to + same
        edit = _edit(earlier[at : at + _WINDOW], later[to : to + _WINDOW])
        if edit is None:
            break
        gone += earlier[at : at + edit[0]]
        come += later[to : to + edit[1]]
        at, to = at + edit[0], to + edit[1]
    gone += earlier[at:]
    come += later[to:]
    # What only stands elsewhere is in both.
    before, after = set(map(id, gone)), set(map(id, come))
    return [item for item in gone if id(item) not in after], [item for item in come if id(item) not in before]


def _run(earlier: Iterator[object], later: Iterator[object], longest: int) -> int:
    """How many items both begin with."""
    return next(compress(count(), map(is_not, earlier, later)), longest) if longest else 0


def _edit(earlier: Sequence[T], later: Sequence[T]) -> tuple[int, int] | None:
    """How many items of each belong to an edit that both begin with; None if it does not end within them."""
    for length in range(1, 2 * _WINDOW):
        for skipped in range(length + 1):
            one, other = earlier[length - skipped :][:_ANCHOR], later[skipped:][:_ANCHOR]
            if len(one) == len(other) == _ANCHOR and not any(map(is_not, one, other)):
                return length - skipped, skipped
    return None
