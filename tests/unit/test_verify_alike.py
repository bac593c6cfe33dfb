"""What the part that stands for all is accepted with is right for all; and nothing wrong hides in what is left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

import pytest
from many_functions import SOCKETS, many_functions, random_route, same_classes, with_routes
from random_policies import random_entries, random_match

from policies.errors import DocumentError
from policies.match import normalise
from policies.model import FunctionRoute, Place, PrivacyRouter
from policies.placement import everything, view_of
from ryu_apps.flows.flow import CLASSIFY, MESH, MESH_DELIVERY, FlowEntry, GotoTable, Output, SetField, fields
from ryu_apps.flows.pipeline import compile_view
from ryu_apps.verify import Kind, prove, verify
from ryu_apps.verify.alike import Likeness, likeness
from ryu_apps.verify.every_packet import Witnesses, findings
from ryu_apps.verify.subject import Subject
from topology.nodes import Node, Topology

ROUNDS = 40 if not os.environ.get("SOAK") else 1500
Entries = Sequence[FlowEntry]


def subject(policy: PrivacyRouter, entries: Entries) -> Subject:
    return Subject({"": tuple(entries)}, policy, {"": everything(policy)})


def accepted_by_part(whole: Subject) -> bool:
    found = likeness(whole)
    return found is not None and not any(findings(found.part(), Witnesses(found.left_out)))


def plain(count: int = 40) -> tuple[PrivacyRouter, tuple[FlowEntry, ...]]:
    """A policy of functions that are called by addresses of their own, ten on each socket."""
    random = Random(1)
    routes = tuple(
        replace(random_route(random, number, odd=0), target_socket=SOCKETS[number % len(SOCKETS)])
        for number in range(count)
    )
    policy = with_routes(replace(many_functions(random, 1), containers=()), routes)
    return policy, compile_view(everything(policy)).entries


def test_a_few_addresses_stand_for_all() -> None:
    whole = subject(*plain())
    found = likeness(whole)
    assert found is not None and accepted_by_part(whole)
    assert sorted(map(len, found.chosen.values())) == [2] * len(SOCKETS)
    assert found.part().size < whole.size / 2


def changed(which: Callable[[FlowEntry], bool], **values: object) -> Callable[[Entries], Entries]:
    return lambda entries: [replace(entry, **values) if which(entry) else entry for entry in entries]  # type: ignore[arg-type]


def also(*entries: FlowEntry) -> Callable[[Entries], Entries]:
    return lambda others: [*others, *entries]


def called(address: str) -> Callable[[FlowEntry], bool]:
    return lambda entry: entry.table == MESH and ("nw_dst", address) in entry.match


def admitted(address: str) -> Callable[[FlowEntry], bool]:
    return lambda entry: entry.table == CLASSIFY and ("nw_src", address) in entry.match


ONE, OTHER = "100.104.70.33", "100.104.70.37"  # of one socket, neither the first nor the second of it
HIDDEN = {
    "one function goes to the chain": (changed(called(ONE), actions=(Output("warp0"),)), Kind.CROSSING),
    "one function leaves by no port of the policy": (changed(called(ONE), actions=(Output("eth0"),)), Kind.WAY_OUT),
    "one source is admitted at another socket": (
        changed(admitted(ONE), match=fields(in_port="internal_200", ip="", nw_src=ONE)),
        Kind.SPOOFING,
    ),
    "one function is below another's": (
        also(FlowEntry(MESH, 95, fields(ip="", nw_dst=ONE), (), "above")),
        Kind.NEVER,
    ),
    "half of the addresses are below others": (
        also(FlowEntry(MESH, 95, fields(ip="", nw_dst="100.104.70.32/27"), (), "above")),
        Kind.NEVER,
    ),
    "odd addresses are below others": (
        also(FlowEntry(MESH, 95, fields(ip="", nw_dst="0.0.0.1/0.0.0.1"), (), "above")),
        Kind.NEVER,
    ),
    "one calls one other and comes to the chain": (
        also(
            FlowEntry(
                MESH, 95, fields(in_port="internal_203", ip="", nw_src=ONE, nw_dst=OTHER), (Output("warp0"),), "astray"
            )
        ),
        Kind.CROSSING,
    ),
    "two are in conflict": (also(FlowEntry(MESH, 90, fields(ip="", nw_src=ONE), (), "other")), Kind.CONFLICT),
    "one function is in another table": (changed(called(ONE), table=MESH_DELIVERY), Kind.NEVER),
    "one is rewritten to one that would go astray": (
        lambda entries: [
            *entries,
            *changed(lambda entry: True, table=MESH_DELIVERY, actions=(Output("warp0"),))(
                [entry for entry in entries if entry.table == MESH and entry.place and "nw_dst" in dict(entry.match)]
            ),
            FlowEntry(MESH, 95, fields(tcp="", nw_dst=ONE), (SetField("nw_dst", OTHER), GotoTable(30)), "rewritten"),
        ],
        Kind.CROSSING,
    ),
    "one is rewritten to one that goes astray": (
        lambda entries: [
            *changed(called(OTHER), table=30, actions=(Output("warp0"),))(entries),
            FlowEntry(MESH, 95, fields(tcp="", nw_dst=ONE), (SetField("nw_dst", OTHER), GotoTable(30)), "rewritten"),
        ],
        Kind.CROSSING,
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_nothing_hides_among_addresses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, kind = HIDDEN[name]
    policy, entries = plain()
    whole = subject(policy, mutate(entries))
    assert kind in {finding.kind for finding in findings(whole)}
    assert not accepted_by_part(whole)
    monkeypatch.setattr("ryu_apps.verify.MANY", 0)
    assert verify(whole.nodes, policy) == tuple(findings(whole))
    proof = prove({"": entries}, policy)
    assert proof.part is not None
    with pytest.raises(DocumentError):
        prove(whole.nodes, policy, earlier=proof)


def test_an_address_that_another_socket_owns() -> None:
    policy, entries = plain()
    routes = [
        replace(route, target_socket="internal_200") if ("nw_dst", ONE) in route.match_fields else route
        for route in policy.openflow.function_routing
    ]
    whole = subject(with_routes(policy, tuple(routes)), entries)
    assert Kind.SPOOFING in {finding.kind for finding in findings(whole)}
    assert not accepted_by_part(whole)


def test_entries_of_one_address_on_the_wrong_node() -> None:
    policy, _ = plain()
    nodes = [Node(name, here, IPv4Address(at)) for name, here, at in NODES]
    views = {node.name: view_of(policy, Topology(tuple(nodes)), node) for node in nodes}
    entries = {name: compile_view(view).entries for name, view in views.items()}
    assert accepted_by_part(Subject(entries, policy, views))
    there = [entry for entry in entries["b"] if called(ONE)(entry)]
    as_here = [replace(entry, actions=there[0].actions) for entry in entries["a"] if called(ONE)(entry)]
    moved = {
        "a": tuple(entry for entry in (*entries["a"], *as_here)),
        "b": tuple(entry for entry in entries["b"] if entry not in there),
    }
    whole = Subject(moved, policy, views)
    assert any(findings(whole))
    assert not accepted_by_part(whole)


NODES = (
    ("a", frozenset({100, 101, 200, 201, 202}), "100.104.70.250"),
    ("b", frozenset({203}), "100.104.70.251"),
)


def test_an_object_of_the_document_of_which_only_one_address_has_two() -> None:
    """Each function has a second entry that nothing meets; for one address that is all there is of its route."""
    policy, entries = plain()
    wanted = next(route for route in policy.openflow.function_routing if ("nw_dst", ONE) in route.match_fields)
    again = replace(wanted, function="again", place=Place("x", 999, "again"))
    second = [
        replace(entry, priority=80, place=again.place if called(ONE)(entry) else entry.place)
        for entry in entries
        if entry.table == MESH and any(name == "nw_dst" for name, _ in entry.match) and entry.place
    ]
    whole = subject(with_routes(policy, (*policy.openflow.function_routing, again)), (*entries, *second))
    assert [finding.kind for finding in findings(whole)] == [Kind.NEVER]
    assert not accepted_by_part(whole)


def _range(addresses: range, prefix: str) -> tuple[PrivacyRouter, tuple[FlowEntry, ...]]:
    """Functions on one socket, with these last octets, and one below them that is called by a range of addresses."""
    policy = with_routes(replace(many_functions(Random(1), 1), containers=()), ())
    called = [{"ip": "", "nw_dst": f"100.104.70.{number}"} for number in addresses]
    routes = tuple(
        FunctionRoute(f"f{number}", "internal_200", normalise(match), 90, Place("x", number, f"[{number}]"))
        for number, match in enumerate(called)
    )
    wide = FunctionRoute("wide", "internal_201", normalise({"ip": "", "nw_dst": prefix}), 80, Place("x", 999, "wide"))
    policy = with_routes(policy, (*routes, wide))
    return policy, compile_view(everything(policy)).entries


def test_a_packet_to_an_address_that_was_left_out_shows_nothing() -> None:
    whole = subject(*_range(range(32, 64), "100.104.70.32/27"))
    assert [finding.kind for finding in findings(whole)] == [Kind.NEVER]
    assert not accepted_by_part(whole)


def test_an_edit_takes_away_what_the_earlier_proof_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryu_apps.verify.MANY", 0)
    policy, entries = _range(range(33, 64), "100.104.70.32/27")
    proof = prove({"": entries}, policy)
    assert proof.part is not None and "100.104.70.32" in proof.witnesses
    known = {entry.identity: entry for entry in entries}
    last = FunctionRoute(
        "last", "internal_200", normalise({"ip": "", "nw_dst": "100.104.70.32"}), 90, Place("x", 1, "l")
    )
    after = with_routes(policy, (*policy.openflow.function_routing, last))
    entries = tuple(known.get(entry.identity, entry) for entry in compile_view(everything(after)).entries)
    with pytest.raises(DocumentError, match="can never match"):
        prove({"": entries}, after, earlier=proof)


def test_an_edit_that_writes_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address was like others before, and the edit has no entry that names it in its match."""
    monkeypatch.setattr("ryu_apps.verify.MANY", 0)
    policy, entries = plain()
    astray = changed(lambda _: True, table=MESH_DELIVERY, actions=(Output("warp0"),))
    entries = (*entries, *astray([entry for entry in entries if entry.place and "nw_dst" in dict(entry.match)]))
    proof = prove({"": entries}, policy)
    assert proof.alike is not None and proof.alike.left_out(OTHER)
    written = FlowEntry(MESH, 95, fields(tcp="", nw_dst=ONE), (SetField("nw_dst", OTHER), GotoTable(30)), "rewritten")
    with pytest.raises(DocumentError):
        prove({"": (*entries, written)}, policy, earlier=proof)


def _mutated(random: Random, entries: Entries) -> Entries:
    found = list(entries)
    for _ in range(random.randint(1, 2)):
        number = random.randrange(len(found))
        entry = found[number]
        match random.randrange(7):
            case 0:
                del found[number]
            case 1:
                found[number] = replace(entry, actions=random.choice(found).actions)
            case 2:
                found[number] = replace(entry, priority=random.choice((3, 91, 201, 400)))
            case 3:
                found[number] = replace(entry, match=tuple(pair for pair in entry.match if random.random() < 0.7))
            case 4:
                found[number] = replace(entry, match=random.choice(found).match)
            case 5:
                found += random_entries(random, 2)
            case 6:
                match = random_match(random, 2, ("ip", "tcp", "arp"))
                found.append(replace(random.choice(found), match=match, priority=random.choice((3, 95, 210))))
    return [entry for entry in found if _can_be_said(entry)]


def _can_be_said(entry: FlowEntry) -> bool:
    names = {name for name, _ in entry.match}
    by_ip, by_arp = names & {"nw_src", "nw_dst", "tp_src", "tp_dst"}, names & {"arp_spa", "arp_tpa"}
    words = {name for name, text in entry.match if not text}
    icmp = not names & {"icmp_type", "icmp_code"} or "icmp" in words
    transport = not names & {"tp_src", "tp_dst", "tcp_flags"} or words & {"tcp", "udp", "sctp"}
    return bool(
        (not by_ip or words & {"ip", "tcp", "udp", "sctp", "icmp"})
        and (not by_arp or "arp" in words)
        and transport
        and icmp
    )


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_what_the_part_is_accepted_with_holds_for_all(seed: int) -> None:
    random = Random(seed)
    policy = many_functions(random, 30) if seed % 2 else plain(24)[0]
    entries = _mutated(random, compile_view(everything(policy)).entries)
    whole = subject(policy, entries)
    if accepted_by_part(whole):
        assert list(findings(whole)) == []


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_edits_of_entries_alone_and_of_routes_alone(seed: int) -> None:
    random = Random(seed)
    policy, entries = plain(24)
    earlier: Likeness | None = None
    for _ in range(4):
        earlier = same_classes(earlier, subject(policy, entries))
        if random.random() < 0.3:
            routes = list(policy.openflow.function_routing)
            number = random.randrange(len(routes))
            routes[number] = replace(routes[number], target_socket=random.choice(SOCKETS))
            policy = with_routes(policy, tuple(routes))
        else:
            entries = tuple(_mutated(random, entries))


def test_the_rounds_show_both() -> None:
    """Of the rounds above some are accepted by the part, and some that are refused name few addresses."""
    told = set()
    for seed in range(0, 40, 2):
        random = Random(seed)
        policy = plain(24)[0]
        whole = subject(policy, _mutated(random, compile_view(everything(policy)).entries))
        told.add((accepted_by_part(whole), not any(findings(whole))))
    assert {(True, True), (False, False)} <= told
