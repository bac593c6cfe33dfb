"""``make mininet``: what its prompt says, and what is said when there can be none. Sandboxes that leave nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import traces
from by_hand import GREETING

pytestmark = pytest.mark.alone  # what another test has up would look as if it were left
ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ROOT / "policies" / "documents"
EXAMPLE = DOCUMENTS / "privacy-router.json"


def by_hand(policy: Path, *typed: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A run in which these lines are typed, then ``exit``. All is in its output."""
    return subprocess.run(
        [sys.executable, str(ROOT / "mininet" / "by_hand.py"), str(policy)],
        input="".join(f"{line}\n" for line in (*typed, "exit")), env={**os.environ, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=170, check=False,
    )  # fmt: skip


def answered(*typed: str, **environment: str) -> list[str]:
    """What is said before the prompt, then to each of these lines."""
    run = by_hand(EXAMPLE, *typed, **environment)
    assert run.returncode == 0, run.stdout
    said = run.stdout.split("mininet> ")
    assert len(said) == len(typed) + 2, run.stdout
    return said[:-1]


def test_the_switch_by_hand(tmp_path: Path) -> None:
    """README's example: the greeting and nothing else, the answers, and nothing is left."""
    lab = tmp_path / "lab"
    before = traces.snapshot(lab)
    typed = ("ct201 ping -c 1 100.104.70.10", "sh curl -s http://127.0.0.1:8080/v1/chain")
    first, pinged, chain = answered(*typed, **{traces.MARK: str(lab)})
    assert first == GREETING
    assert "1 received" in pinged and '"links"' in chain
    assert traces.left_in_the_end(before, lab) == []


def test_what_the_greeting_says() -> None:
    """Each line may be typed as it stands. ``pingall`` is asked for a few hosts: three of their pairs get no answer."""
    hosts, lines = GREETING.split("Type, for instance:\n")
    mesh, chain, pingall, flows, rest, log, leave = lines.strip().splitlines()
    assert pingall.split()[0] == "pingall" and leave.split()[0] == "exit"
    few = "px net.hosts = [client, vps, internet, isp]"
    _, nodes, *pinged, entries, links, logged, _, all_pinged = answered(
        "nodes", mesh, chain, flows, rest, log, few, f"time {pingall}"
    )
    named = {word for line in hosts.splitlines() if line.startswith("  ") for word in line.split("   ")[0].split(", ")}
    assert {name.strip() for name in named} == set(nodes.split(":")[1].split()) - {"c0", "ovsbr0"}
    assert "1 received" in pinged[0] and "0 received" in pinged[1]
    assert 'in_port="internal_200"' in entries and '"links"' in links and "port warp0 added" in logged
    assert "Results:" in all_pinged
    assert float(all_pinged.split("Elapsed time:")[1].split()[0]) < 25, "by itself ping waits 10 s for each answer"


def test_what_a_controller_greets_with_need_not_be_text(tmp_path: Path) -> None:
    """OpenFlow's greeting has a random number, which a telnet shows as it comes, if it is asked."""
    telnet = tmp_path / "telnet"
    telnet.write_text("#!/bin/sh\nprintf 'Connected\\n\\374\\n'\n")
    telnet.chmod(0o755)
    assert subprocess.run([telnet], capture_output=True, check=True).stdout == b"Connected\n\xfc\n"
    answered(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("policy", ["/nonexistent", "{}", str(DOCUMENTS / "vpn-director-1.json")])
def test_an_unusable_policy_is_told_as_the_demo_tells_it(tmp_path: Path, policy: str) -> None:
    file = Path(policy)
    if policy == "{}":
        file = tmp_path / "policy.json"
        file.write_text(policy)
    script, directory = ROOT / "mininet" / "demo.py", tmp_path / "lab"
    command = [sys.executable, str(script), "--policy", str(file), "--directory", str(directory)]
    demo = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    run = by_hand(file)
    assert (run.returncode, run.stdout) == (2, demo.stdout) and len(run.stdout.splitlines()) == 1


def test_what_the_controller_said_last_is_shown_when_it_ends(tmp_path: Path) -> None:
    """Its log goes with the sandbox."""
    missing = tmp_path / "topology.json"
    run = by_hand(EXAMPLE, PRIVACY_ROUTER_TOPOLOGY=str(missing))
    assert run.returncode == 1 and "Traceback" not in run.stdout
    assert run.stdout.startswith("mininet: ryu-manager ended with exit code ")
    assert f"{missing}: cannot be read" in run.stdout
