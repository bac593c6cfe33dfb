"""All proofs about one subject, for every packet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from policies.model import Place, PrivacyRouter
from policies.rules import mesh_ports, privacy_ports
from ryu_apps.flows.flow import Match
from ryu_apps.packets.cubes import TooHard
from ryu_apps.packets.headers import Space
from ryu_apps.verify.apart import strayed
from ryu_apps.verify.chain import loops, unreachable
from ryu_apps.verify.delivery import undelivered
from ryu_apps.verify.entries import conflicts, never_met
from ryu_apps.verify.finding import Finding, Kind
from ryu_apps.verify.safety import Flights, Sender, backward, flights, senders, violations
from ryu_apps.verify.subject import Subject
from ryu_apps.verify.tables import Bridge, bridge
from topology.plan import AddressPlan

MOST = 20  # findings of one kind that are told


@dataclass
class Witnesses:
    """Packets that show that an entry is met. Those that name a ``left_out`` address show nothing."""

    left_out: Callable[[str], bool]
    addresses: set[str] = field(default_factory=set)  # that they name

    def accept(self, space: Space, header: int) -> bool:
        addresses = space.ipv4_addresses(header)
        self.addresses.update(addresses)
        return not any(map(self.left_out, addresses))


def findings(subject: Subject, witnesses: Witnesses | None = None) -> Iterator[Finding]:
    """``witnesses``: what an entry may be shown to be met by; any packet if left out."""
    lost: dict[Place, Finding] = {}
    met: set[Place] = set()
    written = _written(subject.policy)
    for name, entries in subject.nodes.items():
        view = subject.views[name]
        node_ports = (view.policy.bridge_name, view.policy.netmaker.interface)
        tables, plan = bridge(name if len(subject.nodes) > 1 else "", entries, node_ports), view.plan
        accept = partial(witnesses.accept, tables.space) if witnesses else _any_packet
        allowed = _networks(subject.policy) | senders(view.policy, plan)
        try:
            found = flights(tables, sorted({*tables.ports, *allowed, view.policy.bridge_name}))
            yield from _of_node(tables, view.policy, plan, allowed, found)
            for place, finding in never_met(tables, found, written, accept):
                if finding is None:
                    met.add(place)
                else:
                    lost.setdefault(place, finding)
        except TooHard:
            happens = "the entries overlap in too many ways to be proved in reasonable time"
            yield Finding(Kind.UNPROVEN, tables.node, happens)
    # What is met on any node, or by any of its entries, has its use.
    yield from islice((finding for place, finding in lost.items() if place not in met), MOST)
    yield from islice(undelivered(subject.nodes, subject.views), MOST)


def _any_packet(_header: int) -> bool:
    return True


def _of_node(
    tables: Bridge, policy: PrivacyRouter, plan: AddressPlan, allowed: Mapping[str, Sender], found: Flights
) -> Iterator[Finding]:
    proofs = [backward(tables), violations(tables, found, allowed), conflicts(tables, found)]
    if policy.openflow.enabled:
        proofs += [unreachable(tables, policy, plan), loops(tables, policy, plan), strayed(tables, plan)]
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
