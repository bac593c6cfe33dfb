"""An edited policy is compiled and proved as if there had been no earlier one, and what it left is not made anew."""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from random import Random

import pytest
from many_functions import edited, many_functions, same_classes, with_routes

import ryu_apps.verify
from policies.errors import DocumentError
from policies.match import normalise
from policies.model import FunctionRoute, Place
from policies.placement import NodeView, everything, view_of
from policies.reuse import difference, reused
from ryu_apps.flows.flow import FlowEntry
from ryu_apps.flows.mesh import ANSWERS
from ryu_apps.flows.pipeline import Compiled, compile_view
from ryu_apps.verify import Proof, prove, verify
from ryu_apps.verify.subject import Subject
from topology.nodes import Node, Topology

SEQUENCES = 400 if os.environ.get("SOAK") else 8
EDITS = 8


TWO_NODES = Topology(
    (
        Node("a", frozenset({100, 101, 200, 202}), IPv4Address("100.104.70.250")),
        Node("b", frozenset({201}), IPv4Address("100.104.70.251")),  # and 203 is on none
    )
)


@pytest.mark.parametrize("topology", [None, TWO_NODES], ids=["one node", "two nodes"])
@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_edits_give_what_comes_from_nothing(
    seed: int, topology: Topology | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ryu_apps.verify, "MANY", 0)
    random = Random(seed)
    policy = many_functions(random, 40)
    whole: NodeView | None = None
    compiled: dict[str, Compiled] = {}
    proof: Proof | None = None
    for _ in range(EDITS):
        whole = everything(policy, whole)
        assert whole == everything(policy)
        views = (
            {node.name: view_of(policy, topology, node, whole) for node in topology.nodes} if topology else {"": whole}
        )
        before, compiled = compiled, {name: compile_view(view, compiled.get(name)) for name, view in views.items()}
        for name, of_node in compiled.items():
            assert list(map(_all_of, of_node.entries)) == list(map(_all_of, compile_view(views[name]).entries))
            assert len({entry.identity for entry in of_node.entries}) == len(of_node.entries)
            _same_objects(before.get(name), of_node)
        nodes = {name: of_node.entries for name, of_node in compiled.items()}
        found = tuple(finding.problem("x") for finding in verify(nodes, policy, views))
        same_classes(proof.alike if proof else None, Subject(nodes, policy, views))
        try:
            proof = prove(nodes, policy, views, proof)
            assert found == ()
        except DocumentError as error:
            assert set(map(str, error.problems)) == set(map(str, found))
        policy = edited(random, policy)


def _all_of(entry: FlowEntry) -> tuple[object, ...]:
    return entry, entry.place


def _same_objects(before: Compiled | None, after: Compiled) -> None:
    """What was there, and stands for no function or for one of one target that is the same, is not made anew."""
    if before is None or not after.view.same_but_for_functions(before.view):
        return
    known = {entry: entry for entry in before.entries}
    functions = {id(function) for function in before.view.functions if len(function.targets) == 1}
    places = {None, *(function.place for function in after.view.functions if id(function) in functions)}
    for entry in after.entries:
        old = known.get(entry)
        if old is not None and entry.place == old.place and entry.place in places:
            assert entry is old, entry


def test_a_function_of_the_priority_of_answers_is_told_from_them() -> None:
    match = normalise({"tcp": "", "nw_dst": "100.104.70.40", "tp_dst": "443"})
    low = FunctionRoute("low", "internal_200", match, ANSWERS, Place("x", 1, "x"))
    entries = compile_view(everything(with_routes(many_functions(Random(0), 1), (low,)))).entries
    assert len({entry.identity for entry in entries}) == len(entries)


@pytest.mark.parametrize("seed", range(300))
def test_differences(seed: int) -> None:
    random = Random(seed)
    before = [object() for _ in range(random.choice((0, 1, 5, 60, 400)))]
    after = list(before)
    for _ in range(random.randrange(5)):
        match random.randrange(4):
            case 0 if after:
                del after[random.randrange(len(after))]
            case 1:
                after.insert(random.randrange(len(after) + 1), object())
            case 2 if after:
                after[random.randrange(len(after))] = object()
            case 3 if random.random() < 0.3:
                random.shuffle(after)
    gone, come = difference(before, after)
    old, new = set(before), set(after)
    assert gone == [each for each in before if each not in new]
    assert come == [each for each in after if each not in old]
    made: list[object] = []
    assert reused(before, [(each,) for each in before], after, lambda each: (made.append(each), (each,))[1]) == tuple(
        (each,) for each in after
    )
    assert set(made) == set(come)
