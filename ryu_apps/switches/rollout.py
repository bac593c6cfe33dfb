"""The way from what a switch holds to what it shall hold, in portions: one can be sent while the next is being made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ryu_apps.openflow.shapes import Identity
from ryu_apps.openflow.wire import SwitchEntry
from ryu_apps.switches.connection import Decode
from ryu_apps.switches.plan import Change, Pair, plan
from ryu_apps.switches.sieve import LateSieve
from ryu_apps.switches.target import Draft, Target

FEW = 200  # entries: more are read back with the whole table, not one by one


@dataclass
class Rollout:
    """A target, and the changes that lead to it. When the last change has been taken, the target is whole.

    What was taken is counted. Of a large rollout only what it deletes is kept: the rest is in the target.
    """

    target: Target
    at_most: int  # entries that the changes may have in all
    _changes: Iterable[Change]
    added: int = 0
    replaced: int = 0
    deleted: list[SwitchEntry] = field(default_factory=list)
    _taken: list[Change] = field(default_factory=list)

    def __len__(self) -> int:
        return self.added + self.replaced + len(self.deleted)

    def changes(self) -> Iterator[Change]:
        """To be taken once."""
        for change in self._changes:
            if change:
                self.added += len(change.add)
                self.replaced += len(change.replace)
                self.deleted += change.delete
                self._taken = [*self._taken, change] if len(self) <= FEW else []
                yield change

    @property
    def few(self) -> Change | None:
        """All that was taken, as one change; None if it was too much to be looked at one by one."""
        return Change.together(self._taken) if len(self) <= FEW else None

    def entry(self, identity: Identity) -> SwitchEntry | None:
        """One of those that were taken."""
        return self.target.entry(identity) or next((it for it in self.deleted if it.identity == identity), None)


def at_once(target: Target, change: Change) -> Rollout:
    return Rollout(target, len(change), (change,))


def rollout(draft: Draft, held: Mapping[Identity, bytes], pause: Callable[[], object]) -> Rollout:
    """From ``held``, all that the switch holds. The target may be made on the way; ``pause`` is called now and then."""
    at_most = len(draft.target.compiled.entries) + len(held)
    return Rollout(draft.target, at_most, _portions(draft, held, pause))


def rollout_by_reading(
    draft: Draft, read: Callable[[Decode], Iterable[SwitchEntry]], pause: Callable[[], object]
) -> Rollout:
    """From what a reading finds."""
    sieve = LateSieve(lambda: draft.whole(pause).entries)
    found = read(sieve)
    if sieve.missing is None:
        return rollout(draft, dict(found), pause)
    return at_once(draft.target, plan(sieve.missing.items(), found, draft.target.swept))


def _portions(draft: Draft, held: Mapping[Identity, bytes], pause: Callable[[], object]) -> Iterator[Change]:
    """What has to go comes last, when it is known that nothing needs it."""
    kept = 0
    for portion, earlier in draft.portions():
        there = {**held, **earlier} if earlier else held
        if there.keys().isdisjoint(portion.keys()):
            yield plan(portion.items(), ())
        else:
            new, old = _differing(portion, there)
            kept += len(portion) - len(new) + len(old) - len(earlier)
            yield plan(new, old)
        pause()
    if kept < len(held):
        wanted = draft.target.entries
        yield plan((), [(key, held[key]) for key in held.keys() - wanted.keys()], draft.target.swept)


def _differing(wanted: Mapping[Identity, bytes], held: Mapping[Identity, bytes]) -> tuple[list[Pair], list[Pair]]:
    """What a plan has to look at of the two: what is not the very same object in both, and what is in its place."""
    new = [pair for pair in wanted.items() if held.get(pair[0]) is not pair[1]]
    return new, [(identity, held[identity]) for identity, _ in new if identity in held]


def left_over(
    sent: Iterable[Identity],
    deleted: Iterable[SwitchEntry],
    missing: Collection[Identity],
    others: Iterable[SwitchEntry],
) -> int:
    """How many of the entries that were sent are not as they should be: ``missing`` was not found, ``others`` were."""
    found = {entry.identity for entry in others}
    wrong = sum(identity in missing for identity in sent) if missing else 0
    return wrong + sum(entry.identity in found for entry in deleted)
