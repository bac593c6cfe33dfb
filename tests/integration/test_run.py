"""``privacy-agent run``: what is removed or altered comes back in time, and only the operator ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from host_sandbox import AGENT, EXAMPLE, Node
from processes import wait_for

from host_agent.drivers import ovs

pytestmark = pytest.mark.alone

AT_ONCE, SOON = 0.3, 1.0  # seconds: ip rules and routes; everything else
PATIENCE = 60.0  # seconds, where no time is promised
NOT_HUNG = 0.8 * ovs.TIMEOUT  # seconds: whoever waited for the switch would take longer


class Run:
    """A ``run`` on a node, and what it said. ``command``: another program that does the same."""

    def __init__(self, node: Node, log: Path, *extra: str, command: Sequence[str] = ()) -> None:
        self.node, self.log = node, log
        where = ("--policy", node.policy, "--state-dir", node.state, "--config-dir", node.config)
        program = command or (str(AGENT), "run", "--json", *map(str, where))
        with log.open("ab") as stream:
            self.outer = subprocess.Popen([*node.enter, *extra, *program], stderr=stream)

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return [line for line in lines if line["event"] == event]

    def wait(self, event: str, number: int = 1, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        wait_for(lambda: len(self.said(event)) >= number, f"{number} times {event!r} in {self.log}", seconds)
        return self.said(event)

    @property
    def pid(self) -> int:
        """As the node numbers it."""
        return int(json.loads((self.node.state / "run.lock").read_text())["pid"])

    def ticks(self) -> int:
        """Hundredths of a second of processor time so far, its own and of the commands that it ran."""
        return sum(map(int, self.node.run("cat", f"/proc/{self.pid}/stat").split()[13:17]))

    def signal(self, number: int) -> None:
        self.node.run("kill", f"-{number}", str(self.pid))

    def end(self) -> int:
        if self.outer.poll() is None:
            self.signal(signal.SIGTERM)
        return self.outer.wait(PATIENCE)


@contextmanager
def running(node: Node, directory: Path) -> Iterator[Run]:
    run = Run(node, directory / "run.log")
    try:
        run.wait("in force")
        yield run
    finally:
        run.end()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    directory = tmp_path_factory.mktemp("run")
    with Node(directory) as node:
        node.run("ip", "netns", "add", "ct200")
        with running(node, directory) as it:
            yield it


DAMAGES: dict[str, tuple[str, str, float, str]] = {  # damage, how it looks when mended, seconds, what the log says
    "ip rule": ("ip -n warp rule del pref 220", "ip -n warp rule show pref 220 | grep .", AT_ONCE, "ip rule pref 220"),
    "route": (
        "ip -n warp route del default table 1001 via 10.99.0.101",
        "ip -n warp route show table 1001 default via 10.99.0.101 | grep .",
        AT_ONCE,
        "route default via 10.99.0.101 dev warp0 table 1001 was gone",
    ),
    "changed route": (
        "ip -n ct100 route replace default via 10.99.0.101 dev internal_100 proto 80",
        "ip -n ct100 route show default via 10.99.0.1 | grep .",
        AT_ONCE,
        "was route default via 10.99.0.101",
    ),
    "last resort": (
        "ip -n ct100 route del unreachable default metric 4278198272",
        "ip -n ct100 route show type unreachable | grep .",
        AT_ONCE,
        "route unreachable default table main metric 4278198272 was gone",
    ),
    "jump": (
        "ip netns exec ct101 iptables -t mangle -F PREROUTING",
        "ip netns exec ct101 sh -c 'iptables -t mangle -S PREROUTING | grep XRAY_TPROXY'",
        SOON,
        "iptables mangle PREROUTING was gone",
    ),
    "rule of a chain": (
        "ip netns exec ct101 iptables -t mangle -D XRAY_TPROXY 3",
        "ip netns exec ct101 sh -c 'iptables -t mangle -S XRAY_TPROXY | grep 127.0.0.0/8'",
        SOON,
        "iptables mangle XRAY_TPROXY lacked rule 3",
    ),
    "rule of a stranger in our chain": (
        "ip netns exec ct101 iptables -t mangle -I XRAY_TPROXY 1 -s 10.100.0.2 -j RETURN",
        "ip netns exec ct101 sh -c '! iptables -t mangle -S XRAY_TPROXY | grep 10.100.0.2'",
        SOON,
        "had the rule: -s 10.100.0.2/32 -j RETURN",
    ),
    "set": (
        "ip netns exec ct101 ipset flush XRAY_SERVERS",
        "ip netns exec ct101 ipset test XRAY_SERVERS 203.0.113.10",
        SOON,
        "ipset XRAY_SERVERS (1 entry) was ipset XRAY_SERVERS (0 entries)",
    ),
    "exchanged entry": (
        "ip netns exec ct101 sh -c 'ipset add XRAY_SERVERS 198.51.100.0/24; ipset del XRAY_SERVERS 203.0.113.10'",
        "ip netns exec ct101 ipset test XRAY_SERVERS 203.0.113.10",
        SOON,
        "ipset XRAY_SERVERS",
    ),
    "setting": (
        "ip netns exec warp sysctl -qw net.ipv4.conf.all.src_valid_mark=1",
        "ip netns exec warp sh -c 'sysctl -n net.ipv4.conf.all.src_valid_mark | grep -x 0'",
        SOON,
        "sysctl net/ipv4/conf/all/src_valid_mark was 1",
    ),
    "link": (
        "ip -n ct100 link set internal_100 down",
        "ip -n ct100 route show default via 10.99.0.1 | grep .",
        SOON,
        "link internal_100 up was link internal_100 mtu 1500 down",
    ),
    "daemon": (
        "kill -KILL $(ip netns pids ct101)",
        "ip netns pids ct101 | grep .",
        SOON,
        "xray (/usr/bin/v2ray) had ended",
    ),
    "tunnel": (
        "ip -n warp link del wgcf",
        "ip -n warp route show table 1002 default dev wgcf | grep .",
        SOON,
        "wgcf was gone",
    ),
    "namespace": (
        "ip netns del ct101",
        "ip netns exec ct101 sh -c 'iptables -t mangle -S | grep -q TPROXY && ip link show internal_101'",
        2 * SOON,
        "network namespace ct101 was gone",
    ),
    "fail mode": ("ovs-vsctl del-fail-mode ovsbr0", "ovs-vsctl get-fail-mode ovsbr0 | grep secure", SOON, "fail_mode"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_damaged_comes_back_in_time_and_the_log_says_what_had_changed(run: Run, what: str) -> None:
    """One try may be spoilt, by other work or a tunnel given up at that very moment; the next two may not."""
    if spoilt := wrong_with(run, what):
        assert [wrong_with(run, what) for _ in range(2)] == ["", ""], spoilt


def wrong_with(run: Run, what: str) -> str:
    """What was wrong; empty if nothing."""
    _, _, promised, words = DAMAGES[what]
    before = len(run.said("repair"))
    seconds = seconds_until_mended(run.node, what)
    wait_for(lambda: run.node.agent("plan").returncode == 0, "everything else")
    found = [it["found"] for it in run.said("repair")[before:]]
    return "" if seconds <= promised and any(words in it for it in found) else f"after {seconds} s: {found}"


def seconds_until_mended(node: Node, what: str) -> float:
    """Loops in the node's shell: to enter it anew for every look would take longer than what is measured."""
    damage, look, *_ = DAMAGES[what]
    until = f"until ({look}) >/dev/null 2>&1; do :; done"
    script = f"({damage}) || exit 9; begin=$(date +%s%N); {until}; echo $(($(date +%s%N) - begin))"
    return int(node.run("timeout", "10", "sh", "-c", script).splitlines()[-1]) / 1e9


def test_memory_and_idle_time(run: Run) -> None:
    status = run.node.run("cat", f"/proc/{run.pid}/status")
    resident = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
    assert resident < 120 * 1024

    before = run.ticks()
    time.sleep(3)
    assert run.ticks() - before < 60, "it must not be busy with nothing"


def test_a_second_run_and_a_hand_made_apply(run: Run, tmp_path: Path) -> None:
    assert Run(run.node, tmp_path / "second.log").outer.wait(PATIENCE) == 4
    assert run.node.apply() == []


def test_an_edit_takes_effect_and_an_invalid_one_changes_nothing(run: Run, tmp_path: Path) -> None:
    node = run.node
    original = node.policy
    document = json.loads(EXAMPLE.read_text())
    document["privacy_router"]["xray"]["tproxy_port"] = 23456
    followed = tmp_path / "policy.json"
    followed.write_text(EXAMPLE.read_text())
    run.end()
    node.policy = followed
    try:
        with running(node, tmp_path) as other:
            followed.write_text(EXAMPLE.read_text().replace('"vps_port": 443', '"vps_prot": 443'))
            assert "vps_prot" in other.wait("invalid")[0]["message"]
            aside = tmp_path / "new.json"
            aside.write_text(json.dumps(document))
            aside.rename(followed)
            other.wait("in force", 2)
            assert "--on-port 23456" in node.inside("ct101", "iptables", "-t", "mangle", "-S", "XRAY_TPROXY")
            assert not other.said("repair"), "what a new policy asks for is no repair"
            other.signal(signal.SIGHUP)
            other.wait("in force", 3)
    finally:
        node.policy = original
    again = Run(node, run.log)
    run.outer = again.outer
    run.wait("in force", 2)


def test_ending_removes_nothing_and_stop_ends_it(node: Node, tmp_path: Path) -> None:
    before = node.snapshot()
    with running(node, tmp_path) as run:
        assert run.end() == 0
        assert node.agent("plan").returncode == 0 and node.status()["in_sync"]
    run = Run(node, tmp_path / "again.log")
    run.wait("in force")
    assert not run.said("apply"), "all was there"
    done = node.agent("stop")
    assert done.returncode == 0 and "privacy-agent run was ended" in done.stdout
    assert run.outer.wait(PATIENCE) == 0
    assert node.snapshot() == before


def test_a_fight_ends_in_pauses_and_is_said_loudly(node: Node, tmp_path: Path) -> None:
    with running(node, tmp_path) as run:
        going = tmp_path / "going"
        going.touch()
        script = f"while [ -e {going} ]; do ip -n warp rule del pref 220 2>/dev/null; sleep 0.05; done"
        fighter = node.start("sh", "-c", script)
        try:
            (fight,) = run.wait("fight")
            assert "ip rule pref 220" in fight["object"] and fight["seconds"] == pytest.approx(10, abs=1)
            number = len(run.said("repair"))
            assert number == 10
            node.run("ip", "-n", "ct100", "route", "del", "unreachable", "default", "metric", "4278198272")
            run.wait("repair", number + 1, 8)
            assert len(run.said("repair")) == number + 1, "only what is fought over waits"
        finally:
            going.unlink()
            fighter.wait()
        if "SOAK" in os.environ:
            wait_for(lambda: node.agent("plan").returncode == 0, "the rule to come back after the pause", PATIENCE)


def test_a_switch_that_does_not_answer_keeps_nothing_else_from_being_repaired(node: Node, tmp_path: Path) -> None:
    with running(node, tmp_path) as run:
        node.run("sh", "-c", "kill -STOP $(cat /run/openvswitch/ovs-vswitchd.pid)")
        node.run("sh", "-c", "kill $(cat /run/openvswitch/ovsdb-server.pid)")
        wait_for(lambda: node.attempt("ovs-vsctl", "--timeout=1", "show").returncode != 0, "the database to end")
        node.inside("ct101", "iptables", "-t", "mangle", "-F", "PREROUTING")
        assert "iptables mangle PREROUTING was gone" in run.wait("repair", 1, NOT_HUNG)[0]["found"]


def test_a_switch_that_has_ended_is_waited_for(node: Node, tmp_path: Path) -> None:
    """Its ports are dead, and nobody else can revive them: to try would keep all else from being repaired."""
    start = ("ovs-vswitchd", "unix:/run/openvswitch/db.sock", "--pidfile", "--detach", "-vconsole:off")
    with running(node, tmp_path) as run:
        node.run("ovs-appctl", "-t", "ovs-vswitchd", "exit")
        assert "ovs-vswitchd does not answer" in run.wait("failed")[0]["message"]
        node.inside("ct101", "iptables", "-t", "mangle", "-F", "PREROUTING")
        assert "iptables mangle PREROUTING was gone" in run.wait("repair", 1, NOT_HUNG)[0]["found"]
        assert len(run.said("repair")) == 1 and "internal_101" in node.inside("ct101", "ip", "-br", "link")
        node.run(*start)
        wait_for(lambda: node.agent("plan").returncode == 0, "the ports to be plugged again", PATIENCE)


def test_a_container_that_appears_is_plugged(node: Node, tmp_path: Path) -> None:
    with running(node, tmp_path):
        node.run("ip", "netns", "add", "ct200")
        wait_for(lambda: "100.104.70.10/24" in node.inside("ct200", "ip", "-br", "address"), "its address")


def test_the_service_manager_is_told(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(PATIENCE)
        run = Run(node, tmp_path / "run.log", "env", f"NOTIFY_SOCKET={path}", "WATCHDOG_USEC=400000")
        heard: list[str] = []
        while "STOPPING=1" not in heard:
            heard += manager.recv(4096).decode().splitlines()
            if heard.count("WATCHDOG=1") == 5 and "READY=1" in heard:
                run.end()
        said = "STATUS=in sync: 3 network namespaces; waiting: internal_200, internal_201 wait for containers 200, 201"
        assert any(it.startswith(said) for it in heard)
        assert heard.count("READY=1") == 1


def test_the_last_good_policy_serves_where_the_file_is_invalid(node: Node, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text("{")
    node.policy = policy
    assert Run(node, tmp_path / "nothing.log").outer.wait(PATIENCE) == 2
    policy.write_text(EXAMPLE.read_text())
    with running(node, tmp_path):
        pass
    node.agent("stop")
    policy.write_text("{")
    late = Run(node, tmp_path / "late.log")
    late.wait("in force")
    assert "last good policy" in late.said("policy")[0]["message"]
    late.end()
    assert "ct101" in node.namespaces()
