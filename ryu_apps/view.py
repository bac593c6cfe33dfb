"""What the REST interface says, as plain JSON values. Pure: values in, values out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from policies.addresses import address_plan
from ryu_apps.account import SwitchAccount
from ryu_apps.flow import PRIVACY_CHAIN, TABLES, FlowEntry, is_ours
from ryu_apps.ofctl import actions_text, match_text
from ryu_apps.oxm import match_of
from ryu_apps.policy_file import CompiledPolicy
from ryu_apps.wire import InstalledEntry, actions_of, resolve

Json = dict[str, Any]


def policy_view(compiled: CompiledPolicy, problems: Iterable[str]) -> Json:
    """``problems`` are those of a newer version of the file that was refused."""
    return {"file": compiled.policy.source, "revision": compiled.revision, "problems": list(problems)}


def switch_view(
    account: SwitchAccount,
    compiled: CompiledPolicy,
    ports: Mapping[str, int],
    installed: Iterable[InstalledEntry] | None,
) -> Json:
    """A switch against the policy. ``installed`` None: the switch could not be read."""
    entries = list(_entries(compiled, ports, installed)) if account.ours and installed is not None else []
    states = Counter(entry["state"] for entry in entries)
    waiting = Counter(
        port for flow in compiled.entries if account.ours and installed is not None for port in _absent(flow, ports)
    )
    return {
        **asdict(account),
        "desired": len(compiled.entries) if account.ours else 0,
        "installed": states["installed"],
        "drift": {state: states[state] for state in ("missing", "altered", "surplus")},
        "waiting": [{"port": port, "entries": count} for port, count in sorted(waiting.items())],
        "entries": entries,
    }


def chain_view(
    account: SwitchAccount | None,
    compiled: CompiledPolicy,
    ports: Mapping[str, int],
    installed: Iterable[InstalledEntry],
) -> Json:
    """The hops in the order of the chain, and what has passed between them by the policy's items."""
    return {
        "dpid": account.dpid if account else None,
        "name": compiled.policy.bridge_name,
        "connected": bool(account and account.connected),
        "hops": [
            {
                "kind": hop.kind,
                "title": hop.title,
                "port": hop.port,
                "namespace": hop.namespace,
                "address": str(hop.address),
                "ofport": ports.get(hop.port),
                "present": hop.port in ports,
            }
            for hop in address_plan(compiled.policy).hops
        ],
        "links": _links(compiled, ports, installed),
    }


def _links(compiled: CompiledPolicy, ports: Mapping[str, int], installed: Iterable[InstalledEntry]) -> list[Json]:
    held = {entry.entry.identity: entry for entry in installed}
    links: dict[tuple[str, str | None, str], Json] = {}
    for flow in compiled.entries:
        if flow.table != PRIVACY_CHAIN:
            continue
        ready, _ = resolve([flow], ports)
        found = held.get(ready[0][1].identity) if ready else None
        for port in flow.outputs:
            start = {"item": flow.item, "from": flow.in_port, "to": port, "packets": 0, "bytes": 0}
            link = links.setdefault((flow.item, flow.in_port, port), start)
            link["packets"] += found.packets if found else 0
            link["bytes"] += found.bytes if found else 0
    return list(links.values())


def _entries(
    compiled: CompiledPolicy, ports: Mapping[str, int], installed: Iterable[InstalledEntry] | None
) -> Iterator[Json]:
    names = {number: name for name, number in ports.items()}
    held = {entry.entry.identity: entry for entry in installed or ()}
    ready, waiting = resolve(compiled.entries, ports)
    for flow, wanted in ready:
        found = held.pop(wanted.identity, None)
        if found is None:
            yield _wanted(flow, "missing", None)
        elif found.entry == wanted:
            yield _wanted(flow, "installed", found)
        else:
            yield {**_wanted(flow, "altered", found), "found": actions_of(found.entry.instructions, names)}
    for flow in waiting:
        yield _wanted(flow, "waiting", None)
    for found in held.values():
        if is_ours(found.entry.cookie):
            yield _surplus(found, compiled, names)


def _wanted(flow: FlowEntry, state: str, found: InstalledEntry | None) -> Json:
    return _entry(
        flow.table,
        flow.priority,
        match_text(flow.match),
        actions_text(flow.actions),
        flow.cookie,
        flow.item,
        flow.description,
        found,
        state,
    )


def _surplus(found: InstalledEntry, compiled: CompiledPolicy, names: Mapping[int, str]) -> Json:
    """An entry with our cookie that the policy does not have."""
    entry = found.entry
    item = next((flow.item for flow in compiled.entries if flow.cookie == entry.cookie), "")
    return _entry(
        entry.table,
        entry.priority,
        match_text(match_of(entry.match, names)),
        actions_of(entry.instructions, names),
        entry.cookie,
        item,
        "not in the policy",
        found,
        "surplus",
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
) -> Json:
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
        "state": state,
    }


def _absent(flow: FlowEntry, ports: Mapping[str, int]) -> set[str]:
    return {port for port in flow.ports if port not in ports}
