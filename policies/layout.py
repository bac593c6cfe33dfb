"""Where the items of a document's lists stand, and which of them stand in an earlier version of its text too."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.tree import Run


@dataclass(frozen=True)
class Layout:
    """Of one list: the offset and the line of each item, and the offset behind the bracket that closes it."""

    starts: array[int]
    lines: array[int]
    end: int

    def bound(self, number: int) -> int:
        """Where the item before this number ends, and what separates it from the next."""
        return self.starts[number] if number < len(self.starts) else self.end


@dataclass(frozen=True)
class JsonText:
    """A text that was read, and the layout of each list in it, by path. It has no values: it is kept for long."""

    text: str
    layouts: Mapping[str, Layout] = field(repr=False)


@dataclass(frozen=True)
class EarlierList:
    """A list of an earlier text, and the text that is read now.

    JSON has no context: where an item begins, the same characters are the same items, whatever stands around them.
    """

    earlier: str
    layout: Layout
    text: str

    def run(self, position: int, number: int) -> Run | None:
        """The longest run of items that begins at this position, where the list's item of this number begins.

        It is sought at the same number, and at the same distance from the end of the text.
        """
        starts = self.layout.starts
        distant = position - len(self.text) + len(self.earlier)
        behind = bisect_left(starts, distant)
        if behind < len(starts) and starts[behind] != distant:
            behind = len(starts)
        runs = (Run(number, was, self._same(position, was)) for was in (number, behind) if was < len(starts))
        return next((run for run in runs if run.length), None)

    def _same(self, position: int, was: int) -> int:
        """How many items from the earlier list's number ``was`` on stand at this position."""
        count, step, most = 0, 1, len(self.layout.starts) - was
        while step and count < most:
            step = min(step, most - count)
            start, end = self.layout.bound(was + count), self.layout.bound(was + count + step)
            shift = position - self.layout.starts[was]
            if self.text[start + shift : end + shift] == self.earlier[start:end]:
                count += step
                step *= 2
            else:
                step //= 2
        return count
