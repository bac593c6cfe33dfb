"""Delivery over several nodes: what the verifier accepts arrives and is answered; what it refuses, its packet shows.

The packets are followed here by the simulator, one by one, and carried from node to node by a table of this module.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from mesh_examples import BUCKET, OWN, PLACES, SEARCH, VECTOR_DB, document, policy, topology, topology_text

from policies.errors import DocumentError
from policies.model import PrivacyRouter
from policies.placement import NodeView, view_of
from ryu_apps.flows.flow import CLASSIFY, MESH, FlowEntry, GotoTable, Output, SetField, fields
from ryu_apps.flows.pipeline import compile_node
from ryu_apps.packets.simulate import simulate
from ryu_apps.policy.file import compile_document
from ryu_apps.verify import Finding, Kind, verify
from ryu_apps.verify.delivery import undelivered

UPLINK = "nm-privacy"
Places = Mapping[str, list[int]]
Entries = tuple[FlowEntry, ...]
ROUNDS = 600 if os.environ.get("SOAK") else 60
THREE = {"a": [200], "b": [201, 202], "c": [203, 204]}


class Nodes:
    """The nodes of a policy, and the mesh between them."""

    def __init__(self, of: PrivacyRouter | None = None, places: Places = PLACES) -> None:
        self.policy = of or policy()
        built = topology(self.policy, places)
        self.views: dict[str, NodeView] = {node.name: view_of(self.policy, built, node) for node in built.nodes}
        self.entries: dict[str, Entries] = {name: tuple(compile_node(view)) for name, view in self.views.items()}

    def change(self, node: str, change: Callable[[Entries], Entries]) -> None:
        before = self.entries[node]
        self.entries[node] = change(before)
        assert self.entries[node] != before, "the mutation finds nothing to change"

    def findings(self) -> list[Finding]:
        return list(undelivered(self.entries, self.views))

    def homes(self) -> dict[str, str]:
        """Which node an address is carried to: those of one socket alone."""
        shared = {it.address for it in self.view.functions if len(it.targets) > 1}
        return {
            address: name
            for name, view in self.views.items()
            for socket in view.plan.mesh
            for address in socket.addresses
            if address not in shared
        }

    @property
    def view(self) -> NodeView:
        return next(iter(self.views.values()))

    def follow(self, node: str, packet: dict[str, str]) -> tuple[str, str, dict[str, str]] | None:
        """(node, port, packet) where it ends; None if it is lost, or comes out twice."""
        trace = simulate(self.entries[node], packet)
        if len(trace.sent) != 1:
            return None
        port, left = trace.sent[0].port, dict(trace.sent[0].packet)
        if port != UPLINK:
            return (node, port, left) if port in self.views[node].plan.mesh_ports else None
        there = self.homes().get(left["nw_dst"])
        if there is None or there == node:
            return None
        trace = simulate(self.entries[there], left | {"in_port": UPLINK})
        here = trace.ports and trace.ports[0] in self.views[there].plan.mesh_ports
        return (there, trace.ports[0], dict(trace.sent[0].packet)) if len(trace.sent) == 1 and here else None

    def round_trip(self, node: str, packet: dict[str, str], targets: tuple[str, ...]) -> bool:
        """Whether a call arrives at one of the sockets, and its answer comes back as from where it was called."""
        arrived = self.follow(node, packet)
        if arrived is None or arrived[1] not in targets:
            return False
        back = self.follow(arrived[0], turned(arrived[2], arrived[1]))
        wanted = turned(packet, "")
        if back is None or back[:2] != (node, packet["in_port"]):
            return False
        return all(back[2].get(name, "0") == wanted.get(name, "0") for name in ("nw_src", "nw_dst", "tp_src", "tp_dst"))


def turned(packet: dict[str, str], port: str) -> dict[str, str]:
    names = {"nw_src": "nw_dst", "nw_dst": "nw_src", "tp_src": "tp_dst", "tp_dst": "tp_src"}
    answer = {names.get(name, name): text for name, text in packet.items() if name != "icmp_type"} | {"in_port": port}
    return answer | {"tcp_flags": "0x12"} if "tcp" in packet else answer


@pytest.mark.parametrize("places", [PLACES, THREE, {"a": [204], "b": [200, 202]}, {"a": [], "b": [203]}])
def test_the_compiler_as_it_is(places: Places) -> None:
    nodes = Nodes(places=places)
    assert verify(nodes.entries, nodes.policy, nodes.views) == ()


def test_one_node_has_no_mesh_to_prove() -> None:
    nodes = Nodes(places={"a": [200, 201, 202, 203, 204]})
    nodes.entries["a"] = ()
    assert nodes.findings() == []


# Mutations of what one node is told.

Which = Callable[[FlowEntry], bool]


def at(table: int, **texts: str) -> Which:
    return lambda entry: entry.table == table and set(texts.items()) <= set(entry.match)


def without(which: Which) -> Callable[[Entries], Entries]:
    return lambda entries: tuple(entry for entry in entries if not which(entry))


def acting(which: Which, *actions: Any) -> Callable[[Entries], Entries]:
    return lambda entries: tuple(replace(entry, actions=actions) if which(entry) else entry for entry in entries)


def above(entry: FlowEntry) -> Callable[[Entries], Entries]:
    return lambda entries: (entry, *entries)


def to(address: str, **texts: str) -> Which:
    return at(MESH, nw_dst=address, **texts)


MUTATIONS: dict[str, tuple[Places, str, Callable[[Entries], Entries]]] = {
    "the caller's node drops it": (PLACES, "b", acting(to(VECTOR_DB))),
    "the container's node drops it": (PLACES, "a", acting(to(VECTOR_DB))),
    "it leaves by another container's socket": (PLACES, "a", acting(to(VECTOR_DB), Output("internal_202"))),
    "it is not admitted from the mesh": (PLACES, "a", without(at(CLASSIFY, in_port=UPLINK, ip=""))),
    "some of it is not admitted from the mesh": (
        PLACES,
        "a",
        above(FlowEntry(CLASSIFY, 900, fields(in_port=UPLINK, tcp="", tp_dst="443"), (), "no HTTPS")),
    ),
    "some of it is dropped behind admission": (
        PLACES,
        "a",
        above(FlowEntry(MESH, 900, fields(udp="", tp_dst="53", nw_dst=VECTOR_DB), (), "no DNS")),
    ),
    "one of many sources is dropped": (
        PLACES,
        "a",
        above(FlowEntry(MESH, 900, fields(ip="", nw_src=OWN[203], nw_dst=VECTOR_DB), (), "not that one")),
    ),
    "both nodes send it out": (PLACES, "a", acting(to(VECTOR_DB), Output(UPLINK))),
    "it arrives twice": (PLACES, "a", acting(to(VECTOR_DB), Output("internal_200"), Output("internal_204"))),
    "no way out": (PLACES, "a", without(lambda entry: entry.item == f"mesh egress {UPLINK}")),
    "no ARP for the other nodes": (
        PLACES,
        "a",
        without(lambda entry: entry.item == f"mesh egress {UPLINK}" and ("arp", "") in entry.match),
    ),
    "no ARP for the function": (PLACES, "a", without(at(MESH, arp_tpa=VECTOR_DB))),
    "no ARP admitted": (PLACES, "b", without(at(CLASSIFY, in_port="internal_201", arp=""))),
    "no answers of the function": (PLACES, "b", without(at(MESH, nw_src=VECTOR_DB))),
    "answers are not delivered": (PLACES, "b", without(at(30, nw_dst=BUCKET, ip=""))),
    "the container may not speak": (PLACES, "a", without(at(CLASSIFY, in_port="internal_200", ip=""))),
    "calls of a back end are not told from others": (
        {"a": [200, 201, 203, 204], "b": [202]},
        "b",
        without(to(OWN[202], in_port=UPLINK)),
    ),
    "a back end elsewhere is called by the function's address": (
        {"a": [200, 201, 203, 204], "b": [202]},
        "a",
        acting(at(MESH, nw_dst=SEARCH, nw_src="0.0.0.0/0.0.0.1"), Output(UPLINK)),
    ),
    "a back end's answers keep its own address": (
        {"a": [200, 201, 203, 204], "b": [202]},
        "a",
        acting(at(CLASSIFY, nw_src=OWN[202], in_port=UPLINK), GotoTable(MESH)),
    ),
    "answers come from somewhere else": (
        {"a": [200, 201, 203, 204], "b": [202]},
        "a",
        acting(at(CLASSIFY, nw_src=OWN[202], in_port=UPLINK), SetField("nw_src", VECTOR_DB), GotoTable(MESH)),
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_on_one_node_is_refused(name: str) -> None:
    places, node, mutation = MUTATIONS[name]
    nodes = Nodes(places=places)
    assert nodes.findings() == []
    nodes.change(node, mutation)
    found = nodes.findings()
    assert found and {finding.kind for finding in found} == {Kind.UNDELIVERED}
    for finding in found:
        assert any("function_routing" in place.path for place in finding.places), finding
        shown(nodes, finding)


def routed(*routes: tuple[str, int, str]) -> PrivacyRouter:
    """The example's policy with these (function, container, match) alone."""
    given = document()
    given["privacy_router"]["openflow"]["function_routing"] = [
        {"function": name, "target_socket": f"internal_{container}", "match_fields": match, "priority": 90 - number}
        for number, (name, container, match) in enumerate(routes)
    ]
    return policy(given)


def test_a_call_that_arrives_as_if_it_were_an_answer_is_not_delivered() -> None:
    """201 serves all of UDP, so what it says is taken for an answer on node a. What 204 says is not."""
    nodes = Nodes(routed(("all", 201, f"udp,nw_dst={BUCKET}"), ("dns", 202, f"udp,nw_dst={OWN[202]},tp_dst=53")))
    nodes = Nodes(nodes.policy, {"a": [202], "b": [201, 204]})
    assert nodes.findings() == []
    nodes.change("a", without(to(OWN[202], udp="")))
    packet = {"udp": "", "nw_dst": OWN[202], "tp_src": "5000", "tp_dst": "53"}
    assert nodes.round_trip("b", {**packet, "in_port": "internal_201", "nw_src": BUCKET}, ("internal_202",))
    assert not nodes.round_trip("b", {**packet, "in_port": "internal_204", "nw_src": OWN[204]}, ("internal_202",))
    assert any("it is left to" in finding.happens for finding in nodes.findings())


def test_a_caller_that_calls_from_a_port_which_is_served_may_be_unlucky() -> None:
    """The answer goes to port 80, which is another function's on any address: by the document it is a call of that."""
    wide = ("web", 204, "tcp,nw_dst=100.104.70.0/24,tp_dst=80")
    nodes = Nodes(routed(("vector_db", 200, f"tcp,nw_dst={VECTOR_DB},tp_src=80"), wide))
    assert nodes.findings() == []


def shown(nodes: Nodes, finding: Finding) -> None:
    """The finding's packet is lost: it comes in on that node, and does not end with who it is for."""
    packet = dict(finding.packet)
    if "it is left to" in finding.happens:
        assert any(entry.table == MESH and 0 < entry.priority < 10 for entry in finding.entries)
        return
    if "it arrives changed" in finding.happens:
        assert nodes.follow(finding.node, packet) is not None
        return
    if "arp" in packet:
        asked = [it.port for it in nodes.views[finding.node].plan.mesh if packet["arp_tpa"] in it.addresses]
        ports = simulate(nodes.entries[finding.node], packet).ports
        assert len(asked) > 1 or ports != tuple(asked or (UPLINK,))
        return
    targets = called(nodes, packet)
    ended = nodes.follow(finding.node, packet)
    owner = nodes.homes().get(packet["nw_dst"])
    by = ended[1] if ended else None
    arrived = by in targets or (owner is not None and by in nodes.views[owner].plan.mesh_ports and targets == ())
    unlike = ended is None or any(ended[2].get(name) != packet.get(name) for name in ("nw_src", "tp_src", "tp_dst"))
    assert not arrived or unlike or not is_own(nodes, ended), (finding, ended)


def is_own(nodes: Nodes, ended: tuple[str, str, dict[str, str]] | None) -> bool:
    return ended is not None and ended[2]["nw_dst"] in nodes.view.addresses.get(ended[1], ())


def called(nodes: Nodes, packet: dict[str, str]) -> tuple[str, ...]:
    """The sockets that serve what a packet calls, by the document: the highest priority has it."""
    found = [function for function in nodes.view.functions if holds(dict(function.match), packet)]
    return max(found, key=lambda function: function.priority).targets if found else ()


def holds(match: dict[str, str], packet: dict[str, str]) -> bool:
    """Of the few fields that the functions here match on."""
    whole = match.get("nw_dst", "").endswith("/24")
    wanted = {name: text for name, text in match.items() if name != "ip" and not (name == "nw_dst" and whole)}
    return all(packet.get(name) == text for name, text in wanted.items())


# Any policy, on any nodes, with any one thing wrong.


def random_document(random: Random) -> dict[str, Any]:
    given = document()
    router = given["privacy_router"]
    routes: list[dict[str, Any]] = []
    for number in range(random.randint(1, 5)):
        address = f"100.104.70.{random.choice((10, 11, 20, 22, 23, 24))}"
        match: dict[str, Any] = {"nw_dst": address}
        if random.random() < 0.5:
            match[random.choice(("tcp_dst", "udp_dst"))] = random.choice((80, 443))
        if random.random() < 0.1:
            match = {"nw_dst": "100.104.70.0/24", **({"tcp_dst": 80} if random.random() < 0.5 else {})}
        if random.random() < 0.05:
            match["in_port"] = random.choice(("internal_203", "internal_204"))
        sockets = random.sample(range(200, 205), 2 if len(match) == 2 and random.random() < 0.3 else 1)
        for socket in sockets:
            routes.append(
                {
                    "function": f"f{number}",
                    "target_socket": f"internal_{socket}",
                    "match_fields": match,
                    "priority": random.choice((20, 90, 90, 95)),
                }
            )
    router["openflow"]["function_routing"] = routes
    return given


def random_nodes(random: Random) -> Nodes:
    while True:
        names = "abc"[: random.choice((2, 2, 3))]
        places: dict[str, list[int]] = {name: [] for name in names}
        for container in range(200, 205):
            if random.random() < 0.93:
                places[random.choice(names)].append(container)
        try:
            return Nodes(policy(random_document(random)), places)
        except DocumentError:
            continue


def mutate(random: Random, nodes: Nodes) -> None:
    """One entry of one node goes, moves, or does something else."""
    name = random.choice(list(nodes.entries))
    entries = list(nodes.entries[name])
    place = random.randrange(len(entries))
    entry = entries.pop(place)
    choice = random.random()
    if choice < 0.3:
        entries.insert(place, replace(entry, priority=random.choice((0, 3, 92, 1000))))
    elif choice < 0.6:
        ports = [*(f"internal_{number}" for number in range(200, 205)), UPLINK]
        entries.insert(place, replace(entry, actions=(Output(random.choice(ports)),)))
    nodes.entries[name] = tuple(entries)


def random_call(random: Random, nodes: Nodes) -> tuple[str, dict[str, str]] | None:
    """A call from a container on some node to something that the document serves there."""
    name = random.choice(list(nodes.views))
    view = nodes.views[name]
    homes = nodes.homes()
    callers = [(it.port, address) for it in view.plan.mesh for address in it.addresses if address in homes]
    if not callers:
        return None
    port, source = random.choice(callers)
    match = dict(random.choice(view.functions).match)
    word = next((word for word in ("tcp", "udp") if word in match), random.choice(("tcp", "udp")))
    packet = {word: "", "in_port": port, "nw_src": source, "nw_dst": match["nw_dst"]}
    packet["tp_dst"] = match.get("tp_dst") or random.choice(("80", "443", "53"))
    packet["tp_src"] = random.choice(("80", "443", "5000"))
    if "/" in packet["nw_dst"]:
        served = [it.targets for it in view.functions if dict(it.match)["nw_dst"] == packet["nw_dst"]]
        packet["nw_dst"] = view.addresses.get(random.choice(served)[0], ("100.104.70.99",))[0]
    return name, packet


def is_expected(nodes: Nodes, name: str, packet: dict[str, str]) -> tuple[str, ...]:
    """The sockets that must get the call; none if nothing is promised for it (docs/verification.md)."""
    view = nodes.views[name]
    targets = called(nodes, packet)
    answers = any(
        len(it.targets) > 1
        and packet["nw_src"] in {view.addresses[target][0] for target in it.targets}
        and dict(it.match).get("tp_dst") == packet["tp_src"]
        for it in view.functions
    )
    by_range = [it for it in view.functions if it.targets == targets and it.address is None]
    own = any(packet["nw_dst"] == view.addresses.get(target, ("",))[0] for target in targets)
    back = [called(nodes, turned(packet, target)) for target in targets]
    is_call = any(taking and packet["in_port"] not in taking for taking in back)  # the answer, by the document
    if answers or packet["in_port"] in targets or (by_range and not own) or is_call:
        return ()
    return tuple(target for target in targets if target not in view.absent)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_what_is_accepted_is_delivered(seed: int) -> None:
    random = Random(f"delivery {seed}")
    nodes = random_nodes(random)
    if seed % 3:
        mutate(random, nodes)
    found = nodes.findings()
    for finding in found:
        if finding.kind is Kind.UNDELIVERED:
            shown(nodes, finding)
    if not found:
        for _ in range(150):
            call = random_call(random, nodes)
            targets = is_expected(nodes, *call) if call else ()
            assert call is None or not targets or nodes.round_trip(*call, targets), call


def test_many_are_accepted_and_many_refused() -> None:
    """Or the test above would say nothing."""
    verdicts = {"as it is": [0, 0], "mutated": [0, 0]}
    for seed in range(60):
        random = Random(f"delivery {seed}")
        nodes = random_nodes(random)
        if seed % 3:
            mutate(random, nodes)
        verdicts["mutated" if seed % 3 else "as it is"][bool(nodes.findings())] += 1
    assert verdicts["as it is"][0] >= 8 and min(verdicts["mutated"]) >= 8, verdicts


# Many functions, of which most are alike: the verifier follows some for all.


def many() -> Nodes:
    given = document()
    routes = given["privacy_router"]["openflow"]["function_routing"]
    given["privacy_router"]["netmaker"]["subnet"] = "100.104.0.0/16"
    for number in range(220):
        match = {"nw_dst": f"100.104.{80 + number // 200}.{number % 200 + 1}"}
        match |= {"tcp_dst": 80} if number % 3 else {}
        socket = f"internal_{200 + number % 5}"
        routes.append({"function": f"f{number}", "target_socket": socket, "match_fields": match})
    return Nodes(policy(given))


MANY = many()


def test_many_functions_are_delivered() -> None:
    assert sum(map(len, MANY.entries.values())) > 2200
    assert verify(MANY.entries, MANY.policy, MANY.views) == ()


@pytest.mark.parametrize("seed", range(ROUNDS // 20))
def test_one_wrong_entry_of_many_is_found(seed: int) -> None:
    random = Random(f"many {seed}")
    node = random.choice(list(MANY.entries))
    wrong = random.choice([it for it in MANY.entries[node] if it.place is not None and it.table == MESH])
    changed = acting(lambda entry: entry is wrong)(MANY.entries[node])
    found = verify({**MANY.entries, node: changed}, MANY.policy, MANY.views)
    assert Kind.UNDELIVERED in {finding.kind for finding in found}, wrong


# What the document itself makes impossible.


def refusals(given: dict[str, Any], tmp_path: Any, places: Places = PLACES) -> list[str]:
    topology_file = tmp_path / "topology.json"
    topology_file.write_text(topology_text(places))
    with pytest.raises(DocumentError) as caught:
        compile_document(json.dumps(given, indent=1), "policy.json", topology_file)
    return [str(problem) for problem in caught.value.problems]


def test_a_port_of_one_node_cannot_tell_calls_on_another(tmp_path: Any) -> None:
    given = document()
    given["privacy_router"]["openflow"]["function_routing"][0]["match_fields"]["in_port"] = "internal_203"
    (problem,) = [text for text in refusals(given, tmp_path) if "does not arrive" in text]
    assert problem.startswith("policy.json:") and "privacy_router.openflow.function_routing[0]: on node b: " in problem
    assert f"packet ip,in_port=internal_203,nw_dst={VECTOR_DB},nw_src={OWN[203]}: " in problem
    assert 'a call of "internal_203" for function vector_db does not arrive: on node a "mesh: ' in problem


def test_a_function_that_takes_the_answers_of_another(tmp_path: Any) -> None:
    given = document()
    wide = {"function": "all", "target_socket": "internal_204", "match_fields": {"nw_dst": "100.104.70.0/24"}}
    given["privacy_router"]["openflow"]["function_routing"].append(wide | {"priority": 20})
    problems = refusals(given, tmp_path)
    problem = next(text for text in problems if "for function vector_db does not come back" in text)
    assert 'the answer of "internal_200" to a call of "internal_20' in problem
    assert '"function route all" (line ' in problem and 'sends it to "internal_204"' in problem
