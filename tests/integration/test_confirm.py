"""``apply --confirm``: the former state comes back as one, whoever dies meanwhile, unless it is confirmed in time."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_sandbox import AGENT, EXAMPLE, Node
from processes import LabError, wait_for
from test_run import running

PLACES = ("ct100", "ct101", "warp")
SETTINGS = ("net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter", "net.ipv4.conf.all.send_redirects")
LOOKS = {
    "rules": "ip rule",
    "routes": "ip route show table all",
    "links": "ip -br link",
    "addresses": "ip -br address",
    "chains": "iptables-save",
    "chains of IPv6": "ip6tables-save",
    "sets": "ipset save",
    "settings": f"sysctl {' '.join(SETTINGS)}",
    "peers": "wg show all dump",
}
PASSING = (
    r"^#.*|\[\d+:\d+\]|\binitval \S+|@\S+|fe80::\S+|\t\d+\t\d+\t\d+\t(?=\d+$)|<\S*>|\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b"
)


def state(node: Node) -> dict[str, list[str]]:
    """Rules, sets, routes, settings, links and programs of every namespace, without what changes by itself."""
    found = {}
    for place in sorted(node.namespaces() & set(PLACES)):
        for what, command in LOOKS.items():
            text = node.inside(place, *command.split())
            found[f"{place} {what}"] = sorted(re.sub(PASSING, "", line) for line in text.splitlines())
    found["programs"] = sorted(re.findall(r"client-\S+json", node.run("ps", "-wweo", "args")))
    found["switch"] = node.attempt("ovs-vsctl", "list-ports", "ovsbr0").stdout.split()
    return found


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """A policy that changes chains, sets, routes, addresses, a namespace and a program at once."""
    document = json.loads(EXAMPLE.read_text())
    router = document["privacy_router"]
    router["xray"]["tproxy_port"] = 23456
    router["xray"]["vps_address"] = router["vps"]["xray_server"] = "203.0.113.11"
    router["chain"] = {"client_subnet": "10.101.0.0/24"}
    router["wireguard"]["listen_port"] = 51999
    path = tmp_path / "candidate.json"
    path.write_text(json.dumps(document))
    return path


def with_policy(node: Node, policy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    original, node.policy = node.policy, policy
    try:
        return node.agent(*words)
    finally:
        node.policy = original


def wait_until_nothing_waits(node: Node) -> None:
    """For a confirmation: it came, or the former state is back."""
    wait_for(lambda: not (node.state / "pending-confirm").exists(), "the former state", 120)


def deadlines(node: Node) -> Iterator[int]:
    """Seconds to confirm in, longer and longer: on a loaded machine all may be over before one has looked."""
    for seconds in (3, 6, 12, 24, 48, 96):
        yield seconds
        wait_until_nothing_waits(node)
    raise LabError("this machine is too slow to see anything before a deadline")


def test_the_former_state_comes_back(node: Node, candidate: Path) -> None:
    kept = [node.state / name for name in ("pending-confirm", "log/confirm.log")]
    for seconds in deadlines(node):
        node.apply()
        node.inside("warp", "sysctl", "-qw", "net.ipv4.conf.all.send_redirects=1")  # a difference comes back as well
        before = state(node)
        begin = time.monotonic()
        done = with_policy(node, candidate, "apply", "--confirm", str(seconds))
        during = state(node)
        modes = [path.stat().st_mode & 0o77 for path in kept if path.exists()]
        refused = node.agent("apply")
        if time.monotonic() < begin + seconds:
            break
    assert done.returncode == 0 and "unless you run: privacy-agent confirm" in done.stdout
    assert during != before and "--on-port 23456" in "".join(during["ct101 chains"])
    assert modes == [0, 0], "they hold keys"
    assert refused.returncode == 1 and "waits for its confirmation" in refused.stderr
    wait_until_nothing_waits(node)
    assert state(node) == before
    late = node.agent("confirm")
    assert late.returncode == 1 and "nothing waits" in late.stderr


def test_a_first_apply_is_undone_whole(node: Node) -> None:
    before = node.snapshot()
    assert node.agent("apply", "--confirm", "3").returncode == 0
    wait_until_nothing_waits(node)
    wait_for(lambda: "host_agent.confirm.restore" not in node.run("ps", "-wweo", "args"), "the watchdog to end")
    assert node.snapshot() == before


def test_that_a_change_waits_is_said(node: Node, candidate: Path) -> None:
    node.apply()
    applied = with_policy(node, candidate, "apply", "--confirm", "600")
    assert applied.returncode == 0
    for verb in ("status", "plan"):
        said = node.agent(verb).stdout
        assert f"unconfirmed: {candidate} was applied" in said and "puts this right" not in said, said
        assert f"run privacy-agent confirm --state-dir {node.state}, or" in said
    command = re.search(r"unless you run: (.*)", applied.stdout)
    assert command
    typed = node.attempt("sh", "-c", f"PATH={AGENT.parent}:$PATH; {command[1]}")
    assert typed.returncode == 0, "as it stands, it works"
    assert "unconfirmed" not in node.agent("status").stdout


def test_what_is_confirmed_stays(node: Node, candidate: Path) -> None:
    for seconds in deadlines(node):
        node.apply()
        begin = time.monotonic()
        applied = with_policy(node, candidate, "apply", "--confirm", str(seconds))
        during = state(node)
        confirmed = node.agent("confirm")
        if time.monotonic() < begin + seconds:
            break
    assert (applied.returncode, confirmed.returncode) == (0, 0)
    wait_for(lambda: "host_agent.confirm.restore" not in node.run("ps", "-wweo", "args"), "the watchdog to end")
    time.sleep(max(0.0, begin + seconds + 1 - time.monotonic()))
    assert state(node) == during
    assert (node.state / "last-good" / "policy.json").read_text() == candidate.read_text()


def test_an_apply_that_is_killed_is_undone(node: Node, candidate: Path) -> None:
    node.apply()
    before = state(node)
    where = ("--policy", candidate, "--state-dir", node.state, "--config-dir", node.config)
    script = 'echo $$ >"$0"; exec "$@"'
    pid = node.state / "pid"
    apply = node.start("sh", "-c", script, pid, AGENT, "apply", "--confirm", "3", *where)
    chain = ("iptables", "-t", "mangle", "-S", "XRAY_TPROXY")
    wait_for(lambda: "--on-port 23456" in node.inside("ct101", *chain), "the apply to be half done")
    node.attempt("kill", "-KILL", pid.read_text().strip())
    apply.wait()
    wait_until_nothing_waits(node)
    pid.unlink()
    assert state(node) == before


def test_while_run_is_at_work(node: Node, candidate: Path, tmp_path: Path) -> None:
    """It repairs nothing while a change waits, and follows what was confirmed."""
    followed = tmp_path / "policy.json"
    followed.write_text(EXAMPLE.read_text())
    node.policy = followed
    with running(node, tmp_path) as run:
        before = state(node)
        assert with_policy(node, candidate, "apply", "--confirm", "3").returncode == 0
        assert not run.said("repair")
        before_waiting = run.ticks()
        wait_until_nothing_waits(node)
        assert run.ticks() - before_waiting < 100, "waiting costs next to nothing"
        assert state(node) == before and not run.said("repair")
        run.wait("unconfirmed", 2)
        waiting, over = (it["message"] for it in run.said("unconfirmed"))
        assert "nothing is repaired meanwhile" in waiting and "the former state is in force again" in over
        assert with_policy(node, candidate, "apply", "--confirm", "60").returncode == 0
        confirmed = node.agent("confirm")
        assert f"is now {followed}" in confirmed.stdout
        run.wait("in force", 2)
        assert followed.read_text() == candidate.read_text()
        assert not run.said("repair"), "not for a moment did it go by the former policy"
        assert node.agent("plan").returncode == 0
        assert (tmp_path / "policy.json.before-confirm").read_text() == EXAMPLE.read_text()


def test_a_policy_that_was_never_confirmed_is_not_what_run_starts_with(node: Node, candidate: Path) -> None:
    node.apply()
    before = state(node)
    document = node.state.parent / "policy.json"
    document.write_text(candidate.read_text())
    assert with_policy(node, document, "apply", "--confirm", "3").returncode == 0
    wait_until_nothing_waits(node)
    assert "undone" not in node.agent("status").stdout, "of another policy there is nothing to say"
    node.policy = document
    assert node.agent("status").stdout.splitlines()[-1].startswith("undone, because nobody confirmed it: privacy-agent")
    assert "undone because nobody confirmed it" in node.agent("plan").stdout
    with running(node, document.parent) as run:
        assert "never confirmed" in run.said("unconfirmed")[0]["message"]
        assert state(node) == before


def test_bad_use(node: Node) -> None:
    for seconds in ("0", "100000"):
        done = node.agent("apply", "--confirm", seconds)
        assert done.returncode == 2 and "expected 3 to 3600 seconds" in done.stderr
    node.run("ovs-vsctl", "add-br", "ovsbr0", "--", "set", "bridge", "ovsbr0", "datapath_type=netdev")
    assert node.agent("apply", "--confirm", "10").returncode == 1
    assert not (node.state / "pending-confirm").exists(), "nothing was touched, nothing waits"
