"""Policies and machines for the director's tests, as values; random ones from a seed."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from host_examples import FACTS
from host_kernel import Packet

from host_agent.countries.values import Country
from host_agent.desired import desired
from host_agent.facts.values import Facts, NodeFacts, NodeLink
from host_agent.prefixes import Prefixes
from host_agent.state import HostState
from policies.host_model import Policy
from policies.load import parse_policy

CLIENTS = ("192.168.50.10", "192.168.50.20", "192.168.50.16/28", "192.168.50.64/26", "192.168.50.0/24")
CLIENTS6 = ("fd00:50::10", "fd00:50::20", "fd00:50::/64", "02:00:00:00:50:0a", "02:00:00:00:50:14")
TUNNELS = ("wgc1", "wgc2", "ovpnc3", "main")
TARGETS = ("8.8.8.8", "77.88.8.8", "100.64.0.1", "192.168.50.1", "192.0.2.2", "203.0.113.10")
TARGETS6 = ("2001:4860::8888", "2a02:6b8::1", "fd00:50::1")
HOSTS = {
    "192.168.50.10": "02:00:00:00:50:0a",
    "192.168.50.20": "02:00:00:00:50:14",
    "192.168.50.70": "",
    "192.168.50.99": "",
}
HOSTS6 = {"fd00:50::10": "02:00:00:00:50:0a", "fd00:50::20": "02:00:00:00:50:14", "fd00:50::99": "", "fe80::5": ""}
RANGES = {"ru": ("77.88.0.0/16", "2a02:6b8::/32"), "by": ("93.84.0.0/16", "2a02:2208::/32")}


def country(*networks: str) -> Country:
    family = "ipv4" if ip_network(networks[0]).version == 4 else "ipv6"
    return Country(Prefixes.of(family, [ip_network(it) for it in networks]), "test", 0.0, None)


LAN = frozenset({ip_network("192.168.50.0/24"), ip_network("fd00:50::/64")})
IPV6 = frozenset({ip_network("fd81::/64")})
NODE_FACTS = NodeFacts(
    tables={"ovpnc3": 103},
    links={"br0": NodeLink(True, LAN), "wgc1": NodeLink(True, IPV6), "wgc2": NodeLink(True, frozenset())},
    servers={"203.0.113.10": (ip_address("203.0.113.10"),)},
    countries={
        (code, family): country(ranges)
        for code, both in RANGES.items()
        for family, ranges in zip(("ipv4", "ipv6"), both, strict=True)
    },
)
MACHINE = replace(FACTS, identity=None, node=NODE_FACTS)


def policy(document: dict[str, Any]) -> Policy:
    return parse_policy(json.dumps(document), "policy.json")


def state(document: dict[str, Any], facts: Facts = MACHINE) -> HostState:
    """Without the hash file, which is no part of the kernel."""
    return replace(desired(policy(document), facts), files=frozenset())


def packets() -> list[Packet]:
    kinds = (("tcp", 80), ("udp", 443), ("udp", 53), ("tcp", 53), ("udp", 7), ("icmp", 0))
    return [
        Packet(ip_address(host), ip_address(target), protocol, port, mac)
        for hosts, targets in ((HOSTS, TARGETS), (HOSTS6, TARGETS6))
        for host, mac in hosts.items()
        for target in targets
        for protocol, port in kinds
    ]


def random_document(chance: random.Random) -> dict[str, Any]:
    """Any valid policy over a few clients, tunnels and countries."""
    clients = [*CLIENTS, *CLIENTS6]
    treatment = lambda: {  # noqa: E731
        "kill_switch": chance.choice(("on", "on", "off")),
        "ipv6": chance.choice(("tunnel", "block", "bypass")),
        "dns": chance.choice(("hijack", "tunnel", "bypass")),
        "quic": chance.choice(("proxy", "reject")),
    }
    countries = lambda: chance.sample(("ru", "by"), chance.randrange(3))  # noqa: E731
    document: dict[str, Any] = {"advanced": {"lan": {"unnamed_ipv6": chance.choice(("block", "bypass"))}}}
    if chance.random() < 0.8:
        document["xray"] = {
            "clients": chance.sample(clients, chance.randrange(4)),
            "servers": chance.sample(["203.0.113.10"], chance.randrange(2)),
            "exclude_sets": countries(),
            "exclude_ips": chance.sample(["8.8.8.0/24", "2001:4860::/32"], chance.randrange(3)),
            **treatment(),
        }
    left = chance.sample(clients, len(clients))
    tunnels = {}
    for name in chance.sample(TUNNELS, chance.randrange(len(TUNNELS) + 1)):
        own = [left.pop() for _ in range(min(len(left), chance.randrange(4)))]
        tunnels[name] = {"clients": own, "exclude": countries(), **treatment()}
        if name != "main" and chance.random() < 0.3:
            tunnels[name]["failover"] = [chance.choice([it for it in ("wgc1", "wgc2", "ovpnc3") if it != name])]
        if name != "main" and chance.random() < 0.3:
            tunnels[name]["probe"] = chance.sample(["198.51.100.1:443", "[2001:db8::1]:443"], chance.randrange(1, 3))
    document["tunnel_director"] = {"tunnels": tunnels}
    document["paused_clients"] = chance.sample(clients, chance.randrange(2))
    return document


def random_machine(chance: random.Random) -> Facts:
    """Tunnels come and go, and so do prefixes of countries."""
    links = {name: link for name, link in NODE_FACTS.links.items() if name == "br0" or chance.random() < 0.8}
    countries = dict(NODE_FACTS.countries)
    if chance.random() < 0.4:
        countries["ru", "ipv4"] = country("77.88.0.0/16", "8.8.8.0/24")
    if chance.random() < 0.2:
        del countries["by", "ipv4"]
    dead = frozenset(chance.sample(("wgc1", "wgc2"), chance.randrange(2)))
    return replace(MACHINE, node=replace(NODE_FACTS, links=links, countries=countries, dead=dead))


def with_ranges_of(then: Facts, machine: Facts) -> Facts:
    return replace(machine, node=replace(machine.node, countries=then.node.countries))
