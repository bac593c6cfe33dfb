"""What others change on a switch: whether it matters, and how to say it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ryu_apps.flows.flow import is_ours
from ryu_apps.openflow.monitor import Event, Update
from ryu_apps.openflow.wire import Identity, SwitchEntry
from ryu_apps.switches.plan import Change
from ryu_apps.switches.target import Target


def matters(update: Update, wanted: Target) -> bool:
    """Whether after it the switch may hold what it shall not, or lack what it shall hold."""
    entry, right = update.entry, wanted.entry(update.entry.identity)
    if right is not None:
        return update.event == Event.DELETED or entry != right
    return update.event != Event.DELETED and (is_ours(entry.cookie) or entry.table in wanted.swept)


def drift_lines(repair: Change, wanted: Target, found: Mapping[Identity, SwitchEntry], most: int) -> Iterator[str]:
    """What somebody did, by the change that puts it right; no more than so many lines."""
    ours = (*repair.add, *repair.replace)[:most]
    flows = wanted.flows(entry.identity for entry in ours)
    for number, entry in enumerate(ours):
        text = wanted.text(entry, flows.get(entry.identity))
        if number < len(repair.add):
            yield f"somebody deleted {text}; put back"
        else:
            yield f"somebody altered {text} to {wanted.raw_text(found[entry.identity])}; put back"
    for entry in repair.delete[: most - len(ours)]:
        yield f"somebody added {wanted.raw_text(entry)}; removed"
