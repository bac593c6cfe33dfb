"""The compiled pipeline, told by packets: which port a packet leaves by, and under which item it was decided."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import product
from pathlib import Path

import pytest

from policies.load import load
from policies.model import FunctionRoute, OpenFlow, PrivacyFlow, PrivacyRouter, Socket
from ryu_apps.flows.flow import CLASSIFY, FlowEntry, GotoTable, fields
from ryu_apps.flows.pipeline import compile_pipeline
from ryu_apps.openflow.ofctl import entry_text

EXAMPLE = load(Path(__file__).parents[2] / "policies/documents/privacy-router.json")
PRIVACY = ("internal_100", "warp0", "internal_101")
MESH_PORTS = ("internal_200", "internal_201", "nm-privacy")
CLIENT, TARGET = "10.100.0.2", "203.0.113.9"
GATEWAY, WARP, XRAY = "10.99.0.100", "10.99.0.1", "10.99.0.101"
VECTOR_DB, BUCKET, REMOTE = "100.104.70.10", "100.104.70.11", "100.104.70.77"
_TYPES = {"ip": "ip", "tcp": "ip", "udp": "ip", "icmp": "ip", "arp": "arp", "ipv6": "ipv6"}

Packet = dict[str, str]


def ip(in_port: str, source: str, target: str, **more: str) -> Packet:
    return {"in_port": in_port, "ip": "", "nw_src": source, "nw_dst": target, **more}


def arp(in_port: str, sender: str, target: str) -> Packet:
    return {"in_port": in_port, "arp": "", "arp_spa": sender, "arp_tpa": target}


def matches(entry: FlowEntry, packet: Packet) -> bool:
    return all(name in packet and _fits(text, packet[name]) for name, text in entry.match)


def _fits(text: str, value: str) -> bool:
    if text == value:
        return True
    try:
        return ip_address(value) in ip_network(text)
    except ValueError:
        return False


def walk(policy: PrivacyRouter, packet: Packet) -> tuple[str | None, str]:
    """(port the packet leaves by or None, item of the last entry it met); no packet leaves by the port it came from."""
    entries = compile_pipeline(policy)
    table = CLASSIFY
    while True:
        entry = next(entry for entry in entries if entry.table == table and matches(entry, packet))
        if entry.actions and isinstance(entry.actions[0], GotoTable):
            table = entry.actions[0].table
            continue
        out = entry.outputs[0] if entry.outputs else None
        return (None if out == packet["in_port"] else out), entry.item


@pytest.mark.parametrize(
    ("packet", "port"),
    [
        (ip("internal_100", CLIENT, TARGET), "warp0"),  # client -> WARP hop
        (ip("warp0", CLIENT, TARGET), "internal_101"),  # -> Xray
        (ip("internal_101", XRAY, TARGET), "warp0"),  # Xray's own packets -> WARP device
        (ip("warp0", TARGET, XRAY), "internal_101"),  # the VPS's answer -> Xray
        (ip("internal_101", TARGET, CLIENT), "warp0"),  # answer to the client, in the target's name
        (ip("warp0", TARGET, CLIENT), "internal_100"),  # -> gateway
        (ip("warp0", WARP, GATEWAY), "internal_100"),  # ICMP errors of the hop
        (arp("internal_100", GATEWAY, WARP), "warp0"),
        (arp("warp0", WARP, GATEWAY), "internal_100"),
        (arp("warp0", WARP, XRAY), "internal_101"),
        (arp("internal_101", XRAY, WARP), "warp0"),
        (ip("internal_200", VECTOR_DB, BUCKET), "internal_201"),
        (arp("internal_200", VECTOR_DB, BUCKET), "internal_201"),
        (ip("nm-privacy", REMOTE, VECTOR_DB), "internal_200"),
        (arp("nm-privacy", REMOTE, VECTOR_DB), "internal_200"),
        (ip("internal_200", VECTOR_DB, REMOTE), "nm-privacy"),
        (arp("internal_200", VECTOR_DB, REMOTE), "nm-privacy"),
    ],
)
def test_forwarded(packet: Packet, port: str) -> None:
    assert walk(EXAMPLE, packet)[0] == port


@pytest.mark.parametrize(
    ("packet", "item"),
    [
        (ip("internal_100", "192.0.2.5", TARGET), "anti-spoofing internal_100"),
        (arp("internal_100", WARP, XRAY), "anti-spoofing internal_100"),
        (arp("warp0", GATEWAY, XRAY), "anti-spoofing warp0"),
        (ip("internal_101", TARGET, "198.51.100.1"), "anti-spoofing internal_101"),
        (ip("internal_200", BUCKET, VECTOR_DB), "anti-spoofing internal_200"),
        (arp("internal_200", BUCKET, VECTOR_DB), "anti-spoofing internal_200"),
        (ip("nm-privacy", TARGET, VECTOR_DB), "anti-spoofing nm-privacy"),
        ({"in_port": "internal_200", "ipv6": ""}, "anti-spoofing internal_200"),
        *(({"in_port": port, "ipv6": ""}, "ipv6 policy") for port in PRIVACY),
        (ip("ovsbr0", "10.99.0.100", WARP), "not admitted"),
        (ip("nm-privacy", REMOTE, REMOTE), "mesh: no function"),
        (ip("internal_200", VECTOR_DB, TARGET), "mesh: no function"),
    ],
)
def test_dropped_under_its_name(packet: Packet, item: str) -> None:
    assert walk(EXAMPLE, packet) == (None, item)


def test_no_packet_crosses_between_privacy_and_mesh() -> None:
    addresses = (CLIENT, TARGET, GATEWAY, WARP, XRAY, VECTOR_DB, BUCKET, REMOTE)
    for source, target in product(addresses, repeat=2):
        for port in PRIVACY:
            for packet in (ip(port, source, target), arp(port, source, target)):
                assert walk(EXAMPLE, packet)[0] not in MESH_PORTS
        for port in MESH_PORTS:
            for packet in (ip(port, source, target), arp(port, source, target)):
                assert walk(EXAMPLE, packet)[0] not in PRIVACY


def test_the_documents_flows_are_there_as_written() -> None:
    texts = [entry_text(entry).split(",", 1)[1] for entry in compile_pipeline(EXAMPLE)]
    for text in (
        "table=10,priority=100,in_port=internal_100,actions=output:warp0",
        "table=10,priority=100,in_port=warp0,actions=output:internal_101",
        "table=10,priority=100,in_port=internal_101,actions=output:warp0",
        "table=10,priority=110,ip,in_port=warp0,nw_dst=10.100.0.0/24,actions=output:internal_100",
        "table=20,priority=90,ip,nw_dst=100.104.70.10,actions=output:internal_200",
        "table=20,priority=90,ip,nw_dst=100.104.70.11,actions=output:internal_201",
    ):
        assert text in texts
    items = {entry.item for entry in compile_pipeline(EXAMPLE)}
    assert {"WireGuard gateway → WARP tunnel", "Xray client -> WARP tunnel (return)"} <= items


def test_identities_are_unique() -> None:
    entries = compile_pipeline(EXAMPLE)
    assert len({entry.identity for entry in entries}) == len(entries)


def test_without_flows_in_the_document_the_chain_follows_from_its_hops() -> None:
    policy = replace(EXAMPLE, openflow=replace(EXAMPLE.openflow, privacy_flows=()))
    for packet, port in (
        (ip("internal_100", CLIENT, TARGET), "warp0"),
        (ip("warp0", CLIENT, TARGET), "internal_101"),
        (ip("internal_101", TARGET, CLIENT), "warp0"),
        (ip("warp0", TARGET, CLIENT), "internal_100"),
    ):
        assert walk(policy, packet)[0] == port


def test_without_xray_everything_from_warp_goes_back_to_the_gateway() -> None:
    policy = replace(EXAMPLE, xray=replace(EXAMPLE.xray, enabled=False))
    assert walk(policy, ip("internal_100", CLIENT, TARGET))[0] == "warp0"
    assert walk(policy, ip("warp0", TARGET, CLIENT))[0] == "internal_100"
    assert walk(policy, ip("warp0", TARGET, "198.51.100.1"))[0] == "internal_100"
    assert walk(policy, ip("internal_101", XRAY, TARGET)) == (None, "not admitted")
    assert "internal_101" not in {port for entry in compile_pipeline(policy) for port in entry.ports}


def test_without_warp_xray_has_no_way_out() -> None:
    policy = replace(EXAMPLE, warp=replace(EXAMPLE.warp, enabled=False))
    assert walk(policy, ip("internal_100", CLIENT, TARGET))[0] == "internal_101"
    assert walk(policy, ip("internal_101", TARGET, CLIENT))[0] == "internal_100"
    assert walk(policy, ip("internal_101", XRAY, TARGET)) == (None, "privacy chain: no flow")


def test_a_narrowed_flow_keeps_arp_working() -> None:
    only_tcp = PrivacyFlow(500, fields(in_port="internal_100", tcp=""), ("output:warp0",), "only TCP")
    policy = replace(EXAMPLE, openflow=replace(EXAMPLE.openflow, privacy_flows=(only_tcp,)))
    tcp = ip("internal_100", CLIENT, TARGET, tcp="")
    assert walk(policy, tcp) == ("warp0", "only TCP")
    assert walk(policy, ip("internal_100", CLIENT, TARGET)) == (None, "privacy chain: no flow")
    assert walk(policy, arp("internal_100", GATEWAY, WARP))[0] == "warp0"
    assert walk(policy, ip("warp0", TARGET, CLIENT))[0] == "internal_100"


def test_openflow_disabled_forwards_nothing() -> None:
    policy = replace(EXAMPLE, openflow=replace(EXAMPLE.openflow, enabled=False))
    assert [(entry.table, entry.priority, entry.actions) for entry in compile_pipeline(policy)] == [
        (0, 0, ()),
        (10, 0, ()),
        (20, 0, ()),
        (30, 0, ()),
    ]


def test_without_netmaker_the_mesh_stays_on_the_node() -> None:
    policy = replace(EXAMPLE, netmaker=replace(EXAMPLE.netmaker, enabled=False))
    assert walk(policy, ip("internal_200", VECTOR_DB, BUCKET))[0] == "internal_201"
    assert walk(policy, ip("internal_200", VECTOR_DB, REMOTE)) == (None, "mesh: no function")
    assert walk(policy, ip("nm-privacy", REMOTE, VECTOR_DB)) == (None, "not admitted")


def test_a_socket_without_a_function_may_send_nothing() -> None:
    sockets = EXAMPLE.socket_networking
    more = replace(sockets, mesh_sockets=(*sockets.mesh_sockets, Socket("internal_202", 202, "mesh")))
    packet = ip("internal_202", "100.104.70.12", VECTOR_DB)
    assert walk(replace(EXAMPLE, socket_networking=more), packet) == (None, "anti-spoofing internal_202")


def test_the_documents_word_stands_before_a_derived_entry() -> None:
    whole_mesh = FunctionRoute("archive", "internal_200", fields(ip="", nw_dst="100.104.70.0/24"), priority=1)
    policy = replace(EXAMPLE, openflow=OpenFlow(function_routing=(whole_mesh, *EXAMPLE.openflow.function_routing)))
    assert walk(policy, ip("internal_201", BUCKET, REMOTE)) == ("internal_200", "function route archive")


def test_another_privacy_socket_is_admitted_with_its_own_address_only() -> None:
    sockets = EXAMPLE.socket_networking
    more = replace(sockets, privacy_sockets=(*sockets.privacy_sockets, Socket("internal_102", 102, "privacy")))
    policy = replace(EXAMPLE, socket_networking=more)
    assert walk(policy, ip("internal_102", "10.99.0.102", TARGET))[1] == "privacy chain: no flow"
    assert walk(policy, ip("internal_102", GATEWAY, TARGET))[1] == "anti-spoofing internal_102"
