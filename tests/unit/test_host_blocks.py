"""Which addresses the IPsec policies hold when all of netfilter is flushed, and when they come and go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from director_examples import LAN, MACHINE, NODE_FACTS, state

from host_agent.boot import protective
from host_agent.confirm import file as confirm_file
from host_agent.confirm.file import Pending
from host_agent.doctor.checks import ForeignRule, Machine, findings
from host_agent.facts.values import NodeLink
from host_agent.plan import plan
from host_agent.state import NODE, Block, HostState, NamespaceState, Rule
from host_agent.status.node import Counted, items, kernel
from host_agent.steps import Add, Remove, RemoveChains, ReplaceChains

TEN, TWENTY, NET = "192.168.50.10", "192.168.50.20", "192.168.50.0/24"
NAMELESS = {"fd00:50::/64", "fe80::/10"}
FREE = {"lan": {"unnamed_ipv6": "bypass"}}


def blocks(document: dict[str, Any], **facts: Any) -> frozenset[Block]:
    wanted = state(document, replace(MACHINE, node=replace(NODE_FACTS, **facts)))
    return wanted.namespaces.get(NODE, NamespaceState()).blocks


def held(document: dict[str, Any], version: int = 4) -> set[str]:
    found = {str(it.source) for it in blocks(document) if it.source.version == version}
    for source in found:
        assert {it.queries for it in blocks(document) if str(it.source) == source} == {"", "udp", "tcp"}
    return found


def xray(*clients: str, **treatment: str) -> dict[str, Any]:
    return {"xray": {"clients": clients, **treatment}}


def tunnels(**tunnels: Any) -> dict[str, Any]:
    whole = {name: it if isinstance(it, dict) else {"clients": it} for name, it in tunnels.items()}
    return {"tunnel_director": {"tunnels": whole}}


@pytest.mark.parametrize(
    ("document", "sources"),
    [
        (xray(TEN), {f"{TEN}/32"}),
        (xray(TEN, "192.168.50.11"), {"192.168.50.10/31"}),
        (xray(TEN, kill_switch="off"), set()),
        (tunnels(wgc1=[TEN]), {f"{TEN}/32"}),
        (tunnels(wgc9=[TEN]), {f"{TEN}/32"}),
        (tunnels(wgc1={"clients": [TEN], "kill_switch": "off"}), set()),
        (tunnels(main=[TEN]), set()),
        (tunnels(main=["192.168.50.128/25"], wgc1=[NET]), {"192.168.50.0/25"}),
        (tunnels(wgc1=[NET], main=["192.168.50.128/25"]), {NET}),
        (tunnels(wgc1={"clients": ["192.168.50.0/25"], "kill_switch": "off"}, wgc2=[NET]), {"192.168.50.128/25"}),
        ({**xray(NET), "paused_clients": ["192.168.50.0/25"]}, {"192.168.50.128/25"}),
        ({**tunnels(wgc1=[NET]), "paused_clients": ["192.168.50.0/25"]}, {"192.168.50.128/25"}),
        ({**xray(TEN), **tunnels(main=[NET])}, {f"{TEN}/32"}),
        ({**xray(TEN, kill_switch="off"), **tunnels(wgc1=[TEN])}, {f"{TEN}/32"}),
        ({**xray(NET, kill_switch="off"), **tunnels(wgc1=[TEN])}, {f"{TEN}/32"}),
        (tunnels(wgc1={"clients": [TEN], "exclude": ["ru"], "exclude_ips": ["8.8.8.0/24"]}), {f"{TEN}/32"}),
        (xray("02:00:00:00:50:0a"), set()),
    ],
)
def test_who_is_held(document: dict[str, Any], sources: set[str]) -> None:
    assert held(document) == sources


@pytest.mark.parametrize(
    ("document", "sources"),
    [
        (xray(TEN), NAMELESS),
        ({**xray(TEN), "advanced": FREE}, {"fe80::/10"}),
        ({**xray(TEN, dns="bypass"), "advanced": FREE}, set()),
        ({**xray(TEN), **tunnels(main=["fd00:50::8000:0:0:0/65"])}, {"fd00:50::/65", "fe80::/10"}),
        (xray(TEN, kill_switch="off", dns="bypass"), set()),
        (xray("fd00:50::10", dns="bypass"), {"fd00:50::10/128"}),
        (xray("fd00:50::10", ipv6="bypass"), set()),
        (
            tunnels(wgc1={"clients": ["fd00:50::10"], "ipv6": "block", "kill_switch": "off"}),
            {"fd00:50::10/128", "fe80::/10"},
        ),
        (tunnels(wgc1={"clients": ["fd00:50::10"], "ipv6": "bypass"}), set()),
        (xray("02:00:00:00:50:0a", dns="bypass"), set()),
    ],
)
def test_who_is_held_in_ipv6(document: dict[str, Any], sources: set[str]) -> None:
    """Of hosts that nobody named, whatever networks the LAN's links have."""
    assert held(document, 6) == sources


def test_nameless_hosts_are_those_of_all_links_and_subnets_of_the_lan() -> None:
    links = {"br0": NodeLink(True, LAN), "br1": NodeLink(True, frozenset()), "br2": NodeLink(True, LAN)}
    document = {**xray(TEN), "advanced": {"lan": {"interfaces": ["br1", "br9"], "subnets": [NET, "fd00:51::/64"]}}}
    found = {str(it.source) for it in blocks(document, links=links) if it.source.version == 6}
    assert found == {"fd00:51::/64", "fe80::/10"}


def test_a_kernel_without_ipsec_policies_gets_none_and_the_operator_is_told() -> None:
    machine = replace(MACHINE, node=replace(NODE_FACTS, blocks=False))
    wanted = state(xray(TEN), machine)
    assert not wanted.namespaces[NODE].blocks
    assert any("modprobe xfrm_user" in said for said in wanted.waiting)
    assert not any("xfrm_user" in said for said in state(xray(TEN)).waiting)


def test_they_stand_only_while_chains_judge() -> None:
    wanted = state({**xray(TEN), **tunnels(wgc1=[TWENTY])})
    coming, going = plan(wanted, HostState()), plan(HostState(), wanted)
    added = [n for n, step in enumerate(coming) if isinstance(step, Add) and isinstance(step.item, Block)]
    removed = [n for n, step in enumerate(going) if isinstance(step, Remove) and isinstance(step.item, Block)]
    assert len(added) == len(removed) == len(wanted.namespaces[NODE].blocks) == 12
    assert added[0] > max(n for n, step in enumerate(coming) if isinstance(step, ReplaceChains))
    assert removed[-1] < min(n for n, step in enumerate(going) if isinstance(step, RemoveChains))


def test_a_boot_puts_them_in_force() -> None:
    """Before nftables.service, which flushes everything, may start."""
    wanted = state(xray(TEN))
    steps = protective(plan(wanted, HostState()), wanted)
    assert {step.item for step in steps if isinstance(step, Add) and isinstance(step.item, Block)} == blocks(xray(TEN))


def test_their_commands_are_those_of_ip() -> None:
    steps = [step for step in plan(state(xray(TEN)), HostState()) if isinstance(step, Add)]
    said = {line for step in steps if isinstance(step.item, Block) for line in step.commands()}
    end = "action block mark 0 mask 0xffffffff priority 4294922322"
    assert f"ip xfrm policy add src {TEN}/32 dst 0.0.0.0/0 dir fwd {end}" in said
    assert f"ip xfrm policy add src {TEN}/32 dst 0.0.0.0/0 proto udp dport 53 dir in {end}" in said


def test_what_is_let_past_has_a_mark_that_others_may_not_take() -> None:
    wanted = state(xray(TEN))
    assert Rule(32766, 254, None, None, 0x1000000, 0x1000000) in wanted.namespaces[NODE].marked
    other = ForeignRule(NODE, 4, 100, 7, 0x1000000, 0xF000000)
    (finding,) = findings(Machine(rules=(other,)), wanted)
    assert "bits 0x1000000 of the mark 0x1000000/0x1000000" in finding.what


def test_a_switched_off_policy_check_is_found() -> None:
    machine = Machine(settings={(NODE, "net/ipv4/conf/all/disable_policy"): "1"})
    assert [it.what for it in findings(machine, state(xray(TEN))) if "disable_policy" in it.what]
    assert not findings(machine, state(xray(TEN, kill_switch="off", dns="bypass")))


def test_status_counts_a_mark_for_all_to_no_item() -> None:
    """The rules that we keep in shared chains are nobody's; an item has the rules of our own."""
    rule = "-m mark --mark 0x0 -j MARK --set-xmark 0x1000000/0x1000000"
    judged = Counted("ipv4", "mangle", "PREROUTING", rule, "after interface marks", True, 5, 500)
    past = Counted("ipv4", "mangle", "TUN_DIR", "-m set --match-set ru dst -j RETURN", "tunnel wgc1", True, 1, 100)
    assert [(it.item, it.outcome) for it in items([judged, past])] == [("tunnel wgc1", "let past")]


def test_status_shows_them() -> None:
    node = state(xray(TEN)).namespaces[NODE]
    (row,) = (it for it in kernel(node, node, [], NODE) if it.command == "ip xfrm policy")
    assert f"xfrm policy src {TEN}/32 dst 0.0.0.0/0 dir fwd action block mark 0" in row.lines


def test_a_state_that_waits_for_confirmation_remembers_them(tmp_path: Path) -> None:
    former = state(xray(TEN))
    confirm_file.write(tmp_path, Pending("t", "b", 0.0, "p", {}, confirm_file.restorable(former, tmp_path)), "digest")
    pending = confirm_file.read(tmp_path)
    assert pending and pending.former.namespaces[NODE].blocks == former.namespaces[NODE].blocks
