"""What has to change on a switch: the least that makes it hold the desired entries."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ryu_apps.flow import is_ours
from ryu_apps.wire import SwitchEntry


@dataclass(frozen=True)
class Change:
    add: tuple[SwitchEntry, ...] = ()
    replace: tuple[SwitchEntry, ...] = ()  # as they shall be; an ADD over the old one keeps its counters
    delete: tuple[SwitchEntry, ...] = ()

    def __len__(self) -> int:
        return len(self.add) + len(self.replace) + len(self.delete)


def plan(desired: Iterable[SwitchEntry], installed: Iterable[SwitchEntry], swept: Collection[int] = ()) -> Change:
    """The change from ``installed`` to ``desired``.

    Entries of others go from the ``swept`` tables. Elsewhere they are touched only where they sit at an identity
    (table, priority, match) that a desired entry needs: an OpenFlow table holds one entry per identity.
    """
    there = {entry.identity: entry for entry in installed}
    wanted = {entry.identity: entry for entry in desired}
    return Change(
        tuple(entry for identity, entry in wanted.items() if identity not in there),
        tuple(entry for identity, entry in wanted.items() if identity in there and there[identity] != entry),
        tuple(
            entry
            for identity, entry in there.items()
            if identity not in wanted and (is_ours(entry.cookie) or entry.table in swept)
        ),
    )
