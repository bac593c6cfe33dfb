"""What a session tells about its switch: one line a happening, for people, with the facts for programs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import wraps
from typing import Any, ParamSpec

from policies.words import counted
from ryu_apps.events import event
from ryu_apps.openflow.ofctl import entry_text
from ryu_apps.openflow.shapes import Identity
from ryu_apps.openflow.wire import SwitchEntry
from ryu_apps.switches.account import LastChange, Refusal, SwitchAccount
from ryu_apps.switches.connection import BundleRefused
from ryu_apps.switches.drift import drift_lines
from ryu_apps.switches.plan import Change
from ryu_apps.switches.repairs import SECONDS_IN_A_FIGHT
from ryu_apps.switches.rollout import Rollout
from ryu_apps.switches.target import Target

LOG = logging.getLogger("privacy_router")

_LINES = 20  # drifted entries named at a time

P = ParamSpec("P")


def title(account: SwitchAccount) -> str:
    return account.name or f"switch {account.dpid:016x}"


def facts(account: SwitchAccount, kind: str, **known: Any) -> dict[str, Any]:
    return event(kind, switch=title(account), dpid=account.dpid, **known)


def flow_entries(count: int) -> str:
    return counted(count, "flow entry", "flow entries")


def _harmless(report: Callable[P, None]) -> Callable[P, None]:
    """A fault of ours while telling what was done must not make it look undone."""

    @wraps(report)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            report(*args, **kwargs)
        except Exception:
            LOG.exception("%s: cannot be told", report.__name__)

    return told


@_harmless
def report_change(account: SwitchAccount, change: LastChange) -> None:
    extra = facts(account, "change", **asdict(change))
    if change.confirmed:
        counts = f"({change.added} added, {change.replaced} replaced, {change.deleted} deleted)"
        message = "%s: %s: %s committed in one bundle and read back in %.1f ms %s"
        sent = flow_entries(change.messages)
        LOG.info(message, title(account), change.trigger, sent, change.milliseconds, counts, extra=extra)
    else:
        LOG.error("%s: %s: %s", title(account), change.trigger, change.reason, extra=extra)


@_harmless
def report_drift(account: SwitchAccount, repair: Change, wanted: Target, there: Mapping[Identity, SwitchEntry]) -> None:
    """What somebody else did, by the change that puts it right."""
    for line in drift_lines(repair, wanted, there, _LINES):
        LOG.warning("%s: drift: %s", title(account), line, extra=facts(account, "drift", what=line))
    if len(repair) > _LINES:
        LOG.warning("%s: drift: %s more", title(account), flow_entries(len(repair) - _LINES))


@_harmless
def report_fight(account: SwitchAccount, entry: SwitchEntry, wanted: Target) -> None:
    what = f"{_text(entry, wanted)}: changed by somebody again and again"
    message = "%s: drift: %s: from now on looked after every %.0f s"
    LOG.error(message, title(account), what, SECONDS_IN_A_FIGHT, extra=facts(account, "fight", what=what))


def refusal_of(refused: BundleRefused, way: Rollout) -> Refusal:
    entry = way.entry(refused.identity) if refused.identity else None
    if entry is None:
        return Refusal(str(refused))
    flow = way.target.flows([entry.identity]).get(entry.identity)
    if flow is None:
        return Refusal(str(refused), entry=way.target.raw_text(entry))
    place = flow.place
    return Refusal(
        str(refused), flow.item, entry_text(flow), str(place) if place else None, place.line if place else None
    )


def _text(entry: SwitchEntry, wanted: Target) -> str:
    return wanted.text(entry, wanted.flows([entry.identity]).get(entry.identity))


@_harmless
def report_waiting(account: SwitchAccount, wanted: Target) -> None:
    ports = sorted(wanted.absent_ports)
    absent = f"port {ports[0]} is" if len(ports) == 1 else f"ports {', '.join(ports)} are"
    waiting, dropping = wanted.left_out, len(wanted.waiting) - wanted.left_out
    counts = [f"{flow_entries(waiting)} wait{'s' * (waiting == 1)}"] if waiting else []
    if dropping:
        counts.append(f"{dropping if waiting else flow_entries(dropping)} drop{'s' * (dropping == 1)} meanwhile")
    extra = facts(account, "waiting", ports=ports)
    LOG.warning("%s: %s not there yet: %s", title(account), absent, ", ".join(counts), extra=extra)
