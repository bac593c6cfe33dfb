"""What the verifier says of whole policies: which it takes, which it refuses, and in what words."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from policy_documents import Change, changed, policy

from policies.errors import DocumentError
from policies.placement import view_of
from ryu_apps.flows.flow import MESH, FlowEntry, GotoTable, Output, fields
from ryu_apps.flows.pipeline import compile_node, compile_pipeline
from ryu_apps.policy.file import PolicyFile, compile_document
from ryu_apps.verify import Kind, verify
from topology.nodes import Node, Topology

A = Node("a", frozenset({100, 101, 200}), IPv4Address("100.104.70.1"))
B = Node("b", frozenset({201}), IPv4Address("100.104.70.2"))


def refusals(change: Change) -> list[str]:
    try:
        compile_document(changed(change), "policy.json")
    except DocumentError as error:
        return list(map(str, error.problems))
    return []


def flow(match: dict[str, object], *actions: str, priority: int = 200) -> Change:
    added = {"priority": priority, "match_fields": match, "actions": list(actions), "description": "added"}
    return lambda router: router["openflow"]["privacy_flows"].append(added)


def route(match: dict[str, object], socket: str, priority: int = 90) -> Change:
    added = {"function": "added", "target_socket": socket, "match_fields": match, "priority": priority}
    return lambda router: router["openflow"]["function_routing"].append(added)


@pytest.mark.parametrize(
    "change",
    [
        lambda router: None,
        lambda router: router["openflow"].update(privacy_flows=[]),
        lambda router: router["openflow"].update(enabled=False),
        lambda router: router["xray"].update(enabled=False),
        lambda router: router["netmaker"].update(enabled=False),
        lambda router: router["openflow"]["function_routing"].clear(),
        flow({"in_port": "internal_100", "udp_dst": 443}, "drop"),
        flow({"in_port": "internal_100", "icmp": ""}, "drop"),
        flow({"in_port": "warp0", "tcp_dst": 25}, "drop"),
        flow({"in_port": "internal_100", "ip": ""}, "dec_ttl", "output:warp0"),
        route({"nw_dst": "100.104.70.12", "tcp_dst": 5432}, "internal_200"),
        route({"nw_dst": "100.104.70.0/24"}, "internal_201", priority=80),
        flow({"in_port": "internal_100", "ip": "", "reg0": 0, "ct_state": "-trk"}, "output:warp0"),
        flow({"in_port": "internal_100", "ip": ""}, "set_field:1->reg0", "set_field:2->metadata", "output:warp0"),
        flow({"in_port": "warp0", "ip": "", "reg0": 0}, "set_field:1->reg0", "output:internal_101"),
        flow({"in_port": "internal_100", "ip": "", "pkt_mark": 1}, "drop"),  # a mark stays with a packet
        route({"nw_dst": "100.104.70.12", "ct_state": "+trk"}, "internal_200"),  # the node may track what it sends
    ],
)
def test_accepted(change: Change) -> None:
    assert refusals(change) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flow({"in_port": "internal_100"}, "output:internal_101"), 'the next hop from the first port is "warp0"'),
        (flow({"in_port": "internal_101"}, "drop"), "an answer to a client's packet does not get from Xray client"),
        (flow({"in_port": "internal_100"}, "drop"), "a client's packet does not get from WireGuard gateway"),
        (flow({"in_port": "warp0"}, "output:internal_100"), "it goes round in a loop"),
        (flow({"in_port": "internal_100", "ipv6": ""}, "drop"), "table 0 admits no such packet to table 10"),
        (flow({"in_port": "internal_100", "nw_src": "192.0.2.1"}, "drop"), '"added" (line'),
        (flow({"in_port": "internal_100", "tcp": ""}, "output:warp0", priority=90), "can never match"),
        (flow({"in_port": "internal_100", "tcp": ""}, "drop", priority=100), "both match it with priority 100"),
        (flow({"in_port": "warp0", "arp": ""}, "drop"), None),  # the derived ARP entries stand above
        (
            flow({"in_port": "internal_100", "ip": "", "metadata": 1}, "drop"),
            "table 0 admits no such packet to table 10",
        ),
        (
            flow({"in_port": "internal_100", "ip": "", "reg7": "2/2"}, "drop"),
            "table 0 admits no such packet to table 10",
        ),
        (flow({"in_port": "internal_100", "ct_state": "+trk"}, "drop"), "table 0 admits no such packet to table 10"),
        (flow({"in_port": "internal_100", "ct_zone": 1}, "drop"), "table 0 admits no such packet to table 10"),
        (flow({"in_port": "internal_100", "tun_id": 1}, "drop"), "table 0 admits no such packet to table 10"),
        (
            flow({"in_port": "internal_100", "metadata": 0}, "drop"),
            "a client's packet does not get from WireGuard gateway",
        ),
        (route({"nw_dst": "100.104.70.12", "metadata": 1}, "internal_200"), "no such packet to table 20"),
        (route({"nw_dst": "100.104.70.0/24"}, "internal_201", priority=95), "of higher priority takes all its packets"),
        (route({"nw_dst": "100.104.70.8/29", "tcp_dst": 80}, "internal_201"), "both match it with priority 90"),
    ],
)
def test_refused(change: Change, said: str | None) -> None:
    found = refusals(change)
    assert any(said in problem for problem in found) if said else found == []


def test_what_can_never_match_is_named_itself() -> None:
    """Not what stands above it, though that comes first in the document."""
    text = changed(flow({"in_port": "internal_100", "tcp": ""}, "output:warp0", priority=90))
    with pytest.raises(DocumentError) as caught:
        compile_document(text, "policy.json")
    assert [problem.place.path for problem in caught.value.problems] == ["privacy_router.openflow.privacy_flows[2]"]


def test_a_refusal_names_line_path_packet_and_remedy() -> None:
    text = changed(flow({"in_port": "internal_100"}, "output:internal_101"))
    with pytest.raises(DocumentError) as caught:
        compile_document(text, "policy.json")
    problem = next(problem for problem in caught.value.problems if "next hop" in problem.message)
    assert problem.place.path == "privacy_router.openflow.privacy_flows[2]"
    assert '"in_port": "internal_100"' in "".join(text.splitlines()[problem.place.line - 1 :][:6])
    assert problem.message.startswith("packet ip,in_port=internal_100")
    assert problem.message.endswith("send it there, or drop it")


def test_the_last_good_policy_stays_in_force(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(changed(lambda router: None))
    file = PolicyFile(path)
    before = file.current
    path.write_text(changed(flow({"in_port": "internal_100"}, "output:internal_101")))
    with pytest.raises(DocumentError, match="next hop"):
        file.newest()
    assert file.current is before


def test_without_flows_nothing_has_to_be_reached() -> None:
    off = policy(lambda router: router["openflow"].update(enabled=False))
    assert verify({"": compile_pipeline(off)}, off) == ()
    on = replace(off, openflow=replace(off.openflow, enabled=True))
    assert Kind.UNREACHABLE in {finding.kind for finding in verify({"": compile_pipeline(off)}, on)}


def two_nodes(change: Change = lambda router: None) -> tuple[Any, dict[str, Any], dict[str, tuple[FlowEntry, ...]]]:
    whole = policy(change)
    topology = Topology((A, B))
    views = {node.name: view_of(whole, topology, node) for node in topology.nodes}
    return whole, views, {name: compile_node(view) for name, view in views.items()}


def test_two_nodes() -> None:
    whole, views, nodes = two_nodes()
    assert verify(nodes, whole, views) == ()


def test_a_call_that_comes_to_another_node_has_no_metadata() -> None:
    whole, views, nodes = two_nodes(route({"nw_dst": "100.104.70.12", "metadata": "0/1"}, "internal_200"))
    assert verify(nodes, whole, views) == ()
    whole, views, nodes = two_nodes(route({"nw_dst": "100.104.70.12", "metadata": 1}, "internal_200"))
    assert [finding.kind for finding in verify(nodes, whole, views)] == [Kind.NEVER]  # there is no call to be lost


def test_a_node_does_not_speak_by_ports_of_another() -> None:
    whole, views, nodes = two_nodes()
    own = nodes["b"]
    for more, kinds in (
        (FlowEntry(0, 900, fields(in_port="warp0", ip=""), (GotoTable(MESH),), "astray"), [Kind.CROSSING]),
        (
            FlowEntry(MESH, 900, fields(ip="", nw_dst="100.104.70.10"), (Output("internal_200"),), "astray"),
            [Kind.WAY_OUT, Kind.UNDELIVERED],
        ),
    ):
        found = verify({**nodes, "b": (*own, more)}, whole, views)
        assert {(finding.kind, finding.node) for finding in found} == {(kind, "b") for kind in kinds}
        assert str(found[0]).startswith("on node b: packet ")


def test_what_is_met_on_one_node_has_its_use() -> None:
    """On node b nobody is left who could call a function of node a; on node a there is."""
    whole, views, nodes = two_nodes(lambda router: router["netmaker"].update(enabled=False))
    assert verify(nodes, whole, views) == ()


def test_what_cannot_be_proved_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryu_apps.verify.tables.STEPS", 0)
    monkeypatch.setattr("ryu_apps.verify.tables.STEPS_OF_AN_ENTRY", 0)
    whole = policy(lambda router: None)
    (finding,) = verify({"": compile_pipeline(whole)}, whole)
    assert finding.kind is Kind.UNPROVEN


def test_a_register_is_empty_again_when_a_packet_comes_in_again() -> None:
    """What one passage through the switch wrote does not open an entry to the next."""

    def change(router: dict[str, Any]) -> None:
        flow({"in_port": "internal_100", "ip": ""}, "set_field:1->reg0", "output:warp0")(router)
        flow({"in_port": "warp0", "ip": "", "reg0": 0}, "drop")(router)
        flow({"in_port": "warp0", "ip": "", "reg0": 1}, "output:internal_101", priority=201)(router)

    found = refusals(change)
    assert any("a client's packet does not get from WARP tunnel" in problem for problem in found)
    assert any("can never match" in problem for problem in found)


def test_what_every_packet_is_needs_no_words() -> None:
    (found, *_) = refusals(flow({"in_port": "internal_100", "ip": "", "metadata": 0}, "output:internal_101"))
    assert "packet ip,in_port=internal_100,nw_src=10.99.0.100:" in found
