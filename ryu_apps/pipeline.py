"""From a policy to the flow entries of its bridge: four tables, described in docs/architecture.md.

| table | name          | holds                                                                  |
|-------|---------------|------------------------------------------------------------------------|
| 0     | classify      | which port may send what: privacy ports -> 10, mesh ports -> 20        |
| 10    | privacy_chain | gateway <-> WARP hop <-> Xray, as the document's flows say             |
| 20    | mesh          | function routes, and the way out by the Netmaker port                  |
| 30    | mesh_delivery | answers to containers that not every packet may reach                  |

Every table ends in a drop entry, so what the policy does not name goes nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from policies.model import PrivacyRouter
from policies.placement import NodeView, everything
from ryu_apps.classify import classify_entries
from ryu_apps.flow import CLASSIFY, MESH, MESH_DELIVERY, PRIVACY_CHAIN, FlowEntry
from ryu_apps.mesh import mesh_entries
from ryu_apps.privacy_chain import chain_entries


def compile_pipeline(policy: PrivacyRouter) -> tuple[FlowEntry, ...]:
    """The entries of a validated policy for a node that has all of its containers."""
    return compile_node(everything(policy))


def compile_node(view: NodeView) -> tuple[FlowEntry, ...]:
    """The entries of one node, by table and falling priority.

    With ``openflow.enabled`` false only the drop entries are left: the bridge is still ours, and forwards nothing.
    """
    policy, entries = view.policy, list(_misses())
    if policy.openflow.enabled:
        plan = view.plan
        entries += classify_entries(view, plan)
        entries += chain_entries(policy, plan)
        entries += mesh_entries(view, plan)
    return tuple(sorted(_first_of_each(entries), key=lambda entry: (entry.table, -entry.priority)))


def _misses() -> tuple[FlowEntry, ...]:
    return (
        FlowEntry(CLASSIFY, 0, (), (), "not admitted", "what no port of the policy may send"),
        FlowEntry(PRIVACY_CHAIN, 0, (), (), "privacy chain: no flow", "admitted, but no flow of the chain takes it"),
        FlowEntry(MESH, 0, (), (), "mesh: no function", "admitted, but no function or mesh address takes it"),
        FlowEntry(MESH_DELIVERY, 0, (), (), "mesh: no such address", "an answer to an address that nobody has"),
    )


def _first_of_each(entries: Iterable[FlowEntry]) -> Iterable[FlowEntry]:
    """One entry per identity. What the document wrote comes before what is derived, so the document's word stands."""
    kept: dict[object, FlowEntry] = {}
    for entry in entries:
        kept.setdefault(entry.identity, entry)
    return kept.values()
