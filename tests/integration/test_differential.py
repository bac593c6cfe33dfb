"""The simulator against Open vSwitch itself, packet for packet, by ``ofproto/trace``.

The verifier proves things about what the simulator does (tests/unit/test_verify_soundness.py); here the simulator is
held to the switch that will run the entries.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from random import Random

import pytest
from ovs.unixctl.client import UnixctlClient
from random_policies import MESH, PORTS, packet_near, random_document, random_entries
from switch_sandbox import Sandbox, Switch

from policies.match import Match
from policies.model import PrivacyRouter
from ryu_apps.flows.flow import FlowEntry
from ryu_apps.flows.pipeline import compile_pipeline
from ryu_apps.openflow.ofctl import entry_text, match_text
from ryu_apps.packets.simulate import FlowTables
from ryu_apps.verify import Kind, verify
from ryu_apps.verify.entries import conflicts
from ryu_apps.verify.safety import flights
from ryu_apps.verify.tables import bridge

Entries = tuple[FlowEntry, ...]
ROUNDS = 400 if os.environ.get("SOAK") else 50
PACKETS = 120  # a round, of each of the two kinds
GATEWAYS = {  # port -> clients, own address
    "internal_100": (IPv4Network("10.100.0.0/24"), IPv4Address("10.99.0.100")),
    "internal_102": (IPv4Network("10.100.1.0/24"), IPv4Address("10.99.0.102")),
}
XRAYS = ("internal_101", "internal_103")
_STEP = re.compile(r"^ ?(\d+)\. (.*)$", re.MULTILINE)
_PRIORITY = re.compile(r"priority (\d+)")
_TOP_LEVEL = re.compile(r",(?![^()]*\))")
_TRACE_NAMES = {
    **{
        f"{word}{six}": {"tp_src": f"{word}_src", "tp_dst": f"{word}_dst"}
        for word in ("udp", "sctp")
        for six in ("", "6")
    },
    "icmp6": {"icmp_type": "icmpv6_type", "icmp_code": "icmpv6_code"},
}


class Oracle:
    """What Open vSwitch says it would do with a packet."""

    def __init__(self, switch: Switch, socket: Path) -> None:
        self.switch = switch
        error, client = UnixctlClient.create(str(socket))
        assert not error and client is not None
        self._client = client

    def install(self, entries: Sequence[FlowEntry]) -> None:
        text = "\n".join(map(entry_text, entries))
        self.switch.ofctl("--bundle", "replace-flows", self.switch.bridge, "-", input=text)

    def trace(self, packet: Match) -> tuple[list[tuple[int, int | None]], list[str]]:
        """((table, priority of the entry or None) of each table met, the ports it leaves by)."""
        asked = ["--names", self.switch.bridge, match_text(_in_trace_names(packet))]
        error, failure, text = self._client.transact("ofproto/trace", asked)
        assert not error and text is not None, (failure, asked)
        steps = []
        for table, line in _STEP.findall(text):
            priority = _PRIORITY.search(line)
            steps.append((int(table), int(priority.group(1)) if priority else None))
        actions = text.split("Datapath actions: ")[1].split("\n")[0]
        return steps, [word for word in _TOP_LEVEL.split(actions) if word in PORTS]


def _in_trace_names(packet: Match) -> Match:
    """``ofproto/trace`` takes tp_dst and icmp_type for TCP's and ICMPv4's."""
    words = dict(packet)
    for word, names in _TRACE_NAMES.items():
        if word in words:
            return tuple((names.get(name, name), text) for name, text in packet)
    return packet


@pytest.fixture(scope="module")
def oracle(shared: Sandbox) -> Oracle:
    switch = Switch(shared)
    switch.add_ports(*PORTS)
    return Oracle(switch, shared.directory / "vswitchd.ctl")


@pytest.fixture
def seed() -> int:
    """Another one each time. Set DIFFERENTIAL_SEED to see one again."""
    chosen = int(os.environ.get("DIFFERENTIAL_SEED") or int.from_bytes(os.urandom(4), "big"))
    print(f"DIFFERENTIAL_SEED={chosen}", file=sys.stderr)
    return chosen


def test_policies(oracle: Oracle, seed: int) -> None:
    met = accepted = 0
    for number in range(ROUNDS):
        random = Random(f"{seed} policy {number}")
        policy = random_document(random)[1]
        entries = compile_pipeline(policy)
        what = f"seed {seed}, policy {number}"
        met += compare(oracle, random, without_conflicts(entries), what)
        if not verify({"": entries}, policy):
            accepted += 1
            keeps_its_promises(oracle, random, policy, entries, what)
    assert met == ROUNDS * PACKETS
    assert accepted > ROUNDS / 10, "the random documents are too wild to say something about the accepted ones"


def keeps_its_promises(oracle: Oracle, random: Random, policy: PrivacyRouter, entries: Entries, what: str) -> None:
    """What the switch itself sends, of a policy that the verifier accepted."""
    mesh = policy.netmaker.subnet
    beside = {port: {"warp0"} for port in (*GATEWAYS, *XRAYS)} | {"warp0": {*GATEWAYS, *XRAYS}}
    for _ in range(PACKETS):
        packet = packet_near(random, entries)
        _, sent = oracle.trace(packet)
        if not sent:
            continue
        words = dict(packet)
        port = words["in_port"]
        source = IPv4Address(words.get("arp_spa") or words.get("nw_src") or 0)
        assert set(sent) <= beside.get(port, set(MESH)), (what, match_text(packet))
        assert not any(word in words for word in ("ipv6", "tcp6", "udp6", "icmp6")), (what, match_text(packet))
        if port in GATEWAYS:
            clients, own = GATEWAYS[port]
            assert source in clients or source == own, (what, match_text(packet))
        if port == "warp0" and "arp" not in words:
            assert set(sent) <= open_to(source, policy), (what, match_text(packet))
        if port in MESH and "arp" not in words:
            assert source in mesh, (what, match_text(packet))


def open_to(source: IPv4Address, policy: PrivacyRouter) -> set[str]:
    """Where the WARP hop's packets may go: a client's to its own gateway, and to the Xray that its lowest bit names."""
    for gateway, (clients, _) in GATEWAYS.items():
        if source in clients and policy.xray.further:
            own = XRAYS[int(source) & 1]
            return {gateway, own if policy.xray.enabled else "internal_103"}
    return {*GATEWAYS, *XRAYS}


def test_any_entries(oracle: Oracle, seed: int) -> None:
    met = 0
    for number in range(ROUNDS):
        random = Random(f"{seed} entries {number}")
        entries = without_conflicts(random_entries(random, random.choice((3, 10, 40))))
        met += compare(oracle, random, entries, f"seed {seed}, entries {number}")
    assert met == ROUNDS * PACKETS


def test_together_they_are_enough() -> None:
    assert 2 * ROUNDS * PACKETS >= 10_000


def test_a_difference_would_be_seen(oracle: Oracle) -> None:
    random = Random(1)
    entries = compile_pipeline(random_document(random)[1])
    oracle.install(entries[1:])
    packets = [packet_near(random, entries) for _ in range(PACKETS)]
    tables = FlowTables(entries)
    assert any(oracle.trace(packet) != simulated(tables, packet) for packet in packets)


def without_conflicts(entries: tuple[FlowEntry, ...]) -> tuple[FlowEntry, ...]:
    """The entries without those of which the switch could choose either one: those that the verifier names."""
    while True:
        tables = bridge("", entries)
        found = [finding for finding in conflicts(tables, flights(tables, PORTS)) if finding.kind is Kind.CONFLICT]
        if not found:
            return entries
        worse = {finding.entries[1].identity for finding in found}
        entries = tuple(entry for entry in entries if entry.identity not in worse)


def compare(oracle: Oracle, random: Random, entries: tuple[FlowEntry, ...], what: str) -> int:
    oracle.install(entries)
    tables = FlowTables(entries)
    for _ in range(PACKETS):
        packet = packet_near(random, entries)
        assert simulated(tables, packet) == oracle.trace(packet), f"{what}: {match_text(packet)}"
    return PACKETS


def simulated(tables: FlowTables, packet: Match) -> tuple[list[tuple[int, int | None]], list[str]]:
    trace = tables.trace(dict(packet))
    return [(step.table, step.entry.priority if step.entry else None) for step in trace.steps], list(trace.ports)
