"""A compiler that goes wrong is noticed: each named mutation of its output makes the verifier refuse the policy.

What is safe and yet not what was meant (a drop that is counted under another name, a function that leads to another
container) is not the verifier's to see. For those mutations a test of tests/unit/test_pipeline.py has to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import test_pipeline
from further_hops import with_further
from policy_documents import policy

from policies.model import Place
from ryu_apps.flows import classify, privacy_chain, xray_shares
from ryu_apps.flows.flow import (
    CLASSIFY,
    MESH,
    PRIVACY_CHAIN,
    Action,
    FlowEntry,
    GotoTable,
    Match,
    Output,
    SetField,
    fields,
)
from ryu_apps.flows.pipeline import compile_pipeline
from ryu_apps.verify import Kind, verify

EXAMPLE = policy(lambda router: None)
FURTHER = policy(with_further)
Entries = tuple[FlowEntry, ...]
Mutation = Callable[[Entries], Iterable[FlowEntry]]
Which = Callable[[FlowEntry], bool]


def item(name: str) -> Which:
    return lambda entry: entry.item == name


def of(name: str, **texts: str) -> Which:
    return lambda entry: entry.item == name and set(texts.items()) <= set(entry.match)


def sending(port: str) -> Which:
    return lambda entry: port in entry.outputs


def without(which: Which) -> Mutation:
    return lambda entries: [entry for entry in entries if not which(entry)]


def changed(which: Which, change: Callable[[FlowEntry], FlowEntry]) -> Mutation:
    def mutate(entries: Entries) -> Iterable[FlowEntry]:
        assert any(map(which, entries)), "the mutation finds nothing to change"
        return [change(entry) if which(entry) else entry for entry in entries]

    return mutate


def acting(which: Which, *actions: Action) -> Mutation:
    return changed(which, lambda entry: replace(entry, actions=actions))


def widened(which: Which, *names: str) -> Mutation:
    """Without these fields in the match."""
    return changed(which, lambda entry: replace(entry, match=_less(entry.match, names)))


def _less(match: Match, names: Iterable[str]) -> Match:
    return tuple(part for part in match if part[0] not in names)


def at(which: Which, priority: int) -> Mutation:
    return changed(which, lambda entry: replace(entry, priority=priority))


def also(*more: FlowEntry) -> Mutation:
    return lambda entries: [*entries, *more]


TO_XRAY, TO_WARP = item("WARP → XRay client"), item("WireGuard gateway → WARP tunnel")
BACK_TO_WARP, BACK = item("Xray client -> WARP tunnel (return)"), item("WARP tunnel -> WireGuard gateway (return)")
VECTOR_DB = of("function route vector_db", nw_dst="100.104.70.10")

REFUSED: dict[str, tuple[Mutation, Kind]] = {
    "the WARP hop's flow goes back to the gateway": (acting(TO_XRAY, Output("internal_100")), Kind.UNREACHABLE),
    "and so the clients' packets go in circles": (acting(TO_XRAY, Output("internal_100")), Kind.LOOP),
    "the chain sends to the mesh": (acting(TO_XRAY, Output("internal_200")), Kind.CROSSING),
    "the chain sends to the mesh as well": (
        acting(TO_XRAY, Output("internal_101"), Output("internal_200")),
        Kind.CROSSING,
    ),
    "the chain sends to the Netmaker port": (acting(TO_WARP, Output("nm-privacy")), Kind.CROSSING),
    "a function is served by the chain": (acting(VECTOR_DB, Output("warp0")), Kind.CROSSING),
    "the gateway skips the WARP hop": (acting(TO_WARP, Output("internal_101")), Kind.WAY_OUT),
    "Xray answers past the WARP hop": (acting(BACK_TO_WARP, Output("internal_100")), Kind.WAY_OUT),
    "the chain sends to the bridge itself": (acting(TO_WARP, Output("ovsbr0")), Kind.WAY_OUT),
    "the gateway may speak as anybody": (widened(of("admission internal_100", ip=""), "nw_src"), Kind.SPOOFING),
    "the gateway may ask as anybody": (widened(of("admission internal_100", arp=""), "arp_spa"), Kind.SPOOFING),
    "Xray may speak as anybody": (widened(of("admission internal_101", ip=""), "nw_src", "nw_dst"), Kind.SPOOFING),
    "a mesh socket may speak as anybody": (widened(of("admission internal_200", ip=""), "nw_src"), Kind.SPOOFING),
    "the whole Internet may speak from the mesh": (widened(of("admission nm-privacy", ip=""), "nw_src"), Kind.SPOOFING),
    "the WARP hop is admitted to the mesh": (acting(item("admission warp0"), GotoTable(MESH)), Kind.CROSSING),
    "any port may speak into the mesh": (
        widened(of("admission nm-privacy", ip=""), "in_port"),
        Kind.NOT_ADMITTED,
    ),
    "IPv6 is admitted": (
        lambda entries: widened(of("admission internal_100", ip=""), "ip", "nw_src")(
            tuple(without(item("ipv6 policy"))(entries))
        ),
        Kind.WAY_OUT,
    ),
    "the last entry of the chain comes first": (at(item("privacy chain: no flow"), 65535), Kind.UNREACHABLE),
    "the direction entries stand below the document's": (at(BACK, 50), Kind.UNREACHABLE),
    "no direction entries": (without(BACK), Kind.UNREACHABLE),
    "no way back from Xray": (without(BACK_TO_WARP), Kind.UNREACHABLE),
    "no ARP in the chain": (without(item("chain ARP")), Kind.UNREACHABLE),
    "no ARP answers in the chain": (
        also(FlowEntry(CLASSIFY, 500, fields(arp="", arp_op="2"), (), "no answers")),
        Kind.UNREACHABLE,
    ),
    "the document's flow left out": (without(TO_XRAY), Kind.UNREACHABLE),
    "clients' packets are rewritten to the clients": (
        acting(TO_WARP, SetField("nw_dst", "10.100.0.2"), Output("warp0")),
        Kind.UNREACHABLE,
    ),
    "answers with a port that nothing returns": (
        also(FlowEntry(PRIVACY_CHAIN, 200, fields(in_port="internal_101", tcp=""), (), "no TCP"),
             FlowEntry(PRIVACY_CHAIN, 200, fields(in_port="internal_100", udp=""), (), "no UDP")),
        Kind.UNREACHABLE,
    ),
    "a function covers the others": (
        changed(VECTOR_DB, lambda entry: replace(entry, priority=95, match=fields(ip=""))),
        Kind.NEVER,
    ),
    "a function is widened over another": (widened(VECTOR_DB, "nw_dst"), Kind.CONFLICT),
    "two flows of one match": (
        also(FlowEntry(PRIVACY_CHAIN, 100, fields(in_port="warp0"), (Output("internal_100"),), "the fourth flow")),
        Kind.CONFLICT,
    ),
    "a table goes back": (also(FlowEntry(MESH, 3, fields(ip=""), (GotoTable(PRIVACY_CHAIN),), "back")), Kind.LOOP),
    "a table goes to itself": (also(FlowEntry(MESH, 3, fields(ip=""), (GotoTable(MESH),), "again")), Kind.LOOP),
}  # fmt: skip


def test_the_compiler_as_it_is() -> None:
    assert verify({"": compile_pipeline(EXAMPLE)}, EXAMPLE) == ()


@pytest.mark.parametrize("name", REFUSED)
def test_a_mutated_output_is_refused(name: str) -> None:
    mutate, kind = REFUSED[name]
    found = verify({"": tuple(mutate(compile_pipeline(EXAMPLE)))}, EXAMPLE)
    assert kind in {finding.kind for finding in found}, "\n".join(map(str, found))
    assert all(finding.packet for finding in found)


SHARE_OF_103 = of("WARP tunnel -> Xray client 103", nw_src="10.100.0.1/255.255.255.1")
FROM_102, BACK_TO_102 = (
    item("WireGuard gateway 102 -> WARP tunnel"),
    item("WARP tunnel -> WireGuard gateway 102 (return)"),
)

REFUSED_FURTHER: dict[str, tuple[Mutation, Kind]] = {
    "a share goes to another Xray": (acting(SHARE_OF_103, Output("internal_101")), Kind.APART),
    "a share goes to both": (acting(SHARE_OF_103, Output("internal_101"), Output("internal_103")), Kind.APART),
    "an Xray takes every client": (widened(SHARE_OF_103, "nw_src"), Kind.CONFLICT),
    "an Xray takes every client, above": (
        changed(SHARE_OF_103, lambda entry: replace(entry, priority=30, match=_less(entry.match, ("nw_src",)))),
        Kind.APART,
    ),
    "a share is left out": (without(SHARE_OF_103), Kind.UNREACHABLE),
    "the WARP hop's flow goes past the shares": (acting(TO_XRAY, Output("internal_101")), Kind.APART),
    "an Xray's server does not reach it": (
        without(of("WARP tunnel -> Xray client 103", nw_dst="10.99.0.103")),
        Kind.UNREACHABLE,
    ),
    "addresses before shares": (at(of("WARP tunnel -> Xray client", nw_dst="10.99.0.101"), 30), Kind.APART),
    "clients are not kept apart": (without(item("clients apart")), Kind.APART),
    "clients of one gateway call those of the other": (
        without(of("clients apart", nw_src="10.100.1.0/24", nw_dst="10.100.0.0/24")),
        Kind.APART,
    ),
    "clients of one gateway call the other": (without(of("clients apart", nw_dst="10.99.0.102")), Kind.APART),
    "a gateway speaks for all clients": (
        widened(of("admission internal_102", nw_src="10.100.1.0/24"), "nw_src"),
        Kind.SPOOFING,
    ),
    "an Xray answers all clients": (
        widened(of("admission internal_103", nw_dst="10.100.0.1/255.255.255.1"), "nw_dst"),
        Kind.SPOOFING,
    ),
    "no way from a gateway": (without(FROM_102), Kind.UNREACHABLE),
    "no way back to a gateway": (without(BACK_TO_102), Kind.UNREACHABLE),
    "one gateway sends to the other": (acting(FROM_102, Output("internal_100")), Kind.WAY_OUT),
    "what is for one gateway goes to the other": (acting(BACK_TO_102, Output("internal_100")), Kind.APART),
    "one Xray sends to the other": (
        acting(item("Xray client 103 -> WARP tunnel (return)"), Output("internal_101")),
        Kind.WAY_OUT,
    ),
    "an Xray is not asked for": (without(of("chain ARP", arp_tpa="10.99.0.103")), Kind.UNREACHABLE),
    "a gateway is not asked for": (without(of("chain ARP", arp_tpa="10.99.0.102")), Kind.UNREACHABLE),
    "a further hop sends to the mesh": (acting(FROM_102, Output("internal_200")), Kind.CROSSING),
}


def test_the_compiler_with_further_hops() -> None:
    assert verify({"": compile_pipeline(FURTHER)}, FURTHER) == ()


@pytest.mark.parametrize("name", REFUSED_FURTHER)
def test_a_mutated_output_of_further_hops_is_refused(name: str) -> None:
    mutate, kind = REFUSED_FURTHER[name]
    before = compile_pipeline(FURTHER)
    after = tuple(mutate(before))
    assert after != before
    found = verify({"": after}, FURTHER)
    assert kind in {finding.kind for finding in found}, "\n".join(map(str, found))
    assert all(finding.packet for finding in found)


@pytest.mark.parametrize(
    ("module", "name", "value", "kind"),
    [
        (classify, "_clients_apart", lambda plan: iter(()), Kind.APART),
        (classify, "CLIENTS_APART", 150, Kind.APART),
        (xray_shares, "SHARE", 5, Kind.APART),
        (privacy_chain, "share_entries", lambda plan: iter(()), Kind.UNREACHABLE),
        (privacy_chain, "to_xray", lambda plan: Output(plan.of("xray")[0].port), Kind.UNREACHABLE),
    ],
)
def test_a_mutated_compiler_of_further_hops_is_refused(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, value: object, kind: Kind
) -> None:
    monkeypatch.setattr(module, name, value)
    assert kind in {finding.kind for finding in verify({"": compile_pipeline(FURTHER)}, FURTHER)}


@pytest.mark.parametrize(
    ("module", "name", "value", "kind"),
    [
        (classify, "ADMISSION", 50, Kind.UNREACHABLE),
        (classify, "ANTI_SPOOFING", 250, Kind.UNREACHABLE),
        (classify, "PRIVACY_CHAIN", MESH, Kind.CROSSING),
        (classify, "_TO", dict.fromkeys((PRIVACY_CHAIN, MESH), (GotoTable(PRIVACY_CHAIN),)), Kind.NEVER),
        (privacy_chain, "_links", lambda plan: iter(()), Kind.UNREACHABLE),
        (privacy_chain, "_directions", lambda plan, priority: iter(()), Kind.UNREACHABLE),
    ],
)
def test_a_mutated_compiler_is_refused(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, value: object, kind: Kind
) -> None:
    monkeypatch.setattr(module, name, value)
    found = {finding.kind for finding in verify({"": compile_pipeline(EXAMPLE)}, EXAMPLE)}
    assert kind in found


def test_entries_for_a_hop_that_left_the_chain() -> None:
    less = replace(EXAMPLE, xray=replace(EXAMPLE.xray, enabled=False))
    found = verify({"": compile_pipeline(EXAMPLE)}, less)
    assert Kind.WAY_OUT in {finding.kind for finding in found}


UNSEEN: dict[str, tuple[Mutation, Callable[..., None], tuple[object, ...]]] = {
    "IPv6 is dropped, but under another name": (
        without(item("ipv6 policy")),
        test_pipeline.test_dropped_under_its_name,
        ({"in_port": "warp0", "ipv6": ""}, "ipv6 policy"),
    ),
    "what came from the mesh is not told from what goes there": (
        without(lambda entry: entry.item == "mesh: no function" and entry.in_port is not None),
        test_pipeline.test_dropped_under_its_name,
        (test_pipeline.ip("nm-privacy", test_pipeline.REMOTE, test_pipeline.REMOTE), "mesh: no function"),
    ),
    "a function leads to another container": (
        acting(VECTOR_DB, Output("internal_201")),
        test_pipeline.test_forwarded,
        (test_pipeline.ip("nm-privacy", test_pipeline.REMOTE, test_pipeline.VECTOR_DB), "internal_200"),
    ),
    "nobody answers for a function's address": (
        without(of("function route vector_db", arp="")),
        test_pipeline.test_forwarded,
        (test_pipeline.arp("nm-privacy", test_pipeline.REMOTE, test_pipeline.VECTOR_DB), "internal_200"),
    ),
    "a mesh socket is admitted to the chain, where nothing takes its packets": (
        acting(item("admission internal_200"), GotoTable(PRIVACY_CHAIN)),
        test_pipeline.test_forwarded,
        (test_pipeline.ip("internal_200", test_pipeline.VECTOR_DB, test_pipeline.BUCKET), "internal_201"),
    ),
    "no way to other nodes": (
        without(item("mesh egress nm-privacy")),
        test_pipeline.test_forwarded,
        (test_pipeline.ip("internal_200", test_pipeline.VECTOR_DB, test_pipeline.REMOTE), "nm-privacy"),
    ),
    "the document's flow under another name": (
        changed(TO_WARP, lambda entry: replace(entry, item="flow")),
        test_pipeline.test_the_documents_flows_are_there_as_written,
        (),
    ),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_what_is_safe_but_wrong_fails_a_test_of_the_pipeline(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    mutate, test, arguments = UNSEEN[name]
    test(*arguments)
    monkeypatch.setattr(test_pipeline, "compile_pipeline", lambda policy: tuple(mutate(compile_pipeline(policy))))
    with pytest.raises(AssertionError):
        test(*arguments)


def test_a_finding_names_the_lines_that_cause_it() -> None:
    (finding,) = [
        finding
        for finding in verify({"": tuple(widened(VECTOR_DB, "nw_dst")(compile_pipeline(EXAMPLE)))}, EXAMPLE)
        if finding.kind is Kind.CONFLICT
    ]
    assert {place.path for place in finding.places} == {
        "privacy_router.openflow.function_routing[0]",
        "privacy_router.openflow.function_routing[1]",
    }
    assert isinstance(finding.problem("policy.json").place, Place)
