"""What the REST interface says of the chain and of the functions, as plain JSON values. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from policies.addresses import chain_hops
from policies.model import FunctionRoute
from ryu_apps.flows.flow import PRIVACY_CHAIN, XRAY_SHARES, FlowEntry
from ryu_apps.openflow.wire import InstalledEntry
from ryu_apps.policy.file import CompiledPolicy
from ryu_apps.rest.view import PORTION, WAITING, Json, Rates, no_rates, shown_entries
from ryu_apps.switches.account import SwitchAccount

Held = Collection[tuple[FlowEntry, Json]]
CHAIN = (PRIVACY_CHAIN, XRAY_SHARES)  # the tables by which packets leave for the next hop


def chain_view(
    account: SwitchAccount | None,
    compiled: CompiledPolicy,
    ports: Mapping[str, int],
    installed: Iterable[InstalledEntry],
    *,
    rates: Rates = no_rates,
    now: float = 0.0,
) -> Json:
    """The hops in the order of the chain, and what has passed between them by the policy's items.

    ``now`` is the Unix time of the reading.
    """
    hops = chain_hops(compiled.policy)
    named = {hop.port for hop in hops}
    flows = [flow for flow in compiled.entries if flow.table in CHAIN or not named.isdisjoint(flow.ports)]
    shown = shown_entries(flows, ports, installed, rates)
    held = [(flow, entry) for flow, entry in shown if flow is not None]
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
    chain = [(flow, entry) for flow, entry in held if flow.table in CHAIN and flow.outputs]
    sent = [entry for flow, entry in chain if flow.in_port == port]
    received = [entry for flow, entry in chain if port in flow.outputs]
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
        if flow.table not in CHAIN:
            continue
        for port in flow.outputs:
            start = {"item": flow.item, "from": flow.in_port, "to": port, "packets": 0, "bytes": 0, "rate": None}
            link = links.setdefault((flow.item, flow.in_port, port), start)
            link["packets"] += entry["packets"]
            link["bytes"] += entry["bytes"]
            if entry["rate"]:
                before = link["rate"] or {"packets": 0, "bytes": 0}
                link["rate"] = {unit: round(before[unit] + entry["rate"][unit], 2) for unit in before}
    return list(links.values())


def functions_view(
    compiled: CompiledPolicy, switches: Iterable[Json], pause: Callable[[], object] = bool
) -> Iterator[Json]:
    """The functions in the order of the document; ``switches`` as ``switch_view`` gives them, with all entries."""
    entries: dict[str, list[Json]] = {}
    for switch in switches:
        for entry in switch["entries"]:
            entries.setdefault(entry["item"], []).append(entry)
    routes: dict[str, list[FunctionRoute]] = {}
    for route in compiled.policy.openflow.function_routing:
        routes.setdefault(route.function, []).append(route)
    absent = {item.removeprefix("function ").partition(":")[0] for item in entries if item.startswith("function ")}
    for number, (name, mine) in enumerate(routes.items()):
        yield _function(name, mine, entries.get(f"function route {name}", []), name in absent)
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
