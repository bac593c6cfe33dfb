"""What the REST interface says of the chain and of the functions, as plain JSON values. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from policies.addresses import chain_hops
from policies.model import FunctionRoute
from ryu_apps.flows.flow import CLASSIFY, PRIVACY_CHAIN, XRAY_SHARES, FlowEntry
from ryu_apps.openflow.wire import InstalledEntry, resolve
from ryu_apps.policy.file import CompiledPolicy
from ryu_apps.rest.view import PORTION, WAITING, Json, Rates, no_rates, shown_entries
from ryu_apps.switches.account import SwitchAccount

T = TypeVar("T")
Held = Collection[tuple[FlowEntry, Json]]
Pause = Callable[[], object]
ROUTED, UNSERVED = "function route ", "function "  # how items begin
CHAIN = (PRIVACY_CHAIN, XRAY_SHARES)  # the tables by which packets leave for the next hop


def chain_view(
    account: SwitchAccount | None,
    compiled: CompiledPolicy,
    ports: Mapping[str, int],
    installed: Sequence[InstalledEntry],
    *,
    rates: Rates = no_rates,
    now: float = 0.0,
    pause: Pause = bool,
) -> Json:
    """The hops in the order of the chain, and what has passed between them by the policy's items.

    ``now`` is the Unix time of the reading. ``pause`` is called now and then, in which others have their turns.
    """
    hops = chain_hops(compiled.policy)
    named = {hop.port for hop in hops}

    def is_about_hops(flow: FlowEntry) -> bool:
        return flow.table in CHAIN or (flow.table == CLASSIFY and not named.isdisjoint(flow.ports))

    held = list(entries_of(compiled, is_about_hops, ports, installed, rates=rates, pause=pause))
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
                **_hop_counters(hop.port, held),
                "state": _hop_state(account, hop.port, ports, held),
                "last_change": _last_change(hop.port, held, now),
            }
            for hop in hops
        ],
        "links": _links(held),
    }


def entries_of(
    compiled: CompiledPolicy,
    wanted: Callable[[FlowEntry], bool],
    ports: Mapping[str, int],
    installed: Sequence[InstalledEntry],
    *,
    rates: Rates = no_rates,
    pause: Pause = bool,
) -> Iterator[tuple[FlowEntry, Json]]:
    """The flows that are wanted with what the switch has of them: of 100,000 only those are put in words."""
    flows = [flow for part in _portions(compiled.entries, pause) for flow in part if wanted(flow)]
    ready = (entry for part in _portions(flows, pause) for _, entry in resolve(part, ports)[0])
    identities = {entry.identity for entry in ready}
    there = [found for part in _portions(installed, pause) for found in part if found.entry.identity in identities]
    for number, (flow, entry) in enumerate(shown_entries(flows, ports, there, rates)):
        if number % PORTION == 0:
            pause()
        if flow is not None:
            yield flow, entry


def _portions(values: Sequence[T], pause: Pause) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), PORTION):
        yield values[start : start + PORTION]
        pause()


def _hop_state(account: SwitchAccount | None, port: str, ports: Mapping[str, int], held: Held) -> str:
    """One word: "unknown" without a switch, "absent" without its port, else what its entries are."""
    if account is None or not account.connected or not ports:
        return "unknown"
    if port not in ports:
        return "absent"
    states = {entry["state"] for flow, entry in held if port in flow.ports}
    return "drift" if states & {"missing", "altered"} else "waiting" if states & set(WAITING) else "in sync"


def _hop_counters(port: str, held: Held) -> Json:
    """What the hop has sent and been sent, as far as the chain's tables let it pass."""
    sent = [entry for flow, entry in held if flow.outputs and flow.in_port == port]
    received = [entry for flow, entry in held if port in flow.outputs]
    return {
        "sent": {unit: sum(entry[unit] for entry in sent) for unit in ("packets", "bytes")},
        "received": {unit: sum(entry[unit] for entry in received) for unit in ("packets", "bytes")},
    }


def _last_change(port: str, held: Held, now: float) -> float | None:
    """Unix time at which the youngest entry that names the port was installed: the switch's own word."""
    ages = [entry["seconds"] for flow, entry in held if port in flow.ports and entry["seconds"] is not None]
    return round(now - min(ages)) if ages else None


def _links(held: Held) -> list[Json]:
    links: dict[tuple[str, str | None, str], Json] = {}
    for flow, entry in held:
        for port in flow.outputs:
            start = {"item": flow.item, "from": flow.in_port, "to": port, "packets": 0, "bytes": 0, "rate": None}
            link = links.setdefault((flow.item, flow.in_port, port), start)
            link["packets"] += entry["packets"]
            link["bytes"] += entry["bytes"]
            if entry["rate"]:
                before = link["rate"] or {"packets": 0, "bytes": 0}
                link["rate"] = {unit: round(before[unit] + entry["rate"][unit], 2) for unit in before}
    return list(links.values())


def function_of(item: str) -> str:
    """The function that an item of the policy is about; "" if it is about none."""
    if item.startswith(ROUTED):
        return item.removeprefix(ROUTED)
    return item.removeprefix(UNSERVED).partition(":")[0] if item.startswith(UNSERVED) else ""


def functions_view(
    compiled: CompiledPolicy, names: Collection[str], shown: Sequence[Json], pause: Pause = bool
) -> Iterator[Json]:
    """The functions with these names in the order of the document; ``shown``: their entries on all switches."""
    entries: dict[str, list[Json]] = {}
    for some in _portions(shown, pause):
        for entry in some:
            entries.setdefault(entry["item"], []).append(entry)
    routes: dict[str, list[FunctionRoute]] = {}
    for part in _portions(compiled.policy.openflow.function_routing, pause):
        for route in part:
            if route.function in names:
                routes.setdefault(route.function, []).append(route)
    absent = {function_of(item) for item in entries if not item.startswith(ROUTED)}
    for number, (name, mine) in enumerate(routes.items()):
        yield _function(name, mine, entries.get(ROUTED + name, []), name in absent)
        if number % PORTION == 0:
            pause()


def _function(name: str, routes: Iterable[FunctionRoute], entries: Collection[Json], is_absent: bool) -> Json:
    states = Counter("waiting" if entry["state"] in WAITING else entry["state"] for entry in entries)
    state = next((each for each in ("altered", "missing", "waiting") if states[each]), "installed")
    if is_absent and not entries:
        state, states = "absent", Counter(("absent",))
    return {
        "function": name,
        "state": state if states else "unknown",
        "routes": [
            {
                "target_socket": route.target_socket,
                "match_fields": dict(route.match_fields),
                "priority": route.priority,
            }
            for route in routes
        ],
        "lines": [route.place.line for route in routes],
        "packets": sum(entry["packets"] for entry in entries),
        "bytes": sum(entry["bytes"] for entry in entries),
    }
