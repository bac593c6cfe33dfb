"""Random policies, random flow entries, and packets near their edges, all from one ``random.Random``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from random import Random
from typing import Any

from further_hops import with_further
from policy_documents import EXAMPLE

from policies.errors import DocumentError
from policies.load import parse
from policies.match import Match, MatchError, normalise
from policies.match_fields import FIELDS
from policies.model import PrivacyRouter
from ryu_apps.flows.flow import (
    TABLES,
    Action,
    DecTtl,
    FlowEntry,
    GotoTable,
    Output,
    PushVlan,
    SetField,
    StripVlan,
)
from ryu_apps.packets.simulate import read_packet

PRIVACY = ("internal_100", "warp0", "internal_101")
MESH = ("internal_200", "internal_201", "nm-privacy")
FURTHER = ("internal_102", "internal_103")  # a gateway and an Xray, in some of the documents
PORTS = (*PRIVACY, *FURTHER, *MESH)
_HOPS = ("10.99.0.1", "10.99.0.100", "10.99.0.101")
_HOSTS = ("10.100.0.2", "10.100.1.3", *_HOPS, "100.104.70.10", "100.104.70.11", "198.51.100.1")

# What a field may say in a random match. Few values, so that entries meet; edges and odd masks among them.
_TEXTS: dict[str, tuple[str, ...]] = {
    "in_port": PORTS,
    "dl_src": ("02:00:00:00:00:01", "02:00:00:00:00:00/ff:ff:ff:ff:ff:00", "01:00:00:00:00:00/01:00:00:00:00:00"),
    "dl_dst": ("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:02", "01:00:00:00:00:00/01:00:00:00:00:00"),
    "vlan_vid": ("none", "any", "0", "5", "4095", "4/6"),
    "vlan_pcp": ("0", "3", "7"),
    "nw_src": (*_HOSTS, "10.100.0.0/24", "10.0.0.0/8", "128.0.0.0/1", "0.0.0.1/0.0.0.1", "0.0.0.0/0.0.0.1"),
    "nw_dst": (*_HOSTS, "100.104.70.0/24", "100.104.70.8/29", "10.99.0.0/24", "0.0.0.2/0.0.0.3"),
    "nw_tos": ("0", "4", "184", "252"),
    "nw_ecn": ("0", "1", "3"),
    "nw_ttl": ("0", "1", "2", "64"),
    "ipv6_src": ("2001:db8::1", "2001:db8::/32", "fe80::/10", "::1/::1"),
    "ipv6_dst": ("2001:db8::1", "ff00::/8", "2001:db8::/127"),
    "tp_src": ("0", "53", "443", "1024/0xfc00", "1/1"),
    "tp_dst": ("0", "53", "443", "442/0xfffe", "32768/0x8000"),
    "tcp_flags": ("+syn-ack", "+rst", "-syn"),
    "icmp_type": ("0", "3", "8"),
    "icmp_code": ("0", "1"),
    "arp_op": ("1", "2"),
    "arp_spa": (*_HOSTS, "10.99.0.0/24"),
    "arp_tpa": (*_HOSTS, "100.104.70.0/24", "0.0.0.1/0.0.0.1"),
    "arp_sha": ("02:00:00:00:00:01",),
    "metadata": ("0x1", "0x0/0x1"),
    "reg0": ("0x1", "0x2/0x2"),
    "pkt_mark": ("0x100/0x100",),
}
_BROUGHT_BY_NONE = frozenset(("metadata", "reg0"))  # a packet has them from the entries that it met
_L2 = ("dl_src", "dl_dst", "vlan_vid", "vlan_pcp", "metadata", "reg0", "pkt_mark")
_IPV4, _IPV6 = (
    ("nw_src", "nw_dst", "nw_tos", "nw_ecn", "nw_ttl"),
    ("ipv6_src", "ipv6_dst", "nw_tos", "nw_ecn", "nw_ttl"),
)
_TP = ("tp_src", "tp_dst")
_BY_PROTOCOL: dict[str, tuple[str, ...]] = {
    "": _L2,
    "ip": (*_L2, *_IPV4),
    "tcp": (*_IPV4, *_TP, "tcp_flags", "vlan_vid"),
    "udp": (*_IPV4, *_TP),
    "icmp": (*_IPV4, "icmp_type", "icmp_code"),
    "sctp": (*_IPV4, *_TP),
    "ipv6": (*_L2, *_IPV6),
    "tcp6": (*_IPV6, *_TP),
    "udp6": (*_IPV6, *_TP),
    "icmp6": (*_IPV6, "icmp_type", "icmp_code"),
    "arp": ("dl_src", "vlan_vid", "arp_op", "arp_spa", "arp_tpa", "arp_sha"),
}
_PRIORITIES = (1, 2, 50, 90, 100, 101, 110, 500, 65535)


def random_match(random: Random, most: int = 3, protocols: Sequence[str] = tuple(_BY_PROTOCOL)) -> Match:
    """A match that the loader takes, in normal form."""
    while True:
        protocol = random.choice(protocols)
        names = random.sample(_BY_PROTOCOL[protocol], random.randint(0, most))
        given: dict[str, object] = {name: random.choice(_TEXTS[name]) for name in names}
        if protocol:
            given[protocol] = ""
        if random.random() < 0.5:
            given["in_port"] = random.choice(PORTS)
        try:
            return normalise(given)
        except MatchError:
            continue


def random_entries(random: Random, count: int = 30) -> tuple[FlowEntry, ...]:
    """Entries as no policy has them: any match, any action, in all tables. No two have one identity."""
    entries: dict[object, FlowEntry] = {}
    for number in range(count):
        table = random.choice(tuple(TABLES))
        match = random_match(random)
        entry = FlowEntry(table, random.choice(_PRIORITIES), match, _actions(random, table, match), f"entry {number}")
        entries.setdefault(entry.identity, entry)
    return tuple(entries.values())


def _actions(random: Random, table: int, match: Match) -> tuple[Action, ...]:
    actions: list[Action] = []
    tags = 0 if dict(match).get("vlan_vid", "none") == "none" else 1  # a switch refuses what it knows to be impossible
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        choice = random.random()
        if choice < 0.6:
            actions.append(Output(random.choice(PORTS)))
        elif choice < 0.75:
            actions += _setting(random, match)
        elif choice < 0.85 and any(word in dict(match) for word in ("ip", "tcp", "udp", "icmp", "ipv6")):
            actions.append(DecTtl())
        elif choice < 0.92 and tags < 2:
            actions.append(PushVlan())
            tags += 1
        elif tags:
            actions.append(StripVlan())
            tags -= 1
    further = [number for number in TABLES if number > table]
    if further and random.random() < 0.5:
        actions.append(GotoTable(random.choice(further)))
    return tuple(actions)


def _setting(random: Random, match: Match) -> list[Action]:
    words = dict(match)
    allowed = ["dl_src", "dl_dst", "reg0", "metadata"]
    if {"ip", "tcp", "udp", "icmp"} & set(words):
        allowed += ["nw_src", "nw_dst", "nw_ttl"]
    if {"tcp", "udp"} & set(words):
        allowed += ["tp_src", "tp_dst"]
    name = random.choice(allowed)
    texts = [text for text in _TEXTS[name] if "/" not in text]
    return [SetField(name, random.choice(texts))]


def random_document(random: Random) -> tuple[str, PrivacyRouter]:
    """The example with other flows, routes and hops: as text, and as the policy that the loader makes of it."""
    while True:
        text = json.dumps(_document(random), indent=1)
        try:
            return text, parse(text, "random.json")
        except DocumentError:
            continue


def _document(random: Random) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(EXAMPLE)
    router = document["privacy_router"]
    if random.random() < 0.4:
        with_further(router)
    if random.random() < 0.2:
        router["xray"]["enabled"] = False
    if random.random() < 0.2:
        router["netmaker"]["enabled"] = False
    flows = router["openflow"]["privacy_flows"] if random.random() < 0.7 else []
    for _ in range(random.choice((0, 0, 1, 1, 2, 4))):
        flows.append(_privacy_flow(random))
    router["openflow"]["privacy_flows"] = flows
    routes = router["openflow"]["function_routing"]
    for number in range(random.choice((0, 0, 1, 2, 5))):
        routes.append(_function_route(random, number))
    return document


def _privacy_flow(random: Random) -> dict[str, Any]:
    port = random.choice(PRIVACY)
    match = dict(random_match(random, 2, ("", "ip", "tcp", "udp", "icmp", "ipv6", "arp"))) | {"in_port": port}
    target = random.choice([other for other in PRIVACY if other != port])
    return {
        "priority": random.choice((90, 100, 110, 150)),
        "match_fields": match,
        "actions": random.choice((["drop"], [f"output:{target}"], [f"output:{target}"])),
        "description": f"random {random.randrange(10**6)}",
    }


def _function_route(random: Random, number: int) -> dict[str, Any]:
    mesh = IPv4Network("100.104.70.0/24")
    address = IPv4Address(int(mesh.network_address) + random.choice((10, 11, 12, 13, 14, 40)))
    match: dict[str, Any] = {"nw_dst": str(address)}
    if random.random() < 0.2:
        match = {"nw_dst": random.choice(("100.104.70.8/29", "100.104.70.0/24"))}
    if random.random() < 0.4:
        match[random.choice(("tcp_dst", "udp_dst"))] = random.choice((53, 443, 5432))
    return {
        "function": f"f{number}",
        "target_socket": random.choice(MESH[:2]),
        "match_fields": match,
        "priority": random.choice((3, 80, 90, 90, 95)),
    }


def packet_near(random: Random, entries: Sequence[FlowEntry]) -> Match:
    """A packet that an entry takes, or just does not: the edge of its match is where mistakes are made."""
    while True:
        given: dict[str, object] = {}
        for entry in random.sample(entries, min(len(entries), random.choice((1, 1, 2)))):
            given |= dict(entry.match)
        if "vlan_pcp" in given:
            given.setdefault("vlan_vid", "5")
        packet: dict[str, str | int] = {name: _near(random, name, str(text)) for name, text in given.items()}
        for name in _BROUGHT_BY_NONE:
            packet.pop(name, None)
        if "in_port" not in packet or random.random() < 0.1:
            packet["in_port"] = random.choice(PORTS)
        protocols = [name for name in _BY_PROTOCOL if name in packet]
        if random.random() < 0.6:
            for name in random.sample(_BY_PROTOCOL[protocols[0] if protocols else ""], 1):
                if name not in _BROUGHT_BY_NONE:
                    packet.setdefault(name, _near(random, name, random.choice(_TEXTS[name])))
        try:
            match = read_packet(packet)
        except MatchError:
            continue
        if not ("vlan_pcp" in dict(match) and dict(match).get("vlan_vid", "none") == "none"):
            return match


def _near(random: Random, name: str, text: str) -> str:
    """One value of a field: inside the text's mask, or one bit beside it."""
    if name == "in_port" or not text:
        return text
    form = FIELDS[name]
    value, mask = form.parse(text)
    full = (1 << form.bits) - 1
    value |= random.choice((0, full, random.getrandbits(form.bits))) & ~mask & full
    if random.random() < 0.15:
        value ^= 1 << random.randrange(form.bits)
    if name == "vlan_vid" and not value & 0x1000:
        value = 0
    return form.text(value, full)
