"""What has to change on a switch: the least that makes it hold the desired entries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain

from ryu_apps.flows.flow import is_ours
from ryu_apps.openflow.wire import Identity, SwitchEntry

Pair = tuple[Identity, bytes]
"""An entry's identity and content."""

_entry: Callable[[Pair], SwitchEntry] = partial(tuple.__new__, SwitchEntry)  # SwitchEntry(*pair), at the speed of C


@dataclass(frozen=True)
class Change:
    add: tuple[SwitchEntry, ...] = ()
    replace: tuple[SwitchEntry, ...] = ()  # as they shall be; an ADD over the old one keeps its counters
    delete: tuple[SwitchEntry, ...] = ()

    @property
    def entries(self) -> tuple[SwitchEntry, ...]:
        """In the order in which they are sent."""
        return (*self.delete, *self.replace, *self.add)

    def __len__(self) -> int:
        return len(self.add) + len(self.replace) + len(self.delete)

    @classmethod
    def together(cls, changes: Collection[Change]) -> Change:
        """One after the other, as one."""
        if len(changes) == 1:
            (change,) = changes
            return change
        return cls(
            tuple(chain.from_iterable(change.add for change in changes)),
            tuple(chain.from_iterable(change.replace for change in changes)),
            tuple(chain.from_iterable(change.delete for change in changes)),
        )


def plan(desired: Iterable[Pair], installed: Iterable[Pair], swept: Collection[int] = ()) -> Change:
    """The change from ``installed`` to ``desired``, which are entries, or the items of tables.

    Entries of others go from the ``swept`` tables. Elsewhere they are touched only where they sit at an identity
    (table, priority, match) that a desired entry needs: an OpenFlow table holds one entry per identity.
    """
    there = dict(installed)
    if not there:
        return Change(tuple(map(_entry, desired)))
    wanted = dict(desired)
    gone = map(_entry, ((identity, there[identity]) for identity in there.keys() - wanted.keys()))
    return Change(
        tuple(map(_entry, [pair for pair in wanted.items() if pair[0] not in there])),
        tuple([SwitchEntry(key, wanted[key]) for key, held in there.items() if wanted.get(key, held) != held]),
        tuple(sorted(entry for entry in gone if is_ours(entry.cookie) or entry.table in swept)),
    )
