"""A machine whose iptables is the legacy one (x_tables), as update-alternatives(1) sets it: all that matters, again.

Its programs go before the machine's own in the search path. Debian's package iptables has both kinds.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from host_sandbox import AGENT, ROOT, own_hash_file
from lab_reports import reports
from lan_states import STATES
from sandbox import Sandbox

from host_agent.drivers.netfilter import used_tables

TABLES = ("filter", "nat", "mangle", "security")
EXAMPLE = ROOT / "policies" / "documents" / "vpn-director-3.json"
ABSENT = 'case "$*" in *--version*) exec {0} "$@";; esac; echo "can\'t initialize iptables table" >&2; exit 3'


def chosen(directory: Path, kinds: Mapping[str, str]) -> str:
    """A folder with the tools under their plain names: "iptables" -> "legacy" or "nft"."""
    directory.mkdir()
    for tool, kind in kinds.items():
        for ending in ("", "-save", "-restore"):
            program = shutil.which(f"{tool}-{kind}{ending}")
            assert program is not None, f"{tool}-{kind}{ending}: apt install iptables"
            (directory / f"{tool}{ending}").symlink_to(program)
    return str(directory)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = chosen(tmp_path_factory.mktemp("legacy") / "bin", {"iptables": "legacy", "ip6tables": "legacy"})
    said = subprocess.run([f"{made}/iptables", "--version"], capture_output=True, text=True, check=True).stdout
    assert "(legacy)" in said
    return made


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory, tools: str) -> dict[str, dict[str, Any]]:
    found = reports("mininet/lan_states.py", tmp_path_factory.mktemp("states"), timeout=300, tools=tools)
    return {each["state"]: each for each in found}


@pytest.mark.parametrize("name", [state.name for state in STATES])
def test_every_packet_goes_where_the_policy_says(states: dict[str, dict[str, Any]], name: str) -> None:
    assert states[name]["wrong"] == {} and states[name]["leaks"] == {}


def test_beside_strangers_it_is_in_order_and_stop_leaves_what_there_was(tmp_path: Path, tools: str) -> None:
    """Tables that were there are left byte for byte; a second apply writes nothing, or the program would fail."""
    said = reports("mininet/lan_strangers.py", tmp_path, *TABLES, timeout=120, tools=tools)
    found = {each["test"]: each for each in said}
    assert found["stop"]["differences"] == []
    assert found["order"]["rules"] == ["XRAY_TPROXY", "RETURN", "MARK", "MINE", "MARK", "TUN_DIR", "MARK"]
    assert found["order"]["answers"] == ["vpn1", "xray"]
    assert len(found["collisions"]["said"]) == 5 and found["collisions"]["answers"] == ["vpn1", "xray"]


@pytest.mark.parametrize("kinds", [("nft", "legacy"), ("legacy", "nft")], ids=["legacy IPv6", "legacy IPv4"])
def test_the_families_tools_may_be_of_two_kinds(tmp_path: Path, kinds: tuple[str, str]) -> None:
    """Each family is one alternative; a second apply writes nothing, or the program would fail."""
    made = chosen(tmp_path / "bin", dict(zip(("iptables", "ip6tables"), kinds, strict=True)))
    said = reports("mininet/lan_strangers.py", tmp_path, *TABLES, timeout=120, tools=made)
    assert next(each["differences"] for each in said if each["test"] == "stop") == []


@pytest.mark.alone
def test_run_puts_back_what_strangers_flush(tmp_path: Path, tools: str) -> None:
    """All four tables at once, of both families, of which legacy iptables tells nobody."""
    found = {each["test"]: each for each in reports("mininet/lan_flush.py", tmp_path, "0", timeout=120, tools=tools)}
    assert found["window"]["control"] > 0 and 20 < statistics.median(found["window"]["milliseconds"]) < 2000
    assert found["window"]["strays"] == 0


class Router:
    """A machine with a LAN bridge and example 3 of the packet flow document."""

    def __init__(self, directory: Path, tools: str) -> None:
        self.sandbox = Sandbox(
            "ip link add br0 type bridge; ip address add 192.168.50.1/24 dev br0; ip link set br0 up"
        )
        self.sandbox.environment["PATH"] = os.pathsep.join((tools, os.environ["PATH"]))
        document = json.loads(EXAMPLE.read_text())
        names = own_hash_file(directory)
        document["advanced"] = {"tunnel_director": names}
        (directory / "policy.json").write_text(json.dumps(document))
        self._where = ("--policy", directory / "policy.json", "--state-dir", directory / "state")

    def agent(self, verb: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.sandbox.attempt(AGENT, verb, *self._where, *options)

    def finds(self, words: str) -> list[str]:
        """Where iptables stands in what the doctor finds: the cures of findings with these words."""
        found = json.loads(self.agent("doctor", "--json").stdout)["findings"]
        return [it["cure"] for it in found if words in it["what"]]


@pytest.fixture
def router(tmp_path: Path, tools: str) -> Iterator[Router]:
    made = Router(tmp_path, tools)
    with made.sandbox:
        yield made


def test_example_3_is_applied_and_taken_away(router: Router) -> None:
    assert router.agent("apply").returncode == 0
    saved = rules(router, "iptables")
    assert any(line.startswith("-A XRAY_TPROXY ") for line in saved) and not rules(router, "iptables-nft")
    assert json.loads(router.agent("apply", "--json").stdout)["steps"] == []
    router.sandbox.run("iptables", "-t", "mangle", "-D", "XRAY_TPROXY", "3")
    assert router.agent("plan").returncode == 1
    assert router.agent("apply").returncode == 0 and rules(router, "iptables") == saved
    assert router.agent("stop").returncode == 0
    for tool in ("iptables", "ip6tables"):
        left = router.sandbox.run(f"{tool}-save")
        assert used_tables(left) == set() and "*mangle" in left, "tables stay, with nothing in them"


def rules(router: Router, tool: str) -> list[str]:
    return [line for line in router.sandbox.run(f"{tool}-save").splitlines() if line.startswith("-A ")]


def test_the_doctor_finds_no_fault_in_legacy_iptables_alone(router: Router) -> None:
    router.sandbox.run("iptables", "-A", "INPUT", "-j", "ACCEPT")
    router.sandbox.run("iptables-nft", "-S")  # makes a table of nf_tables, with nothing in it
    for words in ("legacy", "does not work", "pass both"):
        assert router.finds(words) == []


def test_the_doctor_tells_of_nftables_beside_legacy_iptables(router: Router) -> None:
    router.sandbox.run("ip6tables-nft", "-A", "INPUT", "-j", "ACCEPT")
    (cure,) = router.finds("ip6tables is the legacy one, and nftables has rules as well (tables ip6 filter)")
    assert "update-alternatives --set ip6tables /usr/sbin/ip6tables-nft" in cure


def test_the_doctor_tells_of_legacy_iptables_beside_nftables(tmp_path: Path) -> None:
    router = Router(tmp_path, "")
    with router.sandbox:
        router.sandbox.run("iptables-legacy", "-t", "mangle", "-S")
        assert router.finds("legacy") == [], "a table without rules"
        router.sandbox.run("iptables-legacy", "-t", "mangle", "-A", "PREROUTING", "-j", "ACCEPT")
        (cure,) = router.finds("legacy iptables has rules (tables mangle)")
        assert "iptables-legacy-save" in cure


def test_our_rules_of_the_kind_that_was_chosen_before_are_told_and_the_cure_cures(router: Router) -> None:
    """What others have in a table that we made there stays in any case."""
    path = router.sandbox.environment
    legacy, nft = path["PATH"], os.environ["PATH"]
    path["PATH"] = nft
    assert router.agent("apply").returncode == 0
    router.sandbox.run("iptables", "-t", "security", "-A", "INPUT", "-s", "192.0.2.7", "-j", "DROP")
    left = rules(router, "iptables-nft")
    path["PATH"] = legacy
    assert router.agent("apply").returncode == 0
    assert "a rule uses it" in router.agent("stop").stderr
    assert rules(router, "iptables-nft") == left
    assert router.agent("apply").returncode == 0
    for tool in ("iptables", "ip6tables"):
        (cure,) = router.finds(f"{tool}-nft holds rules of ours")
        assert cure.startswith(f"update-alternatives --set {tool} /usr/sbin/{tool}-nft; privacy-agent stop")
    path["PATH"] = nft
    router.agent("stop")
    path["PATH"] = legacy
    assert router.agent("apply").returncode == 0
    assert rules(router, "iptables-nft") == ["-A INPUT -s 192.0.2.7/32 -j DROP"]
    assert rules(router, "iptables") and router.finds("rules of ours") == []


def test_the_doctor_tells_of_a_kernel_without_legacy_tables(router: Router, tmp_path: Path) -> None:
    """What such a kernel answers, from a program that answers so: there is no such kernel here."""
    folder = tmp_path / "absent"
    folder.mkdir()
    for tool in ("iptables", "ip6tables"):
        script = folder / tool
        script.write_text(f"#!/bin/sh\n{ABSENT.format(f'/usr/sbin/{tool}-legacy')}\n")
        script.chmod(0o755)
    router.sandbox.environment["PATH"] = f"{folder}{os.pathsep}{router.sandbox.environment['PATH']}"
    cures = router.finds("does not work here")
    assert [cure.rpartition(": ")[2] for cure in cures] == [
        f"update-alternatives --set {tool} /usr/sbin/{tool}-nft" for tool in ("iptables", "ip6tables")
    ]
