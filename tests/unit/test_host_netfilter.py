"""Restore input for iptables, and reading back what their save commands print."""

from __future__ import annotations

from dataclasses import replace

import pytest

from host_agent.drivers import chain_reading, netfilter
from host_agent.state import Chain, Link, filter_rule

OWN = Chain("ipv4", "mangle", "XRAY_TPROXY", (filter_rule("-p tcp -j RETURN"), filter_rule("-p udp -j RETURN")))
JUMP = Chain("ipv4", "mangle", "PREROUTING", (filter_rule("-j XRAY_TPROXY"),))
NAT = Chain("ipv4", "nat", "POSTROUTING", (filter_rule("-o wgcf -j MASQUERADE", "out"),))


def parse(text: str) -> frozenset[Chain]:
    return chain_reading.ours("ipv4", chain_reading.saved(text), ())


def saved(*chains: Chain, strangers: dict[str, list[str]] | None = None) -> str:
    """What iptables-save prints; a stranger's rules stand before ours."""
    lines = []
    for table in sorted({chain.table for chain in chains}):
        lines += [f"*{table}", ":PREROUTING ACCEPT [0:0]", ":POSTROUTING ACCEPT [7:8]"]
        here = [chain for chain in chains if chain.table == table]
        lines += [f":{chain.name} - [0:0]" for chain in here if not chain.shared]
        for chain in here:
            lines += [f"-A {chain.name} {rule}" for rule in (strangers or {}).get(chain.name, [])]
            lines += [f"-A {chain.name} {rule.arguments}" for rule in chain.rules]
        lines += ["COMMIT", "# Completed"]
    return "\n".join(lines)


def test_what_was_written_reads_back_equal() -> None:
    assert parse(saved(OWN, JUMP, NAT)) == {OWN, JUMP, NAT}
    assert parse("") == frozenset()


def test_a_rule_is_known_by_its_digest_however_it_is_printed() -> None:
    text = saved(OWN, JUMP).replace("-p tcp -j RETURN -m comment", "-p tcp -m comment") + "\n"
    assert parse(text) == {OWN, JUMP}


def test_a_changed_own_chain_differs() -> None:
    for damage in (
        saved(OWN, JUMP, strangers={"XRAY_TPROXY": ["-j ACCEPT"]}),
        saved(replace(OWN, rules=OWN.rules[:1]), JUMP),
        saved(replace(OWN, rules=OWN.rules[::-1]), JUMP),
    ):
        assert OWN not in parse(damage)


def test_a_stranger_above_our_jump_is_seen_and_one_below_is_none_of_ours() -> None:
    above = parse(saved(OWN, JUMP, strangers={"PREROUTING": ["-j ACCEPT"]}))
    assert JUMP not in above
    below = saved(OWN, JUMP).replace("COMMIT", "-A PREROUTING -j ACCEPT\nCOMMIT")
    assert JUMP in parse(below)
    only = saved(strangers={}) + "\n*mangle\n-A PREROUTING -j ACCEPT\nCOMMIT"
    assert parse(only) == frozenset()


def test_replacement_fills_chains_before_the_jump() -> None:
    lines = netfilter.replacement({JUMP, OWN}, ()).splitlines()
    assert lines[0] == "*mangle" and lines[1] == ":XRAY_TPROXY - [0:0]" and lines[-1] == "COMMIT"
    assert lines[-2].startswith("-I PREROUTING 1 -j XRAY_TPROXY")
    assert sum(line.startswith("-A XRAY_TPROXY ") for line in lines) == 2


def test_a_displaced_jump_is_taken_out_and_put_on_top_in_one_commit() -> None:
    (found,) = (chain for chain in parse(saved(OWN, JUMP, strangers={"PREROUTING": ["-j ACCEPT"]})) if chain.shared)
    lines = netfilter.replacement({JUMP}, {found}).splitlines()
    assert [line.split()[0] for line in lines] == ["*mangle", "-D", "-I", "COMMIT"]
    assert "-j ACCEPT" not in "".join(lines), "a stranger's rule is never touched"


def test_removal_takes_the_jump_before_the_chain() -> None:
    lines = netfilter.removal({OWN, JUMP}).splitlines()
    assert lines[1].startswith("-D PREROUTING -j XRAY_TPROXY")
    assert lines[2:] == ["-F XRAY_TPROXY", "-X XRAY_TPROXY", "COMMIT"]


@pytest.mark.parametrize("text", ["-j ACCEPT\n-A INPUT -j ACCEPT", "-j ACCEPT\x00", "\t"])
def test_a_rule_is_one_line(text: str) -> None:
    with pytest.raises(ValueError):
        filter_rule(text)


def test_a_note_cannot_end_the_comment() -> None:
    with pytest.raises(ValueError):
        filter_rule("-j DROP", 'x" -j ACCEPT')


@pytest.mark.parametrize("name", ["a\nb", "", "x" * 16, "a b", "-x", "a/b"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(ValueError):
        Link(name, "socket")
