"""The director's desired state: the document's chains, rule by rule, and none of its ancestor's bugs."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from director_examples import MACHINE, NODE_FACTS, country, policy, state
from host_kernel import Kernel, Packet
from policy_documents import DOCUMENTS

from host_agent.countries.values import Country
from host_agent.desired import desired
from host_agent.errors import Refused
from host_agent.facts.values import Facts
from host_agent.plan import plan
from host_agent.prefixes import Prefixes
from host_agent.state import NODE, Chain, HostState, NamespaceState, Rule
from policies.load import load_policy

COMMENT = re.compile(r' -m comment --comment "[^"]*"')
EXAMPLES = {number: load_policy(DOCUMENTS / f"vpn-director-{number}.json") for number in (1, 2, 3)}
SET_DNS = ["-p udp -m udp --dport 53", "-p tcp -m tcp --dport 53"]
TPROXY = "-j TPROXY --on-port 12345 --tproxy-mark 0x100/0x100"
ADDED = ("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4")
JUDGED = "-m mark --mark 0x0/0xffffffff -j MARK --set-xmark 0x1000000/0x1000000"
W1: dict[str, Any] = {"clients": ["192.168.50.10"]}


def node(wanted: HostState) -> NamespaceState:
    return wanted.namespaces[NODE]


def chain(wanted: HostState, name: str, family: str = "ipv4", table: str = "mangle") -> list[str]:
    found = [it for it in node(wanted).chains if (it.family, it.table, it.name) == (family, table, name)]
    return [COMMENT.sub("", rule.arguments) for it in found for rule in it.rules]


def with_tunnels(**tunnels: dict[str, Any]) -> dict[str, Any]:
    return {"tunnel_director": {"tunnels": tunnels}}


def rules(wanted: HostState, family: str = "ipv4") -> list[str]:
    own = [rule for rule in node(wanted).rules if rule.family == family]
    return [str(rule).removeprefix("ip ") for rule in sorted(own, key=lambda rule: rule.priority)]


def test_xray_tproxy_is_the_documents_chain_in_its_order() -> None:
    wanted = desired(EXAMPLES[1], MACHINE)
    found = chain(wanted, "XRAY_TPROXY")
    documents = [
        "-m set ! --match-set XRAY_CLIENTS src -j RETURN",
        "-m set --match-set XRAY_SERVERS dst -j RETURN",
        *(f"-d {it} -j RETURN" for it in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
        *(f"-d {it} -j RETURN" for it in ("169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32")),
        "-m set --match-set ru dst -j RETURN",
        f"-p tcp {TPROXY}",
        f"-p udp {TPROXY}",
    ]
    assert [rule for rule in found if rule in documents] == documents
    assert found[0] == documents[0] and found[1] == documents[1]
    added = [rule for rule in found if rule not in documents]
    assert added == [
        *(f"{port} {TPROXY}" for port in SET_DNS),
        *(
            f"-d {it} -j RETURN"
            for it in ("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4")
        ),
        "-m addrtype --dst-type LOCAL -j RETURN",
        "-j MARK --set-xmark 0xff0000/0xff0000",
        "-m mark --mark 0xff0000/0xff0000 -j RETURN",
    ]
    assert chain(wanted, "PREROUTING") == ["-j XRAY_TPROXY", JUDGED]
    assert "rule pref 200 iif br0 fwmark 0x100/0x100 lookup 100" in rules(wanted)
    assert "route local default dev lo table 100" in map(str, node(wanted).routes)
    assert {ipset.name for ipset in node(wanted).sets} == {"XRAY_CLIENTS", "XRAY_SERVERS", "ru"}


def test_tun_dir_is_the_documents_chain() -> None:
    wanted = desired(EXAMPLES[2], MACHINE)
    unmarked, mark = "-m mark --mark 0x0/0xff0000", "-j MARK --set-xmark 0x10000/0xff0000"
    assert chain(wanted, "TUN_DIR") == [
        *(f"-s 192.168.1.5/32 {port} {unmarked} {mark}" for port in SET_DNS),
        "-s 192.168.1.5/32 -m set --match-set ru dst -j RETURN",
        f"-s 192.168.1.5/32 {unmarked} {mark}",
    ]
    assert chain(wanted, "PREROUTING") == [f"-i br0 {unmarked} -j TUN_DIR", JUDGED]
    assert rules(wanted) == [
        "rule pref 16383 fwmark 0xff0000/0xff0000 prohibit",
        "rule pref 16384 fwmark 0x10000/0xff0000 lookup 103",
    ]
    assert "route unreachable default table 103 metric 4278198272" in map(str, node(wanted).routes)


def test_the_documents_traffic_flow_examples() -> None:
    us, ru = "8.8.8.8", "77.88.8.8"
    for number, client, expected in (
        (1, "192.168.50.10", {us: "xray", ru: "wan"}),
        (2, "192.168.1.5", {us: "refused", ru: "wan"}),  # the table is the tunnel's own business, and empty here
        (3, "192.168.50.10", {us: "xray", ru: "wan"}),
    ):
        kernel = Kernel()
        list(kernel.carry_out(plan(replace(desired(EXAMPLES[number], MACHINE), files=frozenset()), HostState())))
        for target, way in expected.items():
            packet = Packet(ip_address(client), ip_address(target), "tcp", 443)
            assert kernel.decide(packet) == way, (number, target)


def test_slots_marks_and_preferences_go_by_position() -> None:
    """The ancestor gave a slot to a tunnel without clients."""
    wanted = state(with_tunnels(wgc1={"clients": []}, wgc2={"clients": ["10.0.0.1"]}, ovpnc3={"clients": ["10.0.0.2"]}))
    found = [(rule.priority, rule.mark) for rule in node(wanted).rules if rule.family == "ipv4" and rule.table]
    assert sorted(found) == [(16384, 0x10000), (16385, 0x20000)]


def test_main_is_an_exemption() -> None:
    wanted = state(with_tunnels(main={"clients": ["10.0.0.1"]}, wgc1={"clients": ["10.0.0.0/8"]}))
    assert "rule pref 16384 fwmark 0x10000/0xff0000 lookup main" in rules(wanted)
    assert (
        chain(wanted, "TUN_DIR")[0] == "-s 10.0.0.1/32 -m mark --mark 0x0/0xff0000 -j MARK --set-xmark 0x10000/0xff0000"
    )
    assert not [route for route in node(wanted).routes if route.table == 254]


def test_a_tunnel_that_is_an_interface_has_a_table_of_ours() -> None:
    """Its number comes from its name: another order gives no table another meaning."""
    one = state(with_tunnels(wgc1=W1, wgc2={"clients": ["192.168.50.20"]}))
    two = state(with_tunnels(wgc2={"clients": ["192.168.50.20"]}, wgc1=W1))
    assert node(one).routes == node(two).routes
    own = {str(route) for route in node(one).routes if route.destination.version == 4}
    (table,) = {route.table for route in node(one).routes if route.link == "wgc1"}
    assert {f"route default dev wgc1 table {table}", f"route unreachable default table {table} metric 4278198272"} < own
    with pytest.raises(Refused, match="table 103 is that of"):
        state(with_tunnels(ovpnc3=W1, **{"103": {"clients": ["192.168.50.20"]}}))


def test_a_tunnel_that_is_not_there_refuses() -> None:
    wanted = state(with_tunnels(wgc9=W1))
    assert {route.kind for route in node(wanted).routes} == {"unreachable"}
    assert any(said.startswith("degraded: tunnel wgc9 is no interface that is up") for said in wanted.waiting)
    off = state(with_tunnels(wgc9={**W1, "kill_switch": "off"}))
    assert node(off).routes == frozenset()


def test_failover_takes_the_first_that_lives() -> None:
    document = with_tunnels(wgc1={**W1, "failover": ["wgc2", "ovpnc3"]})

    def table(facts: Facts) -> int:
        (found,) = (it for it in node(state(document, facts)).rules if it.family == "ipv4" and it.mark == 0x10000)
        return found.table

    def dead(*names: str) -> Facts:
        return replace(MACHINE, node=replace(NODE_FACTS, dead=frozenset(names)))

    first, second = table(dead()), table(dead("wgc1"))
    assert first != second and table(dead("wgc1", "wgc2")) == 103
    assert table(dead("wgc1", "wgc2", "ovpnc3")) == first, "none lives: the first refuses"


def test_without_a_section_called_advanced_everything_has_its_default() -> None:
    """The ancestor died of a missing section."""
    assert chain(state({"xray": W1}), "XRAY_TPROXY")


def test_upper_case_countries_are_found_and_the_extended_ranges_come_first() -> None:
    """The ancestor built sets of upper-case codes and then did not find them."""
    assert "-m set --match-set ru dst -j RETURN" in chain(
        state({"xray": {**W1, "exclude_sets": ["RU"]}}), "XRAY_TPROXY"
    )
    facts = replace(MACHINE, node=replace(NODE_FACTS, countries={
        **NODE_FACTS.countries, ("ru_ext", "ipv4"): country("77.0.0.0/8")}))  # fmt: skip
    wanted = state({"xray": {**W1, "exclude_sets": ["ru"]}}, facts)
    assert "-m set --match-set ru_ext dst -j RETURN" in chain(wanted, "XRAY_TPROXY")
    assert {ipset.name for ipset in node(wanted).sets} == {"XRAY_CLIENTS", "XRAY_SERVERS", "ru_ext"}


@pytest.mark.parametrize("known", [None, Prefixes("ipv4")])
def test_a_country_that_cannot_be_had_stops_nothing(known: Prefixes | None) -> None:
    """The ancestor stopped the whole apply; its destinations stay in the tunnel."""
    missing = Country(known, "none", None, "no source has it; write a file")
    facts = replace(MACHINE, node=replace(NODE_FACTS, countries={("ru", "ipv4"): missing}))
    wanted = state({"xray": {**W1, "exclude_sets": ["ru"]}, **with_tunnels(wgc1={**W1, "exclude": ["by"]})}, facts)
    assert not [
        rule for rule in chain(wanted, "XRAY_TPROXY") + chain(wanted, "TUN_DIR") if "ru" in rule or "by" in rule
    ]
    degraded = [said for said in wanted.waiting if said.startswith("degraded")]
    assert len(degraded) == 2 and all("its destinations stay in the tunnel" in said for said in degraded)


def damaged(wanted: HostState, **changes: Any) -> HostState:
    return replace(wanted, namespaces={NODE: replace(node(wanted), **changes)})


def test_whatever_is_missing_comes_back() -> None:
    """The ancestor never repaired a deleted jump or ip rule."""
    wanted = state({"xray": W1, **with_tunnels(wgc1=W1)})
    assert plan(wanted, wanted) == ()
    for kind in ("rules", "routes", "chains", "sets"):
        for item in getattr(node(wanted), kind):
            steps = plan(wanted, damaged(wanted, **{kind: getattr(node(wanted), kind) - {item}}))
            assert len(steps) == 1, (item, steps)


def test_a_jump_in_the_wrong_place_is_put_right() -> None:
    """Re-applying one part of the ancestor could put TUN_DIR above XRAY_TPROXY."""
    wanted = state({"xray": W1, **with_tunnels(wgc1=W1)})
    (jumps,) = (
        it for it in node(wanted).chains if (it.family, it.name) == ("ipv4", "PREROUTING") and it.table == "mangle"
    )
    assert [rule.placement for rule in jumps.rules] == ["top", *["after interface marks"] * 2]
    found = damaged(wanted, chains=node(wanted).chains - {jumps} | {replace(jumps, rules=jumps.rules[::-1])})
    assert len(plan(wanted, found)) == 1


def test_emptying_the_document_removes_everything() -> None:
    """Emptying the ancestor's tunnels left chain, jump and rules in force."""
    assert state({"tunnel_director": {"tunnels": {}}}) == HostState()
    assert state({"xray": {**W1}, "paused_clients": W1["clients"]}) == HostState()


def test_an_own_chain_with_another_name_is_ours() -> None:
    names = {"advanced": {"xray": {"chain": "MY_XRAY"}, "tunnel_director": {"chain": "MY_TUNNELS"}}}
    kernel = Kernel()
    list(kernel.carry_out(plan(state({"xray": W1, **with_tunnels(wgc1=W1), **names}), HostState())))
    list(kernel.carry_out(plan(HostState(), kernel.state())))
    assert kernel.state() == HostState(), "found again without knowing the names"


def test_ipv6_of_hosts_that_nobody_named_is_refused() -> None:
    last = "-m mark --mark 0x0/0xff0000 -j MARK --set-xmark 0xff0000/0xff0000"
    assert chain(state({"xray": W1}), "TUN_DIR", "ipv6")[-1] == last
    assert not chain(state({"xray": {**W1, "ipv6": "bypass"}}), "TUN_DIR", "ipv6")
    free = {"xray": W1, "advanced": {"lan": {"unnamed_ipv6": "bypass"}}}
    assert last not in chain(state(free), "TUN_DIR", "ipv6")
    by_mac = state({"xray": {"clients": ["02:00:00:00:50:0a"]}})
    assert last not in chain(by_mac, "TUN_DIR", "ipv6"), "a MAC address names a host in both families"
    assert chain(by_mac, "XRAY_TPROXY", "ipv6")[0].endswith("-m mac ! --mac-source 02:00:00:00:50:0a -j RETURN")


def test_without_ipv6_in_the_kernel_there_is_none() -> None:
    wanted = state({"xray": W1, **with_tunnels(wgc1=W1)}, replace(MACHINE, ipv6=False))
    families = {it.family for it in node(wanted).chains} | {it.family for it in node(wanted).rules}
    assert families == {"ipv4"} and {route.destination.version for route in node(wanted).routes} == {4}


def test_every_name_can_be_another() -> None:
    names = {
        "xray": {"tproxy_port": 1, "route_table": 7, "rule_pref": 8, "fwmark": "0x1", "fwmark_mask": "0x3",
                 "chain": "C1", "guard": "G1", "clients_ipset": "S1", "servers_ipset": "S2"},
        "tunnel_director": {"chain": "C2", "guard": "G2", "guard_table": "filter", "pref_base": 900,
                            "mark_mask": "0xf000", "mark_shift": 12, "refuse_pref": 950, "judged_mark": 16},
        "lan": {"interfaces": ["lan0", "lan1"]},
    }  # fmt: skip
    wanted = state({"xray": W1, **with_tunnels(wgc1=W1), "advanced": names})
    assert {it.name for it in node(wanted).sets} == {"S1", "S2"}
    assert {"C1", "C2"} < {it.name for it in node(wanted).chains}
    own = rules(wanted)
    assert own[:2] == [f"rule pref 8 iif lan{n} fwmark 0x1/0x3 lookup 7" for n in (0, 1)] or own[1::-1] == [
        f"rule pref 8 iif lan{n} fwmark 0x1/0x3 lookup 7" for n in (0, 1)
    ]
    assert own[-1] == "rule pref 950 fwmark 0xf000/0xf000 prohibit" and "fwmark 0x1000/0xf000" in own[2]
    text = " ".join(COMMENT.sub("", rule.arguments) for it in node(wanted).chains for rule in it.rules)
    assert "0xff0000" not in text and "0x1000000" not in text and "XRAY" not in text and "br0" not in text
    assert chain(wanted, "PREROUTING")[-1] == "-m mark --mark 0x0/0xffffffff -j MARK --set-xmark 0x10/0x10"


def test_the_hash_file_follows_the_rules() -> None:
    def digest(document: dict[str, Any]) -> bytes:
        (file,) = desired(policy(document), MACHINE).files
        assert file.path == "/tmp/tunnel_director/tun_dir_rules.sha256"
        return file.content

    one = digest(with_tunnels(wgc1=W1))
    assert re.fullmatch(rb"[0-9a-f]{64}\n", one) and digest(with_tunnels(wgc1=W1)) == one
    assert digest(with_tunnels(wgc1={"clients": ["192.168.50.11"]})) != one
    unsafe = replace(MACHINE, node=replace(NODE_FACTS, hash_file=False))
    assert desired(policy(with_tunnels(wgc1=W1)), unsafe).files == frozenset()


def test_what_enters_restore_input_is_one_plain_line() -> None:
    wanted = desired(load_policy(DOCUMENTS / "vpn-director-all-keys.yaml"), MACHINE)
    for it in node(wanted).chains:
        assert isinstance(it, Chain)
        for rule in it.rules:
            assert rule.arguments.isprintable() and rule.arguments.count('"') == 2


def test_rules_of_both_families_are_told_apart() -> None:
    assert str(Rule(1, 2, family="ipv6")) == "ip -6 rule pref 1 lookup 2"
    assert Rule(1, 2, family="ipv6") != Rule(1, 2)
