"""The topology document: what it may say, and everything that is wrong with it, each with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mesh_examples import PLACES, policy, topology, topology_text

from policies.errors import DocumentError
from policies.load import parse
from policies.placement import everything, view_of
from policies.read_topology import parse_topology
from ryu_apps.flows.pipeline import compile_node, compile_pipeline
from topology.nodes import Node, Topology

POLICY = policy()


def problems(change: Callable[[dict[str, Any]], None]) -> list[str]:
    given = json.loads(topology_text())
    change(given)
    with pytest.raises(DocumentError) as caught:
        parse_topology(json.dumps(given, indent=1), "topology.json", POLICY)
    return [f"{problem.place.path}: {problem.message}" for problem in caught.value.problems]


def node(number: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda given: given["topology"]["nodes"][number].update(values)


def without(number: int, key: str) -> Callable[[dict[str, Any]], None]:
    return lambda given: given["topology"]["nodes"][number].pop(key)


def test_it_means_what_it_says() -> None:
    built = topology(POLICY)
    assert [(it.name, it.datapath_id, str(it.mesh_address)) for it in built.nodes] == [
        ("a", 1, "100.104.70.1"),
        ("b", 2, "100.104.70.2"),
    ]
    assert built.home(203) == built.node("b")
    assert built.home(299) is None


def test_a_node_may_have_lost_all_of_its_containers() -> None:
    given = json.loads(topology_text())
    node(1, containers=[])(given)
    assert parse_topology(json.dumps(given), "topology.json", POLICY).nodes[1].containers == frozenset()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given["topology"].pop("nodes"), "topology.nodes: missing"),
        (lambda given: given["topology"].update(nodes=[]), "topology.nodes: expected at least one node"),
        (lambda given: given.update(typology={}), "typology: unknown key; did you mean topology?"),
        (node(0, brige="x"), "topology.nodes[0].brige: unknown key; did you mean bridge?"),
        (without(1, "name"), "topology.nodes[1].name: missing"),
        (node(1, name="a"), 'topology.nodes[1].name: "a" is that of node "a" already'),
        (node(1, datapath_id="0000000000000001"), "topology.nodes[1].datapath_id: 0000000000000001 is that of node"),
        (node(1, datapath_id=5), "topology.nodes[1].datapath_id: expected a datapath id"),
        (node(1, datapath_id="0" * 16), "topology.nodes[1].datapath_id: expected a datapath id"),
        (without(1, "datapath_id"), "topology.nodes[1].datapath_id: missing: with several nodes"),
        (without(1, "mesh_address"), "topology.nodes[1].mesh_address: missing"),
        (
            node(1, mesh_address="100.104.71.1"),
            "topology.nodes[1].mesh_address: 100.104.71.1 is no address in the mesh",
        ),
        (node(1, mesh_address="100.104.70.22"), 'mesh_address: 100.104.70.22 is an address of "internal_202"'),
        (node(1, mesh_address="fd00::1"), "topology.nodes[1].mesh_address: expected an IPv4 address"),
        (node(1, containers=[201, 203, 200]), 'topology.nodes[1].containers: container 200 runs on node "a" already'),
        (node(1, containers=[201, 201]), "topology.nodes[1].containers[1]: container 201 is listed twice"),
        (node(1, containers=[299]), "topology.nodes[1].containers: the policy has no container 299; it has 200, 201"),
        (node(1, containers=["201"]), "topology.nodes[1].containers[0]: expected a whole number"),
        (node(1, containers=201), "topology.nodes[1].containers: expected a list"),
    ],
)
def test_what_is_wrong_is_named(change: Callable[[dict[str, Any]], None], message: str) -> None:
    (found,) = problems(change)
    assert message in found


def test_all_problems_come_at_once() -> None:
    def change(given: dict[str, Any]) -> None:
        node(0, name="b", mesh_address="100.104.70.0")(given)
        node(1, containers=[299])(given)

    assert len(problems(change)) == 3


def test_a_wrong_type_hides_nothing_of_other_nodes() -> None:
    def change(given: dict[str, Any]) -> None:
        node(0, datapath_id=5, mesh_address="100.104.70.0")(given)
        node(1, containers=[299, "x"], name="a")(given)

    assert [found.partition(": ")[0].removeprefix("topology.nodes") for found in problems(change)] == [
        *("[0].datapath_id", "[0].mesh_address", "[1].name", "[1].containers[1]"),
    ]


def test_the_chain_is_on_one_node() -> None:
    chain = parse(json.dumps({"privacy_router": {"xray": {"vps_address": "vps.example.com"}}}), "policy.json")

    def message(places: dict[str, list[int]]) -> str:
        with pytest.raises(DocumentError) as caught:
            topology(chain, places)
        return " ".join(problem.message for problem in caught.value.problems)

    assert "the chain's hops must be on one node" in message({"a": [100], "b": [101]})
    assert "no node has container 101, the Xray client" in message({"a": [100], "b": []})
    whole = topology(chain, {"a": [100, 101], "b": []})
    tables = {it.name: Counted(compile_node(view_of(chain, whole, it))).of_table(10) for it in whole.nodes}
    assert tables["a"] > 5
    assert tables["b"] == 1  # nothing but the drop entry


class Counted:
    def __init__(self, entries: Any) -> None:
        self._entries = entries

    def of_table(self, table: int) -> int:
        return sum(entry.table == table for entry in self._entries)


def test_one_node_with_everything_is_as_no_topology() -> None:
    alone = topology(POLICY, {"a": [*PLACES["a"], *PLACES["b"]]})
    assert compile_node(view_of(POLICY, alone, alone.nodes[0])) == compile_pipeline(POLICY)
    assert everything(POLICY).policy is POLICY


def test_a_moved_container_changes_entries_of_its_functions_only() -> None:
    before, after = (
        {entry.identity: entry for entry in compile_node(view_of(POLICY, built, built.nodes[0]))}
        for built in (topology(POLICY), topology(POLICY, {"a": [202, 204], "b": [200, 201, 203]}))
    )
    changed = {entry.item for key, entry in after.items() if before.get(key) != entry}
    assert changed == {"function route vector_db"}


def test_a_switch_is_known_by_its_datapath_id_or_alone_by_its_name() -> None:
    several = topology(POLICY)
    assert several.of_switch(2, "ovsbr0", "ovsbr0") == several.nodes[1]
    assert several.of_switch(3, "ovsbr0", "ovsbr0") is None
    alone = Topology((Node("a", bridge="br-mesh"),))
    assert alone.of_switch(77, "br-mesh", "ovsbr0") == alone.nodes[0]
    assert alone.of_switch(77, "ovsbr0", "ovsbr0") is None
    assert Topology((Node("a", datapath_id=1),)).of_switch(77, "ovsbr0", "ovsbr0") is None
