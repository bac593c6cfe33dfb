"""What the REST interface says, as plain JSON values. Pure: values in, values out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ryu_apps.flows.flow import TABLES, FlowEntry, is_ours
from ryu_apps.openflow.ofctl import actions_text, match_text
from ryu_apps.openflow.wire import InstalledEntry, in_words, resolve
from ryu_apps.policy.file import CompiledPolicy
from ryu_apps.switches.account import SwitchAccount
from ryu_apps.switches.plan import Change

Json = dict[str, Any]


class PerSecond(Protocol):
    @property
    def packets(self) -> float: ...
    @property
    def bytes(self) -> float: ...


Rates = Callable[[InstalledEntry], PerSecond | None]


@dataclass(frozen=True)
class Filter:
    """Which entries of a switch are shown: those that agree with all that is not None."""

    table: int | None = None
    item: str | None = None  # a part of the item's name, in any case
    state: str | None = None
    limit: int | None = None

    def shows(self, entry: Json) -> bool:
        return (
            self.table in (None, entry["table"])
            and (self.item is None or self.item.casefold() in entry["item"].casefold())
            and self.state in (None, entry["state"])
        )


EVERYTHING = Filter()
WAITING = ("waiting", "dropping")  # for a port: left out, or on the switch without its actions
PORTION = 2000  # entries between two pauses


def no_rates(_entry: InstalledEntry) -> None:
    return None


def policy_view(compiled: CompiledPolicy, problems: Iterable[str]) -> Json:
    """``problems`` are those of a newer version of the file that was refused."""
    return {"file": compiled.policy.source, "revision": compiled.revision, "problems": list(problems)}


def switch_view(
    account: SwitchAccount,
    compiled: CompiledPolicy,
    ports: Mapping[str, int],
    installed: Iterable[InstalledEntry] | None,
    *,
    rates: Rates = no_rates,
    chosen: Filter = EVERYTHING,
    pause: Callable[[], object] = bool,
) -> Json:
    """A switch against the policy. ``installed`` None: the switch could not be read.

    The numbers are those of the whole switch, whatever entries are chosen. ``pause`` is called now and then: 100,000
    entries take seconds, in which others want their turn.
    """
    entries: list[Json] = []
    states: Counter[str] = Counter()
    needed: dict[str, Counter[str]] = {}  # by port that is not there: the states of the entries that need it
    if account.ours and installed is not None:
        for number, (flow, entry) in enumerate(shown_entries(compiled.entries, ports, installed, rates)):
            states[entry["state"]] += 1
            for port in flow.ports if flow is not None and entry["state"] in WAITING else ():
                if port not in ports:
                    needed.setdefault(port, Counter())[entry["state"]] += 1
            if (chosen.limit is None or len(entries) < chosen.limit) and chosen.shows(entry):
                entries.append(entry)
            if number % PORTION == 0:
                pause()
    return {
        **asdict(account),
        "desired": len(compiled.entries) if account.ours else 0,
        "installed": states["installed"] + states["dropping"],
        "drift": {state: states[state] for state in ("missing", "altered", "surplus")},
        "waiting": [
            {"port": port, "entries": states["waiting"], "dropping": states["dropping"]}
            for port, states in sorted(needed.items())
        ],
        "entries": entries,
    }


def change_view(change: Change, compiled: CompiledPolicy, names: Mapping[int, str]) -> list[Json]:
    """What a change does to a switch, one object an entry."""
    items = {flow.cookie: flow.item for flow in compiled.entries}
    verbs = (("delete", change.delete), ("replace", change.replace), ("add", change.add))
    return [
        {
            "do": verb,
            "table": entry.table,
            "table_name": TABLES.get(entry.table, ""),
            "priority": entry.priority,
            "match": match_text(match),
            "actions": actions_text(actions, match),
            "item": items.get(entry.cookie, ""),
        }
        for verb, entries in verbs
        for entry in entries
        for match, actions in (in_words(entry, names),)
    ]


def shown_entries(
    flows: Sequence[FlowEntry], ports: Mapping[str, int], installed: Iterable[InstalledEntry], rates: Rates
) -> Iterator[tuple[FlowEntry | None, Json]]:
    """Each flow with what the switch has of it; then None with each entry of ours that no flow of these wants."""
    names = {number: name for name, number in ports.items()}
    held = {entry.entry.identity: entry for entry in installed}
    for start in range(0, len(flows), PORTION):
        ready, waiting = resolve(flows[start : start + PORTION], ports)
        for flow, wanted in ready:
            found = held.pop(wanted.identity, None)
            if found is None:
                yield flow, _wanted(flow, "missing", None, rates)
            elif found.entry == wanted:
                drops = any(port not in ports for port in flow.outputs)
                yield flow, _wanted(flow, "dropping" if drops else "installed", found, rates)
            else:
                altered = _wanted(flow, "altered", found, rates)
                yield flow, {**altered, "found": actions_text(in_words(found.entry, names)[1], flow.match)}
        for flow in waiting:
            yield flow, _wanted(flow, "waiting", None, rates)
    surplus = [found for found in held.values() if is_ours(found.entry.cookie)]
    items = {flow.cookie: flow.item for flow in flows} if surplus else {}
    for found in surplus:
        yield None, _surplus(found, items, names, rates)


def _wanted(flow: FlowEntry, state: str, found: InstalledEntry | None, rates: Rates) -> Json:
    return _entry(
        flow.table,
        flow.priority,
        match_text(flow.match),
        actions_text(flow.actions, flow.match),
        flow.cookie,
        flow.item,
        flow.description,
        found,
        state,
        rates,
    )


def _surplus(found: InstalledEntry, items: Mapping[int, str], names: Mapping[int, str], rates: Rates) -> Json:
    """An entry with our cookie that the policy does not have."""
    entry = found.entry
    match, actions = in_words(entry, names)
    return _entry(
        entry.table,
        entry.priority,
        match_text(match),
        actions_text(actions, match),
        entry.cookie,
        items.get(entry.cookie, ""),
        "not in the policy",
        found,
        "surplus",
        rates,
    )


def _entry(
    table: int,
    priority: int,
    match: str,
    actions: str,
    cookie: int,
    item: str,
    description: str,
    found: InstalledEntry | None,
    state: str,
    rates: Rates,
) -> Json:
    rate = rates(found) if found else None
    return {
        "table": table,
        "table_name": TABLES.get(table, ""),
        "priority": priority,
        "match": match,
        "actions": actions,
        "cookie": f"{cookie:#x}",
        "item": item,
        "description": description,
        "packets": found.packets if found else 0,
        "bytes": found.bytes if found else 0,
        "rate": {"packets": round(rate.packets, 2), "bytes": round(rate.bytes, 2)} if rate else None,
        "seconds": found.seconds if found else None,
        "state": state,
    }
