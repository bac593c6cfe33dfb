"""From a policy to the flow entries of its bridge: three tables, described in docs/architecture.md.

| table | name          | holds                                                                  |
|-------|---------------|------------------------------------------------------------------------|
| 0     | classify      | which port may send what: privacy ports -> 10, mesh ports -> 20        |
| 10    | privacy_chain | gateway <-> WARP hop <-> Xray, as the document's flows say             |
| 20    | mesh          | function routes, and the way out by the Netmaker port                  |

Every table ends in a drop entry, so what the policy does not name goes nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from policies.addresses import address_plan
from policies.model import PrivacyRouter
from ryu_apps.classify import classify_entries
from ryu_apps.flow import CLASSIFY, MESH, PRIVACY_CHAIN, TABLES, Action, FlowEntry, Output
from ryu_apps.mesh import mesh_entries
from ryu_apps.privacy_chain import chain_entries


def compile_pipeline(policy: PrivacyRouter) -> tuple[FlowEntry, ...]:
    """The entries of a validated policy, by table and falling priority.

    With ``openflow.enabled`` false only the drop entries are left: the bridge is still ours, and forwards nothing.
    """
    entries = list(_misses())
    if policy.openflow.enabled:
        plan = address_plan(policy)
        entries += classify_entries(policy, plan)
        entries += chain_entries(policy, plan)
        entries += mesh_entries(policy, plan)
    return tuple(sorted(_first_of_each(entries), key=lambda entry: (entry.table, -entry.priority)))


def crossings(policy: PrivacyRouter, entries: Iterable[FlowEntry]) -> tuple[str, ...]:
    """Every way by which a packet could cross between the privacy ports and the mesh ports; there must be none."""
    privacy = {socket.name for socket in policy.socket_networking.privacy_sockets}
    privacy |= {policy.wireguard.socket_port, policy.warp.interface, policy.xray.socket_port}
    mesh = {socket.name for socket in policy.socket_networking.mesh_sockets} | {policy.netmaker.interface}
    sides = {PRIVACY_CHAIN: privacy, MESH: mesh}
    return tuple(
        f"{entry.item}: table {entry.table} ({TABLES[entry.table]}): {wrong}: privacy and mesh ports stay apart"
        for entry in entries
        for action in entry.actions
        if (wrong := _crossing(entry, action, sides))
    )


def _crossing(entry: FlowEntry, action: Action, sides: Mapping[int, set[str]]) -> str:
    """What is wrong with the action; the empty text if nothing is."""
    if isinstance(action, Output):
        return "" if action.port in sides.get(entry.table, ()) else f"must not send to port {action.port}"
    allowed = entry.in_port in sides[action.table]
    return "" if allowed else f"must not admit {entry.in_port or 'any port'} to {TABLES[action.table]}"


def _misses() -> tuple[FlowEntry, ...]:
    return (
        FlowEntry(CLASSIFY, 0, (), (), "not admitted", "what no port of the policy may send"),
        FlowEntry(PRIVACY_CHAIN, 0, (), (), "privacy chain: no flow", "admitted, but no flow of the chain takes it"),
        FlowEntry(MESH, 0, (), (), "mesh: no function", "admitted, but no function or mesh address takes it"),
    )


def _first_of_each(entries: Iterable[FlowEntry]) -> Iterable[FlowEntry]:
    """One entry per identity. What the document wrote comes before what is derived, so the document's word stands."""
    kept: dict[object, FlowEntry] = {}
    for entry in entries:
        kept.setdefault(entry.identity, entry)
    return kept.values()
