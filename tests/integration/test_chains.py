"""Chains in a real kernel: what the quick reading says is what iptables-save says, and what is written is meant.

Strangers do this and that to the tables; after each deed both readings are compared, and the agent repairs.
"""

from __future__ import annotations

import os
import random
import shlex
import subprocess
from collections.abc import Iterator

import pytest
from sandbox import Sandbox

from host_agent.drivers import chain_outline, chain_reading, netfilter, nftables
from host_agent.drivers.command import run
from host_agent.drivers.memory import Memory
from host_agent.state import Chain, Family, filter_rule

LATE = "after interface marks"
OWN = Chain(
    "ipv4",
    "mangle",
    "OWN",
    (
        *(filter_rule(f"-s 192.0.2.{n}/32 -p udp -m udp --dport {n} -j RETURN", f"client {n}") for n in range(1, 8)),
        filter_rule("-s 198.51.100.0/24 -j OTHER"),
        filter_rule("-p tcp -j MARK --set-xmark 0x10000/0xff0000"),
    ),
)
OTHER = Chain("ipv4", "mangle", "OTHER", (filter_rule("-i br0 -j RETURN"), filter_rule("-j DROP")))
TOP = Chain(
    "ipv4", "mangle", "PREROUTING", (filter_rule("-i br0 -j OTHER"), filter_rule("-i br0 -j OWN", placement=LATE))
)
NAT = Chain("ipv4", "nat", "POSTROUTING", (filter_rule("-o wgc1 -j MASQUERADE", "tunnel"),))
GUARD = Chain("ipv4", "filter", "FORWARD", (filter_rule("-i br0 -j GUARD"),))
GUARDED = Chain("ipv4", "filter", "GUARD", (filter_rule("-s 192.0.2.1/32 -o wgc1 -j RETURN"), filter_rule("-j DROP")))
WANTED = frozenset({OWN, OTHER, TOP, NAT, GUARD, GUARDED})

DEEDS = """
-t mangle -A PREROUTING -i ppp0 -j MARK --set-mark 1
-t mangle -I PREROUTING -i ppp0 -m mark --mark 0 -j CONNMARK --save-mark
-t mangle -I PREROUTING 2 ! -i eth+ -j MARK --set-xmark 0x1/0x1
-t mangle -A PREROUTING -j MARK --set-mark 1
-t mangle -I PREROUTING 2 -i ppp0 -j ACCEPT
-t mangle -A PREROUTING -p tcp -j ACCEPT
-t mangle -I PREROUTING -j OWN
-t mangle -D PREROUTING 1
-t mangle -D PREROUTING 2
-t mangle -F PREROUTING
-t mangle -F
-t mangle -F OWN
-t mangle -F OTHER
-t mangle -D OWN 3
-t mangle -D OWN 1
-t mangle -I OWN 3 -j ACCEPT
-t mangle -A OWN -j ACCEPT
-t mangle -R OWN 2 -j ACCEPT
-t mangle -A OWN -m comment --comment "privacy-router 0123456789ab" -j DROP
-t mangle -A FORWARD -m comment --comment "privacy-router 0123456789ab after interface marks" -j DROP
-t mangle -N privacy-router
-t mangle -N THEIRS
-t mangle -A THEIRS -j OWN
-t mangle -A FORWARD -j THEIRS
-t mangle -P FORWARD DROP
-t nat -I POSTROUTING -o ppp0 -j MASQUERADE
-t nat -F
-t nat -N OWN
-t filter -I FORWARD -j ACCEPT
-t filter -A FORWARD -j ACCEPT
-t filter -F FORWARD
-t filter -F GUARD
-t filter -X GUARD
-t filter -I GUARD 2 -j ACCEPT
-t raw -A PREROUTING -j ACCEPT
-t mangle -Z
""".strip().splitlines()


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with Sandbox() as own, own.network():
        yield


def iptables(words: str) -> str:
    """What it prints. A deed that is not possible just then is none."""
    return subprocess.run(["iptables", "-w", *shlex.split(words)], check=False, capture_output=True, text=True).stdout


def by_text(family: Family, wanted: frozenset[Chain]) -> netfilter.Reading:
    saved = chain_reading.saved(run([netfilter.TOOLS[family][0]]))
    chains = chain_reading.ours(family, saved, wanted)
    theirs = saved.keys() - {(chain.table, chain.name) for chain in chains}
    return netfilter.Reading(chains, frozenset(it for it in wanted if not it.shared and (it.table, it.name) in theirs))


def systems(reading: netfilter.Reading) -> dict[object, int]:
    """Where the late rules belong, of each chain in which it matters."""
    return {chain.key: chain.system for chain in reading.chains if chain.shared and chain.name == "PREROUTING"}


def test_both_readings_agree_whatever_strangers_do() -> None:
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"SEED={seed}")
    dice = random.Random(seed)
    memory, quick = Memory(), 0
    for _ in range(400 if "SOAK" in os.environ else 60):
        for deed in dice.sample(DEEDS, dice.randrange(3)):
            iptables(deed)
        read, text = netfilter.read("ipv4", WANTED, memory), by_text("ipv4", WANTED)
        assert read == text and systems(read) == systems(text)
        rules = chain_outline.rules(nftables.outline("ipv4", nftables.generation()))
        quick += chain_outline.judged("ipv4", rules, WANTED) is not None
        if read.strangers:  # an operator would follow the advice
            for deed in ("-t mangle -F", "-t mangle -X", "-F", "-X"):
                iptables(deed)
            read = netfilter.read("ipv4", WANTED, memory)
        missing, stale = WANTED - read.chains, {it for it in read.chains if it.key not in {w.key for w in WANTED}}
        netfilter.write("ipv4", netfilter.replacement(missing, read.chains))
        stale = {chain for chain in stale if chain.rules or not chain.shared}
        if stale:
            netfilter.write("ipv4", netfilter.removal(stale))
        assert netfilter.read("ipv4", WANTED, memory).chains >= WANTED
    assert quick > 5, "the quick reading can tell now and then"


@pytest.mark.parametrize("rule", ["-j ACCEPT", "-j RETURN"])
def test_somebody_elses_chain_under_a_name_of_ours_is_told(rule: str) -> None:
    iptables("-t mangle -N OWN")
    iptables(f"-t mangle -A OWN {rule}")
    assert netfilter.read("ipv4", WANTED, Memory()) == netfilter.Reading(frozenset(), frozenset({OWN}))
    iptables("-t mangle -F OWN")
    assert netfilter.read("ipv4", WANTED, Memory()).strangers == frozenset(), "an empty one can be taken"


def test_only_what_differs_is_written_and_the_rest_keeps_its_counters() -> None:
    netfilter.write("ipv4", netfilter.replacement(WANTED, ()))
    iptables(f"-t mangle -R OWN 1 -c 7 8 {OWN.rules[0].arguments}")
    more = Chain("ipv4", "mangle", "OWN", (*OWN.rules[:4], filter_rule("-s 192.0.2.99/32 -j RETURN"), *OWN.rules[5:]))
    found = netfilter.read("ipv4", WANTED, Memory()).chains
    text = netfilter.replacement({more}, found)
    assert [line.split()[0] for line in text.splitlines()] == ["*mangle", "-D", "-I", "COMMIT"]
    netfilter.write("ipv4", text)
    wanted = WANTED - {OWN} | {more}
    assert netfilter.read("ipv4", wanted, Memory()).chains == wanted
    assert iptables("-t mangle -S OWN -v").count("-c 7 8") == 1


def test_what_is_in_sync_is_read_without_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    netfilter.write("ipv4", netfilter.replacement(WANTED, ()))
    iptables("-t mangle -I PREROUTING 1 -i ppp0 -j MARK --set-mark 1")
    found = netfilter.read("ipv4", WANTED, Memory()).chains
    netfilter.write("ipv4", netfilter.replacement(WANTED - found, found))

    def refused(argv: list[str], stdin: str = "") -> str:
        raise AssertionError(argv)

    monkeypatch.setattr(netfilter, "run", refused)
    memory = Memory()
    assert netfilter.read("ipv4", WANTED, memory).chains == WANTED
    monkeypatch.setattr(nftables, "outline", refused)
    assert netfilter.read("ipv4", WANTED, memory).chains == WANTED, "nor is it listed again"


def test_nothing_that_was_read_is_believed_after_a_change() -> None:
    memory = Memory()
    netfilter.write("ipv4", netfilter.replacement(WANTED, ()))
    assert netfilter.read("ipv4", WANTED, memory).chains == WANTED
    iptables("-t mangle -F OWN")
    assert OWN not in netfilter.read("ipv4", WANTED, memory).chains
