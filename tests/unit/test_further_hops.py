"""Several gateways and Xrays in one chain: what the document may say of them, and what both sides make of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from further_hops import with_further
from host_examples import FACTS, IDENTITY, KEYS, SERVER, key, wanted
from policy_documents import Change, changed, policy, problems

from host_agent.errors import Refused
from host_agent.explain.entry import packet, way
from host_agent.explain.rules import Packet, Place, meet
from host_agent.facts.identity import GatewayKeys
from host_agent.facts.profile import read_profile
from host_agent.facts.values import public_key
from host_agent.state import EVERY_IPV4, HostState, Peer, Secret, filter_rule
from policies.host_model import Policy
from policies.placement import view_of
from ryu_apps.flows.flow import PRIVACY_CHAIN, XRAY_SHARES, GotoTable, Output
from ryu_apps.flows.pipeline import compile_node, compile_pipeline
from ryu_apps.packets.simulate import FlowTables
from ryu_apps.policy.file import compile_document
from ryu_apps.rest.view_chain import chain_view
from ryu_apps.verify import verify
from topology.nodes import Node, Topology

Router = dict[str, Any]
FURTHER = policy(with_further)
KEYS_102 = GatewayKeys("-102", Secret(key(13)), Secret(key(14)), Secret(key(15)))
FURTHER_FACTS = replace(FACTS, identity=replace(IDENTITY, gateways={100: KEYS, 102: KEYS_102}))
EVEN, ODD, OF_102 = "10.100.0.2", "10.100.0.3", "10.100.1.3"
WEB = "198.51.100.80"


def further(change: Change) -> Change:
    def both(router: Router) -> None:
        with_further(router)
        change(router)

    return both


def gateway(router: Router) -> Router:
    return router["wireguard"]["further"][0]  # type: ignore[no-any-return]


def xray(router: Router) -> Router:
    return router["xray"]["further"][0]  # type: ignore[no-any-return]


# The document


def test_what_is_left_open_is_as_with_the_first() -> None:
    made = policy(further(lambda router: router["wireguard"].update(endpoint="gw.example.com", dns=["192.0.2.53"])))
    (more,) = made.wireguard.further
    assert (more.socket_port, more.device, more.listen_port) == ("internal_102", "wg102", 51821)
    assert (more.endpoint, more.dns) == ("gw.example.com", (IPv4Address("192.0.2.53"),))
    (other,) = made.xray.further
    assert (other.socket_port, other.vps_address, other.vps_port) == ("internal_103", "vps.example.com", 443)
    assert [str(subnet) for subnet in made.client_subnets] == ["10.100.0.0/24", "10.100.1.0/24"]


def test_the_server_of_the_first_may_stand_in_the_vps_alone() -> None:
    made = policy(further(lambda router: router["xray"].pop("vps_address")))
    assert made.xray.further[0].vps_address == "vps.example.com"


def flow(match: Router, *actions: str) -> Change:
    return lambda router: router["openflow"]["privacy_flows"].append(
        {"priority": 200, "match_fields": match, "actions": list(actions)}
    )


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        (lambda it: gateway(it).pop("listen_port"), "wireguard.further[0].listen_port", "missing"),
        (lambda it: gateway(it).pop("client_subnet"), "wireguard.further[0].client_subnet", "missing"),
        (lambda it: xray(it).pop("container_id"), "xray.further[0].container_id", "missing"),
        (lambda it: gateway(it).update(further=[]), "wireguard.further[0].further", "unknown key"),
        (lambda it: gateway(it).update(listen_port=51820), "wireguard.further[0].listen_port", "another gateway's"),
        (
            lambda it: gateway(it).update(client_subnet="10.100.0.128/25"),
            "wireguard.further[0].client_subnet",
            "overlaps chain.client_subnet",
        ),
        (
            lambda it: it["netmaker"].update(subnet="10.100.1.0/26"),
            "wireguard.further[0].client_subnet",
            "overlaps netmaker.subnet",
        ),
        (lambda it: gateway(it).update(device="wg100"), "wireguard.further[0].device", "rename one"),
        (lambda it: xray(it).update(container_id=101), "xray.further[0].container_id", "used twice"),
        (lambda it: xray(it).update(container_id=203), "xray.further[0].container_id", "its containers are 100 to 199"),
        (lambda it: xray(it).update(socket_port="internal_9"), "xray.further[0].socket_port", "is no privacy socket"),
        (lambda it: xray(it).update(vps_address="10.100.1.9"), "xray.further[0].vps_address", "a machine elsewhere"),
        (lambda it: xray(it).update(socks_port=12345), "xray.further[0].tproxy_port", "socks_port as well"),
        (
            flow({"in_port": "warp0", "udp": ""}, "output:internal_103"),
            "openflow.privacy_flows[2].actions[0]",
            'send to "internal_101", which stands for all',
        ),
        (
            flow({"in_port": "warp0", "udp": ""}, "output:internal_101", "output:internal_100"),
            "openflow.privacy_flows[2].actions[0]",
            "must be the last action",
        ),
    ],
)
def test_refused(change: Change, path: str, message: str) -> None:
    found = problems(changed(further(change)))
    assert any(at == f"privacy_router.{path}" and message in said for at, _, said in found), found


def test_a_chain_needs_one_of_each_and_no_matter_which() -> None:
    def first_ones_off(router: Router) -> None:
        router["wireguard"]["enabled"] = router["xray"]["enabled"] = False
        router["openflow"]["privacy_flows"] = []

    made = policy(further(first_ones_off))
    assert verify({"": compile_pipeline(made)}, made) == ()
    found = problems(
        changed(further(lambda it: (it["wireguard"].update(enabled=False), gateway(it).update(enabled=False))))
    )
    assert any("no entrance" in said for _, _, said in found)


# The switch


def sent(tables: FlowTables, in_port: str, source: str, target: str) -> tuple[str, ...]:
    return tables.trace({"in_port": in_port, "udp": "", "nw_src": source, "nw_dst": target}).ports


@pytest.mark.parametrize(
    ("in_port", "source", "target", "ports"),
    [
        ("internal_102", OF_102, WEB, ("warp0",)),
        ("internal_102", EVEN, WEB, ()),
        ("internal_100", OF_102, WEB, ()),
        ("warp0", EVEN, WEB, ("internal_101",)),
        ("warp0", ODD, WEB, ("internal_103",)),
        ("warp0", OF_102, WEB, ("internal_103",)),
        ("warp0", ODD, "10.99.0.101", ("internal_103",)),
        ("warp0", WEB, "10.99.0.103", ("internal_103",)),
        ("warp0", WEB, "10.99.0.101", ("internal_101",)),
        ("warp0", WEB, WEB, ()),
        ("warp0", WEB, ODD, ("internal_100",)),
        ("warp0", WEB, OF_102, ("internal_102",)),
        ("warp0", EVEN, OF_102, ()),
        ("warp0", OF_102, EVEN, ()),
        ("warp0", OF_102, "10.99.0.100", ()),
        ("internal_103", WEB, ODD, ("warp0",)),
        ("internal_103", WEB, EVEN, ()),
        ("internal_101", WEB, OF_102, ()),
        ("internal_103", "10.99.0.103", WEB, ("warp0",)),
        ("internal_103", "10.99.0.101", WEB, ()),
    ],
)
def test_packets(in_port: str, source: str, target: str, ports: tuple[str, ...]) -> None:
    assert sent(FlowTables(compile_pipeline(FURTHER)), in_port, source, target) == ports


def test_the_documents_own_flows_hold_for_every_xray() -> None:
    made = policy(further(flow({"in_port": "warp0", "udp": "", "tp_dst": 53}, "drop")))
    tables = FlowTables(compile_pipeline(made))
    for source in (EVEN, ODD, OF_102):
        dns = {"in_port": "warp0", "udp": "", "nw_src": source, "nw_dst": WEB, "tp_dst": 53}
        assert tables.trace(dns).ports == ()
    (to_xray,) = [it for it in compile_pipeline(made) if it.item == "WARP → XRay client"]
    assert to_xray.actions == (GotoTable(XRAY_SHARES),) and to_xray.place is not None


@pytest.mark.parametrize("off", [0, 1])
def test_of_two_xrays_one_is_left(off: int) -> None:
    """No table of shares is needed then, and the document's flow to the first leads to the one there is."""
    made = policy(further(lambda router: (router["xray"] if off == 0 else xray(router)).update(enabled=False)))
    entries = compile_pipeline(made)
    left = "internal_103" if off == 0 else "internal_101"
    assert not [entry for entry in entries if entry.table == XRAY_SHARES]
    (to_xray,) = [entry for entry in entries if entry.item == "WARP → XRay client"]
    assert (to_xray.table, to_xray.actions) == (PRIVACY_CHAIN, (Output(left),))
    assert verify({"": entries}, made) == ()


@pytest.mark.parametrize("flows", [True, False])
def test_gateways_alone_use_the_warp_hop(flows: bool) -> None:
    def change(router: Router) -> None:
        router["xray"]["enabled"] = xray(router)["enabled"] = False
        if not flows:
            router["openflow"]["privacy_flows"] = []

    made = policy(further(change))
    tables = FlowTables(compile_pipeline(made))
    assert sent(tables, "internal_102", OF_102, WEB) == ("warp0",)
    assert sent(tables, "warp0", WEB, OF_102) == ("internal_102",)
    assert verify({"": compile_pipeline(made)}, made) == ()


def test_the_chain_is_on_one_node_with_all_of_its_hops() -> None:
    topology = Topology(
        (
            Node("a", frozenset({100, 101, 102, 103, 200}), IPv4Address("100.104.70.1")),
            Node("b", frozenset({201}), IPv4Address("100.104.70.2")),
        )
    )
    views = {node.name: view_of(FURTHER, topology, node) for node in topology.nodes}
    assert [len(views[name].plan.hops) for name in ("a", "b")] == [5, 0]
    nodes = {name: compile_node(view) for name, view in views.items()}
    assert verify(nodes, FURTHER, views) == ()


def test_every_hop_and_link_is_shown() -> None:
    compiled = compile_document(changed(with_further), "policy.json")
    view = chain_view(None, compiled, {}, ())
    assert [(hop["kind"], hop["title"]) for hop in view["hops"]] == [
        ("gateway", "WireGuard gateway"),
        ("gateway", "WireGuard gateway 102"),
        ("warp", "WARP tunnel"),
        ("xray", "Xray client"),
        ("xray", "Xray client 103"),
    ]
    ways = {(link["from"], link["to"]) for link in view["links"]}
    beside = ("internal_100", "internal_102", "internal_101", "internal_103")
    assert ways == {way for port in beside for way in ((port, "warp0"), ("warp0", port))}


# The host


def host(made: Any = FURTHER, **facts: Any) -> HostState:
    return wanted(made, **{"identity": FURTHER_FACTS.identity, **facts})


def words(items: object) -> set[str]:
    return {str(item) for item in items}  # type: ignore[attr-defined]


def test_each_gateway_has_clients_and_keys_of_its_own() -> None:
    state = host()
    (device,) = state.namespaces["ct102"].wireguard
    assert (device.name, device.private_key, device.listen_port) == ("wg102", KEYS_102.private_key, 51821)
    (peer,) = device.peers
    assert peer.public_key == public_key(KEYS_102.client_key) and "10.100.1.2/32" in words(peer.allowed_ips)
    assert "address 10.100.1.1/24 dev wg102" in words(state.namespaces["ct102"].addresses)
    texts = {file.path: file.content.decode() for file in state.files if "/clients/" in file.path}
    assert set(texts) == {"/state/clients/client-1.conf", "/state/clients/client-102-1.conf"}
    profile = read_profile(texts["/state/clients/client-102-1.conf"], "client")
    assert profile.private_key == KEYS_102.client_key and str(profile.addresses[0]) == "10.100.1.2/32"
    assert profile.peers[0].endpoint == ("192.0.2.7", 51821)
    assert state.namespaces["ct100"] == wanted().namespaces["ct100"]


def test_a_gateway_may_have_a_profile_of_the_operators_own() -> None:
    profile = read_profile(f"[Interface]\nPrivateKey = {key(7)}\n[Peer]\nPublicKey = {key(8)}\n", "gateway-102.conf")
    state = host(gateway_profiles={102: profile})
    (device,) = state.namespaces["ct102"].wireguard
    assert device.private_key == Secret(key(7)) and {peer.public_key for peer in device.peers} == {key(8)}
    assert not [file for file in state.files if "client-102" in file.path and "/clients/" in file.path]


def test_the_warp_hop_marks_whose_client_it_is() -> None:
    state = host().namespaces["warp"]
    (chain,) = [chain for chain in state.chains if chain.key == ("ipv4", "mangle", "PREROUTING")]
    assert [rule.arguments.partition(" -m comment")[0] for rule in chain.rules] == [
        "-i warp0 -s 10.100.0.1/255.255.255.1 -j MARK --set-xmark 0x67/0xff",
        "-i warp0 -s 10.100.1.1/255.255.255.1 -j MARK --set-xmark 0x67/0xff",
    ]
    assert words(state.rules) == {
        "ip rule pref 205 iif warp0 from 10.100.0.0/24 fwmark 0x67/0xff lookup 1203",
        "ip rule pref 205 iif warp0 from 10.100.1.0/24 fwmark 0x67/0xff lookup 1203",
        "ip rule pref 210 iif warp0 from 10.100.0.0/24 lookup 1001",
        "ip rule pref 210 iif warp0 from 10.100.1.0/24 lookup 1001",
        "ip rule pref 220 iif warp0 from 10.99.0.101/32 lookup 1002",
        "ip rule pref 220 iif warp0 from 10.99.0.103/32 lookup 1002",
    }
    assert {
        "route default via 10.99.0.103 dev warp0 table 1203",
        "route unreachable default table 1203 metric 4278198272",
        "route default via 10.99.0.101 dev warp0 table 1001",
        "route 10.100.1.0/24 via 10.99.0.102 dev warp0 table main",
        "route 10.100.1.0/24 via 10.99.0.102 dev warp0 table 1002",
    } <= words(state.routes)


def test_each_xray_has_a_process_of_its_own() -> None:
    state = host()
    assert {(daemon.name, daemon.namespace) for daemon in state.daemons} == {("xray", "ct101"), ("xray-103", "ct103")}
    sets = {ipset.name: set(ipset.prefixes) for ipset in state.namespaces["ct103"].sets}  # type: ignore[arg-type]
    assert sets["XRAY_CLIENTS"] == {"10.100.0.0/23"}, "both subnets, aggregated"
    assert "route 10.100.1.0/24 via 10.99.0.1 dev internal_103 table main" in words(state.namespaces["ct103"].routes)


def test_an_xray_may_have_a_server_of_its_own() -> None:
    made = policy(further(lambda router: xray(router).update(vps_address="192.0.2.99", vps_port=8443)))
    other = replace(SERVER, name="-192.0.2.99-8443", user_id=Secret("00000000-0000-4000-8000-000000000001"))
    assert FURTHER_FACTS.identity is not None
    identity = replace(FURTHER_FACTS.identity, servers={**IDENTITY.servers, ("192.0.2.99", 8443): other})
    state = host(made, identity=identity, addresses={**FACTS.addresses, "192.0.2.99": (IPv4Address("192.0.2.99"),)})
    bundles = {file.path for file in state.files if file.path.endswith("server.json")}
    assert bundles == {"/state/vps/server.json", "/state/vps-192.0.2.99-8443/server.json"}
    configs = [file.content for file in state.files if "/xray/client-" in file.path]
    assert len(configs) == 2 and sum(b'"192.0.2.99"' in config for config in configs) == 1


def test_without_a_warp_hop_there_is_no_way_on() -> None:
    with pytest.raises(Refused, match="no way on"):
        host(replace(FURTHER, warp=replace(FURTHER.warp, enabled=False)))


def with_peers(state: HostState) -> HostState:
    """Each gateway has one more, whose addresses are all."""
    peer, states = Peer("x", allowed_ips=frozenset({EVERY_IPV4})), dict(state.namespaces)
    for name in ("ct100", "ct102"):
        (device,) = states[name].wireguard
        states[name] = replace(states[name], wireguard=frozenset({replace(device, peers=device.peers | {peer})}))
    return replace(state, namespaces=states)


@pytest.mark.parametrize(
    ("client", "namespaces"),
    [
        (EVEN, ["ct100", "warp", "ct101", ""]),
        (ODD, ["ct100", "warp", "ct103", ""]),
        (OF_102, ["ct102", "warp", "ct103", ""]),
    ],
)
def test_explain_follows_a_client_to_its_xray(client: str, namespaces: list[str]) -> None:
    found = way(Policy(FURTHER), with_peers(host()), FURTHER_FACTS, packet(client, ip_address(WEB), "tcp/443"))
    assert (found.end, found.device) == ("leaves", "wgcf")
    assert list(dict.fromkeys(line.place for line in found.lines)) == namespaces


@pytest.mark.parametrize(
    ("source", "matches"),
    [("10.100.1.3", True), ("10.100.1.2", False), ("10.100.0.3", False), ("2001:db8::1", False)],
)
def test_a_mask_with_gaps_is_understood(source: str, matches: bool) -> None:
    rule = filter_rule("-i warp0 -s 10.100.1.1/255.255.255.1 -j DROP")
    target = ip_address("2001:db8::2" if ":" in source else WEB)
    asked = Packet(ip_address(source), target, "udp", 53, incoming="warp0")
    assert (meet(rule, asked, Place({}, lambda address: False)) is not None) == matches
