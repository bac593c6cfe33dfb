"""``privacy-agent run`` and tunnels that die: clients go another way, WARP is turned to another port. Real packets.

The short form judges by shorter times than WireGuard's own (``mininet/quick_run.py``), the long one (SOAK=1) by those.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from host_examples import WGCF, key
from host_sandbox import EXAMPLE, ROOT, Node
from lab_reports import reports
from processes import wait_for
from test_run import Run

from host_agent.run.health import Thresholds
from host_agent.run.service import Timing

pytestmark = pytest.mark.alone

SOAK = "SOAK" in os.environ
QUICK = {"look": 0.3, "silent": 6.0, "patience": 3.0, "probe": 0.7}
REAL = {"look": Timing.health, "silent": Thresholds.silent, "patience": Thresholds.patience, "probe": Thresholds.probe}
SECONDS = REAL if SOAK else QUICK
SLACK = 3.0  # seconds for rounds of ``run`` and for the clients' own pauses, on two slow cores


def settings() -> list[str]:
    return [f"{name}={value}" for name, value in SECONDS.items()]


def test_clients_go_by_the_next_tunnel_and_back_and_never_out_directly(tmp_path: Path) -> None:
    *stages, whole = reports("mininet/lan_failover.py", tmp_path, *settings(), timeout=600 if SOAK else 120)
    look, silent, probe = (SECONDS[name] for name in ("look", "silent", "probe"))
    two_looks = Thresholds.bad * look
    dead = {"handshake dies": silent + two_looks, "connections die": look + Thresholds.bad * (probe + look)}
    took = {stage["stage"]: stage["seconds"] for stage in stages}
    for stage in stages:
        assert stage["then"] == [stage["way"]], f"one way, once it is taken: {stage}"
    for name, limit in dead.items():
        assert took[name] <= limit + SLACK, f"{name}: {took}"
    for name in ("handshake is back", "connections are back"):
        assert took[name] >= 0.7 * look, f"one good look is no recovery: {name}: {took}"
    assert took["connections are back"] <= look + probe + 2 * two_looks + SLACK
    assert whole["sent"] > 200 and whole["leaks"] == {} and whole["unseen"] == 0
    assert whole["control"] > 50, "what is not managed is seen on the uplink"
    assert {row["device"]: row["judged_by"] for row in whole["tunnels"]} == {"wgc1": "handshake", "ovpnc3": "probe"}


def test_a_tunnel_lives_if_the_families_live_that_the_policy_probes(tmp_path: Path) -> None:
    """Of a tunnel whose IPv6 works and whose IPv4 does not, or the other way round."""
    look, probe = QUICK["look"], QUICK["probe"]
    settled = look + Thresholds.bad * (probe + look) + SLACK
    said = reports("mininet/lan_families.py", tmp_path, str(settled), "look=0.3", "probe=0.7", timeout=180)
    cases = [each for each in said if "exit" in each]
    assert len(cases) == 6
    for each in cases:
        own, other = ("vpn1", "vpn2") if each["exit"] == "vpn1" else ("vpn2", "vpn1")
        probed = {6 if "[" in target else 4 for target in each["probes"]}
        stayed = ["silence" if version == each["dead"] else own for version in (4, 6)]
        assert each["ways"] == ([other, other] if each["dead"] in probed else stayed), each
        assert each["back"] == [own, own], each
    rules = next(each["rules"] for each in said if "rules" in each)
    assert len(rules) == 1 and "oif wgc1" in rules[0], "the one tunnel that is probed by IPv6"
    whole = next(each for each in said if "leaks" in each)
    assert whole["leaks"] == {} and whole["unseen"] == 0 and whole["control"] > 0
    assert said[-1]["left"] == []


# --- WARP

PORTS = (2408, 500)
PROBED = "198.51.100.77"


class Warp:
    """A WARP endpoint that listens on all its ports, and lets one be blocked."""

    def __init__(self, node: Node, directory: Path) -> None:
        self._node = node
        for words in (
            "ip netns add warpend",
            "ip link set isp0 netns warpend",
            "ip -n warpend link set isp0 up",
            "ip -n warpend link set lo up",
            "ip -n warpend address add 192.0.2.1/24 dev isp0",
            "ip -n warpend address add 198.51.100.1/32 dev isp0",
            f"ip -n warpend address add {PROBED}/32 dev lo",
        ):
            node.run(*words.split())
        keys = [_wg("genkey") for _ in range(2)]
        public = [_wg("pubkey", secret) for secret in keys]
        profile = WGCF.replace(key(1), keys[0]).replace(key(2), public[1])
        (node.config / "wgcf-profile.conf").write_text(profile)
        (directory / "far.key").write_text(keys[1])
        self.program = node.start("ip", "netns", "exec", "warpend", "wireguard-go", "--foreground", "wgend")
        wait_for(lambda: node.attempt("wg", "show", "wgend").returncode == 0, "the endpoint")
        far = ("listen-port", str(PORTS[1]), "private-key", str(directory / "far.key"))
        node.inside("warpend", "wg", "set", "wgend", *far, "peer", public[0], "allowed-ips", "0.0.0.0/0")
        node.run("ip", "-n", "warpend", "link", "set", "wgend", "up")
        node.run("ip", "-n", "warpend", "route", "add", "172.16.0.2/32", "dev", "wgend")
        redirect = ("PREROUTING", "-p", "udp", "--dport", str(PORTS[0]), "-j", "REDIRECT", "--to-ports", str(PORTS[1]))
        node.inside("warpend", "iptables", "-t", "nat", "-A", *redirect)

    def block(self, port: int) -> None:
        """This one and no other."""
        self._node.inside("warpend", "iptables", "-t", "raw", "-F")
        rule = ("PREROUTING", "-p", "udp", "--dport", str(port), "-j", "DROP")
        self._node.inside("warpend", "iptables", "-t", "raw", "-A", *rule)


def _wg(verb: str, text: str = "") -> str:
    return subprocess.run(["wg", verb], input=text, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def quick_run(node: Node, directory: Path) -> Iterator[Run]:
    program = (sys.executable, str(ROOT / "mininet" / "quick_run.py"))
    places = (str(node.policy), str(node.state), str(node.config))
    run = Run(node, directory / "run.log", command=(*program, *places, *settings()))
    try:
        run.wait("in force")
        yield run
    finally:
        run.end()


def test_warp_is_turned_to_a_port_that_answers(tmp_path: Path) -> None:
    """First for want of a handshake, then because nothing comes through although the last handshake is young."""
    document = json.loads(EXAMPLE.read_text())
    document["privacy_router"]["warp"] |= {"ports": [PORTS[1]], "probe": f"{PROBED}:443"}
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(document))
    with Node(tmp_path, policy) as node:
        warp = Warp(node, tmp_path)
        warp.block(PORTS[0])
        node.apply()
        node.run("ovs-ofctl", "-OOpenFlow13", "add-flow", "ovsbr0", "actions=NORMAL")  # there is no controller here
        try:
            with quick_run(node, tmp_path) as run:
                states = lambda: [line["state"] for line in run.said("tunnel") if "state" in line]  # noqa: E731
                wait_for(lambda: states() == ["dead", "up"], "a first handshake by the other port", 40)
                warp.block(PORTS[1])
                wait_for(lambda: states() == ["dead", "up", "dead", "up"], "the first port to be taken again", 40)
                said = [line["message"] for line in run.said("tunnel")]
                assert "no handshake yet" in said[0] and "198.51.100.1:2408 is dead, trying 198.51.100.1:500" in said[1]
                assert f"no connection to {PROBED}:443 through it" in said[3]
                assert "198.51.100.1:500 is dead, trying 198.51.100.1:2408" in said[4]
                assert not run.said("repair"), "another of the wanted endpoints is no difference"
                wait_for(lambda: "up" in (node.state / "health.json").read_text(), "the file")
                (row,) = json.loads((node.state / "health.json").read_text())
                assert (row["device"], row["state"], row["endpoint"]) == ("wgcf", "up", "198.51.100.1:2408")
                assert row["judged_by"] == "handshake, probe"
                (shown,) = node.status()["tunnels"]
                assert shown == row
        finally:
            warp.program.kill()
