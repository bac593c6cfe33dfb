"""The mesh role: what joins Netmaker's device to the switch, when it waits, and that it opens nothing else."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import director_examples
from host_examples import FACTS, POLICY
from mesh_examples import policy, topology

from host_agent.desired import desired
from host_agent.plan import plan
from host_agent.state import MESH_ETHERNET, NODE, Address, HostState, Link, Route, Rule, Sysctl
from host_agent.steps import ChangeBridge
from policies.host_model import Policy
from policies.model import PrivacyRouter
from policies.placement import view_of

OWN = IPv4Address("100.104.70.1")
SUBNET = IPv4Network("100.104.70.0/24")


def wanted(of: PrivacyRouter = POLICY, device: tuple[IPv4Address, ...] | None = (OWN,), **facts: Any) -> HostState:
    return desired(of, replace(FACTS, mesh_device=device, **facts))


def test_the_port_and_the_device_lead_into_each_other_and_nowhere_else() -> None:
    node = wanted().namespaces[NODE]
    assert node.links == {Link("nm-privacy", "socket")}
    assert node.addresses == {Address("nm-privacy", IPv4Interface("100.104.70.1/32"))}
    by_rule = {rule.incoming: rule.table for rule in node.rules}
    for incoming, outgoing in (("nm-privacy", "netmaker"), ("netmaker", "nm-privacy")):
        routes = [route for route in node.routes if route.table == by_rule[incoming]]
        assert {(route.destination, route.kind, route.link) for route in routes} == {
            (SUBNET, "unicast", outgoing),
            (IPv4Network("0.0.0.0/0"), "unreachable", None),
        }
    assert Rule(230, by_rule["nm-privacy"], "nm-privacy") in node.rules
    (forward,) = (chain for chain in node.chains if (chain.table, chain.name) == ("filter", "FORWARD"))
    verdicts = [rule.arguments.split(" -m comment")[0] for rule in forward.rules]
    assert verdicts[2:] == ["-i nm-privacy -j DROP", "-o nm-privacy -j DROP", "-i netmaker -j DROP"]
    assert all("-s 100.104.70.0/24 -d 100.104.70.0/24 -j ACCEPT" in text for text in verdicts[:2])


def test_forwarding_is_switched_on_by_interface_only() -> None:
    settings = wanted().namespaces[NODE].sysctls
    assert Sysctl("net/ipv4/conf/nm-privacy/forwarding", "1") in settings
    assert Sysctl("net/ipv4/conf/netmaker/forwarding", "1") in settings
    assert not [it for it in settings if "ip_forward" in it.key or "/all/" in it.key or "/default/" in it.key]


def test_forwarding_of_somebody_else_s_device_ends_with_the_role() -> None:
    """Before the chains that restrict it go, and only if it was ours: the ip rule's preference tells."""
    off = f"node: set {Sysctl('net/ipv4/conf/netmaker/forwarding', '0')}"
    steps = [str(step) for step in plan(HostState(), wanted())]
    assert off in steps
    assert steps.index(off) < next(number for number, step in enumerate(steps) if "FORWARD" in step)
    anyway = wanted(node_forwards=True)
    assert not [it for it in anyway.namespaces[NODE].sysctls if it.key == "net/ipv4/conf/netmaker/forwarding"]
    assert off not in [str(step) for step in plan(HostState(), anyway)]


def test_the_node_reaches_the_containers_that_are_here() -> None:
    routes = wanted().namespaces[NODE].routes
    assert Route(IPv4Network("100.104.70.10/32"), link="nm-privacy") in routes
    whole = policy()
    here = view_of(whole, topology(whole), topology(whole).nodes[1]).policy  # 201 and 203
    found = {str(it.destination) for it in wanted(here).namespaces[NODE].routes if it.link and it.table == 254}
    assert found == {"100.104.70.11/32", "100.104.70.23/32"}


def test_it_waits_for_the_device_and_for_an_address() -> None:
    for device, words in (
        (None, "nm-privacy waits for the device netmaker, which Netmaker makes"),
        ((IPv4Address("192.0.2.9"),), "nm-privacy waits for this node's address: netmaker has no address in"),
    ):
        state = wanted(device=device)
        assert any(text.startswith(words) for text in state.waiting)
        assert NODE not in state.namespaces
        assert not any("nm-privacy" in bridge.ports for bridge in state.bridges)


def test_the_document_s_own_address_comes_before_the_device_s() -> None:
    mine = replace(POLICY, netmaker=replace(POLICY.netmaker, mesh_address=IPv4Address("100.104.70.9")))
    assert wanted(mine).namespaces[NODE].addresses == {Address("nm-privacy", IPv4Interface("100.104.70.9/32"))}


def test_without_netmaker_there_is_nothing() -> None:
    state = wanted(replace(POLICY, netmaker=replace(POLICY.netmaker, enabled=False)))
    assert NODE not in state.namespaces
    assert not [text for text in state.waiting if "nm-privacy" in text]


def test_an_ethernet_device_is_the_port_itself() -> None:
    tap = replace(POLICY, netmaker=replace(POLICY.netmaker, interface="nm-tap", device="nm-tap"))
    state = wanted(tap, device=())
    (bridge,) = state.bridges
    assert "nm-tap" in bridge.ports & bridge.adopted
    assert "nm-tap" not in bridge.mesh
    assert NODE not in state.namespaces


def test_all_mesh_ports_share_one_ethernet_address_and_no_other_does() -> None:
    (bridge,) = wanted().bridges
    assert bridge.mesh == {"internal_200", "internal_201", "nm-privacy"}
    assert int(MESH_ETHERNET[:2], 16) & 3 == 2  # locally administered, of one station


def test_services_are_held_beside_a_container_s_own_address() -> None:
    whole = policy()
    here = view_of(whole, topology(whole), topology(whole).nodes[1]).policy
    state = wanted(here, namespaces={"ct203": "/run/netns/ct203"})
    assert state.namespaces["ct203"].addresses == {
        Address("internal_203", IPv4Interface("100.104.70.23/24")),
        Address("internal_203", IPv4Interface("100.104.70.20/32")),
    }


def test_a_bridge_has_the_datapath_id_and_controller_of_the_document() -> None:
    mine = replace(POLICY, datapath_id=10, openflow=replace(POLICY.openflow, controller="ssl:192.0.2.1:6653"))
    (bridge,) = wanted(mine).bridges
    assert (bridge.datapath_id, bridge.controller) == (10, "ssl:192.0.2.1:6653")
    (before,) = wanted().bridges
    steps = plan(wanted(mine), replace(wanted(), bridges=frozenset({before})))
    (change,) = (step for step in steps if isinstance(step, ChangeBridge))
    assert "datapath_id" in str(change)
    assert "controller" in str(change)


def test_a_director_beside_it_shares_the_kernel_s_chains() -> None:
    """Of each chain there is one, with the rules of both, or the plan would never come to an end."""
    director = director_examples.policy(
        {"tunnel_director": {"tunnels": {"wgc1": {"clients": ["192.168.50.10"]}}}}
    ).director
    facts = replace(FACTS, mesh_device=(OWN,), node=director_examples.NODE_FACTS)
    node = desired(Policy(POLICY, director), facts).namespaces[NODE]
    assert len({chain.key for chain in node.chains}) == len(node.chains)
    (forward,) = (it for it in node.chains if it.key == ("ipv4", "mangle", "FORWARD"))
    ways = [rule.arguments.split(" -p tcp")[0] for rule in forward.rules]
    assert ways == ["-i nm-privacy -o netmaker", "-i netmaker -o nm-privacy", "-o wgc1", "-i wgc1"]
    assert node | node == node
