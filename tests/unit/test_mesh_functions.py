"""Functions on one node and two: who is reached, by which way, who is answered, and what is dropped as what."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address

import pytest
from mesh_examples import BUCKET, OWN, PLACES, SEARCH, VECTOR_DB, compiled, document, policy

from ryu_apps.flows.backends import shares
from ryu_apps.flows.flow import MESH, FlowEntry
from ryu_apps.flows.pipeline import compile_pipeline
from ryu_apps.packets.simulate import Trace, simulate
from ryu_apps.verify import verify

UPLINK = "nm-privacy"
C202, C203, C204 = OWN[202], OWN[203], OWN[204]


def sent(entries: tuple[FlowEntry, ...], packet: str) -> list[tuple[str, str, str]]:
    """(port, source, destination) of each copy that leaves."""
    return [(it.port, dict(it.packet)["nw_src"], dict(it.packet)["nw_dst"]) for it in trace(entries, packet).sent]


def trace(entries: tuple[FlowEntry, ...], packet: str) -> Trace:
    return simulate(entries, packet)


def dropped(entries: tuple[FlowEntry, ...], packet: str) -> str:
    """The item under which it is dropped."""
    found = trace(entries, packet)
    assert not found.sent, found
    assert found.last is not None
    return found.last.item


def test_a_function_on_another_node_is_reached_by_the_uplink_and_there_by_its_socket() -> None:
    packet = f"tcp,nw_src={VECTOR_DB},nw_dst={BUCKET},tp_src=40000,tp_dst=9000"
    assert sent(compiled("a"), f"in_port=internal_200,{packet}") == [(UPLINK, VECTOR_DB, BUCKET)]
    assert sent(compiled("b"), f"in_port={UPLINK},{packet}") == [("internal_201", VECTOR_DB, BUCKET)]


def test_its_answer_comes_back() -> None:
    packet = f"tcp,nw_src={BUCKET},nw_dst={VECTOR_DB},tp_src=9000,tp_dst=40000"
    assert sent(compiled("b"), f"in_port=internal_201,{packet}") == [(UPLINK, BUCKET, VECTOR_DB)]
    assert sent(compiled("a"), f"in_port={UPLINK},{packet}") == [("internal_200", BUCKET, VECTOR_DB)]


def test_a_function_serves_its_protocol_and_port_only() -> None:
    for other in ("tcp,tp_dst=9001", "udp,tp_dst=9000", "icmp,icmp_type=8"):
        packet = f"in_port={UPLINK},{other},nw_src={C204},nw_dst={BUCKET}"
        assert dropped(compiled("b"), packet) == f"mesh: {BUCKET} does not serve that"


def test_who_serves_one_port_is_answered_by_others() -> None:
    asked = f"nw_src={VECTOR_DB},nw_dst={BUCKET},tp_src=443,tp_dst=40000"
    answer = f"in_port={UPLINK},tcp,tcp_flags=0x12,{asked}"
    assert sent(compiled("b"), answer) == [("internal_201", VECTOR_DB, BUCKET)]
    call = f"in_port={UPLINK},tcp,tcp_flags=0x2,{asked}"
    assert dropped(compiled("b"), call) == f"mesh: {BUCKET} does not serve that"


def test_icmp_errors_reach_who_serves_one_port() -> None:
    packet = f"in_port={UPLINK},icmp,icmp_type=3,icmp_code=4,nw_src=100.104.70.1,nw_dst={BUCKET}"
    assert sent(compiled("b"), packet) == [("internal_201", "100.104.70.1", BUCKET)]


def test_a_client_without_a_function_is_answered_and_not_called() -> None:
    question = f"in_port=internal_204,udp,nw_src={C204},nw_dst={VECTOR_DB},tp_src=5000,tp_dst=53"
    assert sent(compiled("a"), question) == [("internal_200", C204, VECTOR_DB)]
    answer = f"in_port=internal_200,udp,nw_src={VECTOR_DB},nw_dst={C204},tp_src=53,tp_dst=5000"
    assert sent(compiled("a"), answer) == [("internal_204", VECTOR_DB, C204)]
    call = f"in_port=internal_202,tcp,nw_src={C202},nw_dst={C204},tp_src=5000,tp_dst=22"
    assert dropped(compiled("a"), call) == f"mesh: {C204} does not serve that"


def test_a_caller_has_one_back_end_whichever_node_it_is_on() -> None:
    packet = "in_port={0},udp,nw_src={1},nw_dst=" + SEARCH + ",tp_src=5000,tp_dst=6333"
    even, odd = packet.format("internal_204", C204), packet.format(UPLINK, "100.104.70.99")
    assert sent(compiled("a"), even) == [("internal_202", C204, SEARCH)]
    assert sent(compiled("b"), odd) == [("internal_203", "100.104.70.99", SEARCH)]


def test_a_back_end_on_another_node_is_called_by_its_own_address_and_answers_as_the_function() -> None:
    places = {"a": [200, 201, 203, 204], "b": [202]}
    here, there = compiled("a", places=places), compiled("b", places=places)
    call = f"udp,nw_src={C204},nw_dst={{}},tp_src=5000,tp_dst=6333"
    assert sent(here, f"in_port=internal_204,{call.format(SEARCH)}") == [(UPLINK, C204, C202)]
    assert sent(there, f"in_port={UPLINK},{call.format(C202)}") == [("internal_202", C204, C202)]
    answer = f"udp,nw_src={C202},nw_dst={C204},tp_src=6333,tp_dst=5000"
    assert sent(there, f"in_port=internal_202,{answer}") == [(UPLINK, C202, C204)]
    assert sent(here, f"in_port={UPLINK},{answer}") == [("internal_204", SEARCH, C204)]


def test_the_last_back_end_takes_all_calls_wherever_it_is() -> None:
    places = {"a": [200, 201, 204], "b": [203]}
    for source in ("100.104.70.99", C204):
        packet = f"in_port=internal_204,udp,nw_src={source},nw_dst={SEARCH},tp_src=5000,tp_dst=6333"
        expected = [(UPLINK, source, C203)] if source == C204 else []
        assert sent(compiled("a", places=places), packet) == expected


def test_a_function_without_a_container_is_dropped_and_says_so() -> None:
    places = {"a": [201, 204], "b": []}
    entries = compiled("a", places=places)
    packet = "in_port=internal_204,udp,nw_src={0},nw_dst={1},tp_src=5000,tp_dst=6333"
    assert dropped(entries, packet.format(C204, VECTOR_DB)) == "function vector_db: container 200 is absent"
    assert dropped(entries, packet.format(C204, SEARCH)) == "function search: container 202, 203 is absent"


def test_without_netmaker_the_other_node_is_out_of_reach_and_its_back_ends_are_passed_over() -> None:
    given = document()
    given["privacy_router"]["netmaker"]["enabled"] = False
    entries = compiled("a", policy(given))
    packet = "in_port=internal_204,{0},nw_src=" + C204 + ",nw_dst={1},tp_src=5000,tp_dst={2}"
    name = "function bucket: its container is on b, and netmaker is off"
    assert dropped(entries, packet.format("tcp", BUCKET, 9000)) == name
    assert sent(entries, packet.format("udp", SEARCH, 6333)) == [("internal_202", C204, SEARCH)]


def test_a_socket_speaks_with_its_own_address_and_its_functions_only() -> None:
    packet = "in_port=internal_202,udp,nw_src={0},nw_dst=" + VECTOR_DB
    for source in (C202, SEARCH):
        assert sent(compiled("a"), packet.format(source))
    for source in (C203, C204, VECTOR_DB):
        assert dropped(compiled("a"), packet.format(source)) == "anti-spoofing internal_202"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 16])
def test_every_source_has_one_back_end_and_none_has_much_more_than_another(count: int) -> None:
    every = [f"b{n}" for n in range(count)]
    taken = Counter(dealt_by(every, every))
    assert len(taken) == count
    assert max(taken.values()) <= 1.3 * min(taken.values())


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 16])
def test_when_a_back_end_goes_its_sources_alone_move_and_not_all_to_one(count: int) -> None:
    every = [f"b{n}" for n in range(count)]
    for gone in every:
        present = [each for each in every if each != gone]
        before, after = dealt_by(every, every), dealt_by(every, present)
        assert all(now == former for former, now in zip(before, after, strict=True) if former != gone)
        assert {now for former, now in zip(before, after, strict=True) if former == gone} == set(present)


def _bits(text: str) -> tuple[int, int]:
    value, mask = (int(IPv4Address(part)) for part in text.split("/"))
    return value, mask


def dealt_by(listed: list[str], present: list[str]) -> list[str]:
    """Of each source its one back end."""
    covered = [(*_bits(text or "0.0.0.0/0.0.0.0"), back_end) for text, back_end in shares(listed, present)]
    found = []
    for source in range(4096):
        (of,) = [back_end for value, mask, back_end in covered if source & mask == value]
        found.append(of)
    return found


@pytest.mark.parametrize(
    "places",
    [PLACES, {"a": [200, 201, 202, 203, 204], "b": []}, {"a": [204], "b": [200, 202]}, {"a": [], "b": [203]}],
)
def test_every_node_s_entries_are_proved(places: dict[str, list[int]]) -> None:
    for name in places:
        assert verify({name: compiled(name, places=places)}, policy()) == ()


def test_a_policy_of_whole_addresses_needs_no_third_table() -> None:
    given = document()
    root = given["privacy_router"]
    root["openflow"]["function_routing"] = root["openflow"]["function_routing"][:1]
    root["containers"] = []
    entries = compile_pipeline(policy(given))
    assert not [entry for entry in entries if entry.table > MESH and entry.priority]
