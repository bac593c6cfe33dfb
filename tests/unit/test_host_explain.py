"""The way of a packet as the policy means it, for the documents' own examples."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

import pytest
from director_examples import LAN
from host_examples import FACTS, POLICY, wanted

from host_agent.countries.values import Country
from host_agent.desired import desired
from host_agent.errors import Refused
from host_agent.explain.decide import explain
from host_agent.explain.entry import packet, way
from host_agent.explain.facts import others_chains
from host_agent.explain.firewall import verdict
from host_agent.explain.rules import Packet, Place, Unknown, meet
from host_agent.explain.values import Explanation, Surroundings
from host_agent.facts.values import NodeFacts, NodeLink
from host_agent.prefixes import Prefixes
from host_agent.state import NODE, HostState, IpSet, NamespaceState, Route, combine, filter_rule
from policies.host_model import Policy
from policies.load import load_policy
from policies.model import Target
from privacyctl.cli import main as privacyctl

DOCUMENTS = Path(__file__).resolve().parents[2] / "policies" / "documents"
RUSSIA = Country(Prefixes.of("ipv4", [IPv4Network("77.88.0.0/16")]), "test", None, None)
NODE_FACTS = NodeFacts(
    links={"br0": NodeLink(True, LAN), "wgc1": NodeLink(True, frozenset()), "ovpnc3": NodeLink(True, frozenset())},
    countries={("ru", "ipv4"): RUSSIA},
)
CHAIN = Policy(POLICY)


def chain_way(destination: str, service: str = "tcp/443", client: str = "10.100.0.2") -> Explanation:
    return way(CHAIN, wanted(), FACTS, packet(client, ip_address(destination), service))


def lan_way(example: int, client: str, destination: str, service: str = "tcp/443") -> Explanation:
    policy = load_policy(DOCUMENTS / f"vpn-director-{example}.json")
    facts = replace(FACTS, node=NODE_FACTS)
    return way(policy, desired(policy, facts), facts, packet(client, ip_address(destination), service))


def words(found: Explanation) -> str:
    return "\n".join(f"{line.place}: {line.words}" for line in found.lines)


def test_a_client_of_the_chain_goes_by_xray_and_leaves_by_warp() -> None:
    found = chain_way("198.51.100.9")
    assert (found.end, found.device, found.port) == ("leaves", "wgcf", 12345)
    places = [line.place for line in found.lines]
    assert list(dict.fromkeys(places)) == ["ct100", "warp", "ct101", ""], "and once more from Xray on"
    assert "ct101: iptables mangle XRAY_TPROXY rule 15 (p tcp): TPROXY" in words(found)
    assert "ip rule pref 200 iif internal_101 fwmark 0x100/0x100 lookup 100: route local default" in words(found)
    assert "leaves encrypted by WireGuard device wgcf, to 198.51.100.1:2408" in words(found)


@pytest.mark.parametrize(
    ("destination", "service", "reason"),
    [
        ("198.51.100.9", "icmp", "this namespace forwards nothing"),
        ("10.1.2.3", "udp/53", "rule 4 (d 10.0.0.0/8): RETURN"),
        ("203.0.113.10", "tcp/443", "rule 2 (match-set XRAY_SERVERS dst): RETURN"),
    ],
)
def test_what_xray_does_not_take_ends_there(destination: str, service: str, reason: str) -> None:
    found = chain_way(destination, service)
    assert found.end == "dropped" and reason in words(found)


@pytest.mark.parametrize("client", ["10.100.0.9", "fd00:100::9"])
def test_what_no_peer_may_send_does_not_come_in(client: str) -> None:
    found = chain_way("198.51.100.9" if "." in client else "2001:db8::1", client=client)
    assert (found.end, found.namespace) == ("dropped", "ct100")
    assert (
        words(found)
        == f"ct100: WireGuard device wg100: no peer has the address {client}, so nothing from there comes in"
    )


@pytest.mark.parametrize("destination", ["10.99.0.101", "10.99.0.77"])
def test_a_hop_reaches_its_neighbours_only(destination: str) -> None:
    """Xray is on the gateway's own network, but the switch has no way from the one to the other."""
    found = chain_way(destination, "udp/53")
    assert (found.end, found.namespace) == ("dropped", "ct100") and "no such neighbour" in words(found)


def test_a_hop_reaches_its_neighbour() -> None:
    assert (chain_way("10.99.0.1").end, chain_way("10.99.0.1").namespace) == ("delivered", "warp")


def test_ipv6_ends_in_the_gateway() -> None:
    found = chain_way("2001:db8::1", client="fd00:100::2")
    assert (found.end, found.namespace) == ("dropped", "ct100")


def test_without_the_tunnels_route_it_is_refused() -> None:
    state = wanted()
    warp = state.namespaces["warp"]
    less = replace(warp, routes=frozenset(route for route in warp.routes if route.link != "wgcf"))
    found = explain(
        replace(state, namespaces={**state.namespaces, "warp": less}),
        "ct101",
        Packet(ip_address("10.99.0.101"), ip_address("203.0.113.10"), "tcp", 443),
    )
    assert found.end == "refused" and "unreachable default table 1002" in words(found)


def test_the_documents_first_example() -> None:
    """A client in Xray only: 8.8.8.8 goes to Xray, an address of an excluded country goes directly."""
    assert lan_way(1, "192.168.50.10", "8.8.8.8").port == 12345
    direct = lan_way(1, "192.168.50.10", "77.88.8.8")
    assert (direct.end, direct.device, direct.port) == ("leaves", None, None)
    assert "match-set ru dst): RETURN" in words(direct) and "as the machine's own routes say" in words(direct)


def test_the_documents_second_example() -> None:
    tunnel = lan_way(2, "192.168.1.5", "8.8.8.8")
    assert (tunnel.end, tunnel.device, tunnel.mark) == ("leaves", "ovpnc3", 0x10000)
    assert "ip rule pref 16384 fwmark 0x10000/0xff0000" in words(tunnel)
    assert lan_way(2, "192.168.1.5", "77.88.8.8").device is None
    assert not lan_way(2, "192.168.1.6", "8.8.8.8").mark & 0xFF0100, "somebody else's packet is left alone"


def test_the_documents_third_example_xray_wins() -> None:
    assert lan_way(3, "192.168.50.10", "8.8.8.8").port == 12345


def test_a_rule_for_what_is_bound_to_a_device_decides_about_nobody_else() -> None:
    """It is asked before the tunnels' own."""
    policy = load_policy(DOCUMENTS / "vpn-director-3.json")
    assert policy.director is not None
    probed = tuple(replace(it, probe=(Target(ip_address("2001:db8::1"), 80),)) for it in policy.director.tunnels)
    facts = replace(FACTS, node=NODE_FACTS)
    state = desired(replace(policy, director=replace(policy.director, tunnels=probed)), facts)
    (rule,) = (it for it in state.namespaces[NODE].rules if it.outgoing)
    first = NamespaceState(rules=frozenset({replace(rule, family="ipv4", priority=1)}))
    state = combine([state, HostState(namespaces={NODE: first})])
    found = way(policy, state, facts, packet("192.168.50.100", ip_address("198.51.100.9"), "tcp/443"))
    assert "oif" not in words(found) and found == lan_way(3, "192.168.50.100", "198.51.100.9")


def test_the_guard_has_the_last_word() -> None:
    """Without the chains that should have decided, the main table leads to the uplink, and the guard refuses that."""
    policy = load_policy(DOCUMENTS / "vpn-director-2.json")
    facts = replace(FACTS, node=NODE_FACTS)
    state = desired(policy, facts)
    left = frozenset(chain for chain in state.namespaces[NODE].chains if chain.table != "mangle")
    flushed = HostState(namespaces={NODE: replace(state.namespaces[NODE], chains=left)})
    around = Surroundings(routes=frozenset({Route(IPv4Network("0.0.0.0/0"), link="wan0")}))
    sent = packet("192.168.1.5", ip_address("8.8.8.8"), "tcp/443")
    found = way(policy, flushed, facts, sent, around)
    assert found.end == "dropped" and "iptables security TUN_GUARD rule" in words(found)
    assert way(policy, state, facts, sent, around).device == "ovpnc3"


def test_what_nobody_named_is_said() -> None:
    assert words(lan_way(2, "192.168.1.6", "8.8.8.8")).startswith("node: no item of the policy names 192.168.1.6")
    assert "no item" not in words(lan_way(2, "192.168.1.5", "8.8.8.8")) + words(lan_way(1, "192.168.50.10", "8.8.8.8"))
    policy = load_policy(DOCUMENTS / "vpn-director-2.json")
    assert policy.director is not None
    paused = Policy(director=replace(policy.director, paused_clients=(IPv4Network("192.168.1.5/32"),)))
    facts = replace(FACTS, node=NODE_FACTS)
    found = way(paused, desired(paused, facts), facts, packet("192.168.1.5", ip_address("8.8.8.8"), "tcp/443"))
    assert words(found).startswith("node: 192.168.1.5 is paused") and found.mark == 0


def test_the_packet_at_the_switch_can_be_traced(capsys: pytest.CaptureFixture[str]) -> None:
    at_switch = [line.at_switch for line in chain_way("198.51.100.9", "udp/53").lines if line.at_switch]
    assert at_switch[0] == "in_port=internal_100,udp,nw_src=10.100.0.2,nw_dst=198.51.100.9,tp_dst=53"
    for it in (*at_switch, Packet(ip_address("fd00::2"), ip_address("fd00::3"), "icmp").at_switch("internal_100")):
        assert privacyctl(["trace", str(DOCUMENTS / "privacy-router.json"), it]) == 0
    assert "output:warp0" in capsys.readouterr().out


def test_bad_words_are_named_all_at_once() -> None:
    with pytest.raises(Refused) as refused:
        packet("10.0.0", ip_address("192.0.2.1"), "tcp/70000")
    assert len(refused.value.problems) == 2
    with pytest.raises(Refused, match="two families"):
        packet("10.100.0.2", ip_address("2001:db8::1"), "tcp")
    with pytest.raises(Refused, match="no client of the chain"):
        chain_way("192.0.2.1", client="192.168.9.9")


PACKET = Packet(ip_address("10.0.0.2"), ip_address("192.0.2.7"), "udp", 53, "br0", mark=0x10)
SETS = {"S": IpSet("S", "ipv4", Prefixes.of("ipv4", [ip_network("10.0.0.0/24")]))}
PLACE = Place(SETS, lambda address: str(address) == "192.0.2.7")


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ("-i br0 -j DROP", True),
        ("-i br1 -j DROP", False),
        ("-s 10.0.0.0/30 -d 192.0.2.7 -j DROP", True),
        ("-p udp -m udp --dport 53 -j DROP", True),
        ("-p udp -m udp --dport 443 -j DROP", False),
        ("-m set --match-set S src -j DROP", True),
        ("-m set ! --match-set S src -j DROP", False),
        ("-m set ! --match-set S dst -j DROP", True),
        ("-m mark --mark 0x0/0xff0000 -j DROP", True),
        ("-m mark --mark 0x10/0xff -j DROP", True),
        ("-m mark --mark 0x0/0xff -j DROP", False),
        ("-m addrtype --dst-type LOCAL -j DROP", True),
        ("-m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP", True),
        ("-m mac --mac-source aa:bb:cc:dd:ee:ff -j DROP", False),
        ("-i br+ -j DROP", True),
        ("! -i br+ -j DROP", False),
        ("-p udp -m udp --dport 50:60 -j DROP", True),
        ("-p udp -m multiport --dports 80,50:53 -j DROP", True),
        ("-p udp -m multiport --dports 80,54:60 -j DROP", False),
        ("-m state --state RELATED,ESTABLISHED -j DROP", False),
        ("-m state --state NEW -j DROP", True),
    ],
)
def test_rules_match_as_iptables_says(rule: str, matches: bool) -> None:
    assert (meet(filter_rule(rule, "a note"), PACKET, PLACE) is not None) == matches


def test_marks_are_set_under_their_mask() -> None:
    met = meet(filter_rule("-j MARK --set-xmark 0x20000/0xff0000"), PACKET, PLACE)
    assert met is not None and met.packet.mark == 0x20010


def test_what_is_not_known_is_not_guessed() -> None:
    with pytest.raises(Unknown):
        meet(filter_rule("-m statistic --probability 0.5 -j DROP"), PACKET, PLACE)


DOCKER = """
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:SORTED - [0:0]
-A FORWARD -m comment --comment "privacy-router 0123456789ab" -j DROP
-A FORWARD -j LOG
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-USER -j SORTED
-A DOCKER-USER -j RETURN
-A DOCKER-USER -j ACCEPT
COMMIT
"""
PASSES, DROPS = "-A SORTED -i br0 -j ACCEPT", "-A SORTED -i br0 -j REJECT"
UNSURE = "-A SORTED -m limit --limit 5/min -j"


@pytest.mark.parametrize(
    ("sorted_by", "passes", "by", "doubts"),
    [
        ("", False, "FORWARD: policy DROP", 0),
        ("-A SORTED -i docker0 -j ACCEPT", False, "FORWARD: policy DROP", 0),
        (PASSES, True, "FORWARD, chain SORTED: -i br0 -j ACCEPT", 0),
        (DROPS, False, "FORWARD, chain SORTED: -i br0 -j REJECT", 0),
        (f"{UNSURE} ACCEPT", False, "FORWARD: policy DROP", 1),
        (f"{UNSURE} DROP", False, "FORWARD: policy DROP", 0),
        (f"{UNSURE} LOG", False, "FORWARD: policy DROP", 0),
        (f"{UNSURE} DROP\n{PASSES}", True, "FORWARD, chain SORTED: -i br0 -j ACCEPT", 1),
        (f"{UNSURE} DOCKER-USER\n{PASSES}", True, "FORWARD, chain SORTED: -i br0 -j ACCEPT", 1),
        (f"{PASSES}\n{UNSURE} DROP", True, "FORWARD, chain SORTED: -i br0 -j ACCEPT", 0),
    ],
)
def test_a_firewall_says_what_it_does_with_a_packet(sorted_by: str, passes: bool, by: str, doubts: int) -> None:
    chains = others_chains("iptables", DOCKER.replace("COMMIT", f"{sorted_by}\nCOMMIT"))
    found = verdict(chains, "FORWARD", PACKET, PLACE)
    assert (found.passes, found.by, len(found.doubts)) == (passes, f"iptables filter {by}", doubts)
    assert verdict(chains, "INPUT", PACKET, PLACE).passes
