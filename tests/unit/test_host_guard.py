"""The guard: whatever one layer loses, no packet leaves where no policy lets it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from director_examples import MACHINE, NODE_FACTS, packets, random_document, state
from host_kernel import COMMENT, Kernel, Packet

from host_agent.guard import both
from host_agent.plan import plan
from host_agent.prefixes import Prefixes
from host_agent.state import NODE, Chain, FilterRule, HostState, IpSet, NamespaceState, Route, filter_rule
from host_agent.steps import ReplaceChains

PACKETS = packets()
ROUNDS = 60 if os.environ.get("SOAK") else 4
KEPT = {"dropped", "refused", "xray"}


def without_open_doors(document: dict[str, Any]) -> dict[str, Any]:
    """A kill switch that is off asks for what is a leak here."""
    groups = [document.get("xray", {}), *document["tunnel_director"]["tunnels"].values()]
    for group in groups:
        group.pop("kill_switch", None)
    for tunnel in document["tunnel_director"]["tunnels"].values():
        tunnel.pop("failover", None)
    return document


def damaged(kernel: Kernel) -> Iterator[tuple[str, Kernel]]:
    """The machine after each thing that a stranger could take away."""
    for key in [key for key in kernel.chains if key[1] in ("mangle", "nat", "filter")]:
        yield f"-F {key}", changed(kernel, chains={**kernel.chains, key: []})
    for table in ("mangle", "nat", "filter"):
        left = {key: rules for key, rules in kernel.chains.items() if key[1] != table}
        yield f"-F of table {table}", changed(kernel, chains=left)
    yield (
        "-F of all tables but the guard's",
        changed(kernel, chains={k: v for k, v in kernel.chains.items() if k[1] == "security"}),
    )
    for name, ipset in kernel.sets.items():
        empty = IpSet(name, ipset.family, Prefixes(ipset.family))
        yield f"ipset flush {name}", changed(kernel, sets={**kernel.sets, name: empty})
    for rule in kernel.rules:
        yield f"del {rule}", changed(kernel, rules=[it for it in kernel.rules if it != rule])
    for table in {route.table for route in kernel.routes.values()}:
        left_routes = {key: it for key, it in kernel.routes.items() if it.table != table}
        yield f"ip route flush table {table}", changed(kernel, routes=left_routes)


def changed(kernel: Kernel, **parts: Any) -> Kernel:
    return replace(kernel.copy(), **parts)


def decisions(kernel: Kernel) -> dict[Packet, str]:
    return {packet: kernel.decide(packet) for packet in PACKETS}


def in_force(wanted: HostState) -> Kernel:
    kernel = Kernel()
    list(kernel.carry_out(plan(wanted, HostState())))
    return kernel


def leaks(kernel: Kernel, *allowed: dict[Packet, str]) -> list[str]:
    """Packets that leave by a way that nobody gave them, be it a tunnel that is not their client's."""
    own: dict[object, set[str]] = {}
    for packet, way in ((packet, each[packet]) for each in allowed for packet in PACKETS):
        if way.startswith("by "):
            own.setdefault(packet.source, set()).add(way.split(" to ")[0])
    return [
        f"{packet}: {met}"
        for packet in PACKETS
        if (met := kernel.decide(packet)) not in KEPT | {each[packet] for each in allowed}
        and met.split(" to ")[0] not in own.get(packet.source, ())
    ]


def tunnels_alone(kernel: Kernel) -> dict[Packet, str]:
    """Each packet's tunnel, whatever is excluded from it and whoever else takes it."""
    chains = {key: [] if key[2] == "XRAY_TPROXY" or key[1] == "security" else it for key, it in kernel.chains.items()}
    sets = {name: IpSet(name, it.family, Prefixes(it.family)) for name, it in kernel.sets.items()}
    found = decisions(changed(kernel, chains=chains, sets=sets))
    return {packet: way if way.startswith("by ") else "refused" for packet, way in found.items()}


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_nothing_that_a_stranger_takes_away_opens_a_way(seed: int) -> None:
    chance = random.Random(seed)
    kernel = in_force(state(without_open_doors(random_document(chance))))
    right = decisions(kernel)
    assert "dropped" not in right.values(), "undamaged, the policy decides, not its guard"
    for what, left in damaged(kernel):
        assert not leaks(left, right, tunnels_alone(kernel)), what


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_nor_at_any_instant_of_a_change(seed: int) -> None:
    """What neither policy allows does not pass even if the mangle table is emptied in the middle of a change."""
    chance = random.Random(seed)
    kernel = in_force(state(without_open_doors(random_document(chance))))
    for _ in range(3):
        wanted = state(without_open_doors(random_document(chance)))
        allowed = [decisions(kernel), decisions(in_force(wanted))]
        for words in kernel.carry_out(plan(wanted, kernel.state())):
            bare = {key: rules for key, rules in kernel.chains.items() if key[1] != "mangle"}
            assert not leaks(changed(kernel, chains=bare), *allowed), words


def test_the_guard_can_stand_in_the_table_filter() -> None:
    """There it shares INPUT with the rules that refuse queries."""
    document = {
        "xray": {"clients": ["192.168.50.10"]},
        "tunnel_director": {"tunnels": {"wgc1": {"clients": ["192.168.50.20"], "dns": "tunnel"}}},
    }
    right = decisions(in_force(state(document)))
    kernel = in_force(state({**document, "advanced": {"tunnel_director": {"guard_table": "filter"}}}))
    assert not [key for key in kernel.chains if key[1] == "security"] and decisions(kernel) == right
    rules = kernel.chains["ipv4", "filter", "INPUT"]
    assert [rule.split("-j ")[1].split()[0] for rule in rules] == ["REJECT"] * 4 + ["TUN_GUARD"] * 2
    left = {key: rules for key, rules in kernel.chains.items() if key[1] != "mangle"}
    assert not leaks(changed(kernel, chains=left), right)
    assert plan(state(document), kernel.state()), "another table is another state"


def test_without_the_guard_a_leak_is_seen() -> None:
    kernel = in_force(state({"xray": {"clients": ["192.168.50.10"]}}))
    right = decisions(kernel)
    assert leaks(changed(kernel, chains={}, blocks=set()), right)
    assert not leaks(changed(kernel, chains={}), right)


@pytest.mark.parametrize("seed", range(ROUNDS * 4))
def test_nor_does_all_of_netfilter_at_once(seed: int) -> None:
    """Only clients by MAC address: that nobody but netfilter knows."""
    document = without_open_doors(random_document(random.Random(seed)))
    groups = [document.get("xray", {}), *document["tunnel_director"]["tunnels"].values()]
    by_mac = {client for group in groups for client in group.get("clients", ()) if client.count(":") == 5}
    kernel = in_force(state(document))
    right = decisions(kernel)
    flushed = changed(kernel, chains={})
    let_out = {packet: "wan" if packet.mac in by_mac else way for packet, way in right.items()}
    let_ask = {packet: "router" if packet.mac in by_mac else way for packet, way in right.items()}
    assert not leaks(flushed, right, let_out, let_ask)
    assert not leaks(changed(flushed, sets={}, rules=[], routes={}), right, let_out, let_ask)


def guard(document: dict[str, Any], **facts: Any) -> list[str]:
    machine = replace(MACHINE, node=replace(NODE_FACTS, **facts))
    chains = state(document, machine).namespaces[NODE].chains
    (found,) = (it for it in chains if (it.family, it.name) == ("ipv4", "TUN_GUARD"))
    return [COMMENT.sub("", rule.arguments) for rule in found.rules if not rule.arguments.startswith("-o br0")]


def test_a_tunnel_that_is_a_table_ends_where_its_routes_lead() -> None:
    """Also a route to the provider by the uplink, for its destination alone."""
    document = {"tunnel_director": {"tunnels": {"ovpnc3": {"clients": ["192.168.50.10"], "dns": "bypass"}}}}
    routes = frozenset(
        Route(ip_network(to), link=link, table=103)
        for to, link in (("0.0.0.0/1", "tun3"), ("128.0.0.0/1", "tun3"), ("203.0.113.7/32", "wan0"), ("::/0", "tun6"))
    )
    who = "-s 192.168.50.10/32"
    assert guard(document, routes=routes)[2:] == [
        f"{who} -o tun3 -j RETURN",
        f"{who} -o wan0 -d 203.0.113.7/32 -j RETURN",
        f"{who} -j DROP",
    ]
    assert guard(document)[2:] == [f"{who} -j DROP"], "a table that leads nowhere lets nobody out"


def test_whom_no_kill_switch_holds_may_go_any_way() -> None:
    one = {"clients": ["192.168.50.10"], "kill_switch": "off", "dns": "bypass"}
    assert guard({"tunnel_director": {"tunnels": {"wgc1": one}}})[-1] == "-s 192.168.50.10/32 -j RETURN"
    assert guard({"tunnel_director": {"tunnels": {"main": one}}}) == ["-s 192.168.50.10/32 -j RETURN"]


def test_clients_of_xray_are_known_by_address_not_by_their_set() -> None:
    found = guard({"xray": {"clients": ["192.168.50.0/30", "02:00:00:00:50:0a"]}, "paused_clients": ["192.168.50.1"]})
    assert found == [
        "-s 192.168.50.0/32 -j XRAY_GUARD",
        "-s 192.168.50.2/31 -j XRAY_GUARD",
        "-m mac --mac-source 02:00:00:00:50:0a -j XRAY_GUARD",
    ]


def test_a_guard_that_only_was_damaged_is_put_right_at_once() -> None:
    wanted = state({"xray": {"clients": ["192.168.50.10"]}})
    kernel = in_force(wanted)
    kernel.chains["ipv4", "security", "TUN_GUARD"] = []
    (step,) = plan(wanted, kernel.state())
    assert isinstance(step, ReplaceChains) and [chain.name for chain in step.wanted] == ["TUN_GUARD"]


def test_a_killed_change_leaves_a_guard_for_three_policies_to_the_next() -> None:
    """And the names that stood aside are free again in the end."""
    one, two, three = (state({"xray": {"clients": [f"192.168.50.{n}"]}}) for n in (10, 20, 70))
    kernel = in_force(one)
    for words in kernel.carry_out(plan(two, kernel.state())):
        if "security" in words:
            break
    between = kernel.state()
    names = {chain.name for chain in between.namespaces[NODE].chains if chain.table == "security"}
    assert names >= {"TUN_GUARD", "TUN_GUARD_1", "XRAY_GUARD", "XRAY_GUARD_1"}
    list(kernel.carry_out(plan(three, between)))
    assert plan(three, kernel.state()) == () and not [name for _, _, name in kernel.chains if name.endswith("_1")]


def test_a_guards_chains_and_the_jump_to_them_come_together() -> None:
    """Also where only the other family has to change something before all else."""
    one = state({"xray": {"clients": ["192.168.50.10"]}, "advanced": {"lan": {"unnamed_ipv6": "bypass"}}})
    two = state({"xray": {"clients": ["192.168.50.20", "fd00:50::20"]}})
    kernel = in_force(in_ipv4(one))
    for words in kernel.carry_out(plan(two, kernel.state())):
        for family in ("ipv4", "ipv6"):
            chains = {name for where, table, name in kernel.chains if (where, table) == (family, "security")}
            assert "TUN_GUARD" not in chains or kernel.chains[family, "security", "FORWARD"], words


def in_ipv4(wanted: HostState) -> HostState:
    """Nothing in IPv6 yet."""
    node = wanted.namespaces[NODE]
    chains = frozenset(chain for chain in node.chains if chain.family == "ipv4")
    return HostState(namespaces={NODE: replace(node, chains=chains)})


def test_strangers_rules_are_not_taken_along() -> None:
    own = (filter_rule("-s 10.0.0.1/32 -j DROP"),)
    jump = Chain("ipv4", "security", "FORWARD", (filter_rule("-i br0 -j TUN_GUARD"),))
    entry = Chain("ipv4", "security", "TUN_GUARD", own)
    found = Chain("ipv4", "security", "TUN_GUARD", (*own, FilterRule("-j ACCEPT", "")))
    other = Chain("ipv4", "mangle", "TUN_DIR", own)
    wanted = HostState(namespaces={NODE: NamespaceState(chains=frozenset({jump, entry, other}))})
    there = HostState(namespaces={NODE: NamespaceState(chains=frozenset({jump, found}))})
    result = both(wanted, there)
    assert result is not None
    texts = [rule.arguments for chain in result.namespaces[NODE].chains for rule in chain.rules]
    assert not any("ACCEPT" in text for text in texts)


def client_steps(before: list[str], after: list[str]) -> list[str]:
    one, two = (state({"xray": {"clients": clients}}) for clients in (before, after))
    kernel = in_force(one)
    return [str(step).removeprefix("node: put in place ") for step in plan(two, kernel.state())]


def test_a_client_more_or_less_needs_no_guard_for_two_policies() -> None:
    """The laxer of the two guards is one for both: it stands while the set changes."""
    few, many = ["192.168.50.10"], ["192.168.50.10", "192.168.50.20"]
    changed, back = client_steps(few, many), client_steps(many, few)
    policies = ["node:"] * 3
    assert [words.split()[0] for words in changed] == ["ipset", *policies, "iptables"], "then the stricter guard"
    assert [words.split()[0] for words in back] == ["iptables", "ipset", *policies], "first the laxer guard"
    assert all("_1" not in words for words in (*changed, *back)) and "TUN_GUARD" in changed[-1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["192.168.50.10"], ["192.168.50.20"]),
        (["192.168.50.10"], ["192.168.50.10/31"]),
        (["192.168.50.16/30"], ["192.168.50.16/30", "02:00:00:00:50:0a"]),
        (["02:00:00:00:50:0a"], ["02:00:00:00:50:0a", "192.168.50.20"]),
    ],
)
def test_other_changes_of_clients_need_one(before: list[str], after: list[str]) -> None:
    """An address may be of a client that is known by its Ethernet address; others take the place of what was there."""
    assert any("TUN_GUARD_1" in words for words in client_steps(before, after))
