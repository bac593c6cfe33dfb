"""Proof before commit: what is wrong with a policy's flow entries on all its nodes, or nothing.

Pure, exact and sound: it reasons about sets of packets (``ryu_apps.cubes``), never about samples, and what it accepts
holds for every packet. docs/verification.md says what is proved and what is assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from policies.errors import DocumentError
from policies.model import Place, PrivacyRouter
from policies.placement import NodeView, everything
from policies.rules import mesh_ports, privacy_ports
from ryu_apps.cubes import TooHard
from ryu_apps.flow import FlowEntry, Match
from ryu_apps.verify.chain import loops, unreachable
from ryu_apps.verify.entries import conflicts, never_met
from ryu_apps.verify.finding import Finding, Kind
from ryu_apps.verify.safety import Flights, Sender, backward, flights, senders, violations
from ryu_apps.verify.tables import Bridge, bridge
from topology.plan import AddressPlan

__all__ = ["Finding", "Kind", "prove", "verify"]

MOST = 20  # findings of one kind that are told


def prove(
    nodes: Mapping[str, Iterable[FlowEntry]], policy: PrivacyRouter, views: Mapping[str, NodeView] | None = None
) -> None:
    """Raises DocumentError with every reason to refuse a policy. The arguments are those of ``verify``."""
    findings = verify(nodes, policy, views)
    if findings:
        raise DocumentError(finding.problem(policy.source) for finding in findings)


def verify(
    nodes: Mapping[str, Iterable[FlowEntry]], policy: PrivacyRouter, views: Mapping[str, NodeView] | None = None
) -> tuple[Finding, ...]:
    """The reasons to refuse a policy; none if it may be installed.

    ``nodes``: the entries of each node by its name; ``views``: what each sees of the policy, all of it if left out.
    """
    findings: list[Finding] = []
    lost: dict[Place, Finding] = {}
    met: set[Place] = set()
    written = _written(policy)
    for name, entries in nodes.items():
        view = views[name] if views is not None else everything(policy)
        tables = bridge(name if len(nodes) > 1 else "", entries)
        plan = view.plan
        allowed = _networks(policy) | senders(view.policy, plan)
        try:
            found = flights(tables, sorted({*tables.ports, *allowed, view.policy.bridge_name}))
            findings += _of_node(tables, view.policy, plan, allowed, found)
            for place, finding in never_met(tables, found, written):
                if finding is None:
                    met.add(place)
                else:
                    lost.setdefault(place, finding)
        except TooHard:
            happens = "the entries overlap in too many ways to be proved in reasonable time"
            findings.append(Finding(Kind.UNPROVEN, tables.node, happens))
    # What is met on any node, or by any of its entries, has its use.
    findings += islice((finding for place, finding in lost.items() if place not in met), MOST)
    return tuple(findings)


def _of_node(
    tables: Bridge, policy: PrivacyRouter, plan: AddressPlan, allowed: Mapping[str, Sender], found: Flights
) -> Iterator[Finding]:
    proofs = [backward(tables), violations(tables, found, allowed), conflicts(tables, found)]
    if policy.openflow.enabled:
        proofs += [unreachable(tables, policy, plan), loops(tables, policy, plan)]
    for proof in proofs:
        yield from islice(proof, MOST)


def _networks(policy: PrivacyRouter) -> dict[str, Sender]:
    """Every port of the policy, none of which may send anything: not on a node that does not have it."""
    privacy, mesh = privacy_ports(policy), mesh_ports(policy)
    return {port: Sender("privacy") for port in privacy} | {port: Sender("mesh") for port in mesh}


def _written(policy: PrivacyRouter) -> dict[Place, Match]:
    """The matches of the document's objects."""
    flows = {flow.place: flow.match_fields for flow in policy.openflow.privacy_flows}
    return flows | {route.place: route.match_fields for route in policy.openflow.function_routing}
