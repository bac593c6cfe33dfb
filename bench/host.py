"""Figures of the host side, each against a shell script that makes such objects with one command each, in the same run.

* bring-up: ``privacy-agent apply`` of all five roles on a bare node; the daemons' own start is shown apart
* second apply: nothing to do, all is read and compared
* repair: one ip rule was deleted by hand
* stop: everything is removed

Needs root; runs in namespaces of its own.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("mininet", "tests/integration", "tests")]

from host_sandbox import AGENT, EXAMPLE, Node  # noqa: E402

RUNS = 5
DAEMON_STARTS = ("create WireGuard device", ": start xray")
REFERENCE = "a script, one command per object"
SCRIPT = """
ovs-vsctl add-br ovsbr0 -- set bridge ovsbr0 datapath_type=netdev fail_mode=secure
for port in internal_100 warp0 internal_101 internal_200 internal_201; do
    ovs-vsctl add-port ovsbr0 $port -- set interface $port type=internal
done
for place in s100:internal_100 swarp:warp0 s101:internal_101 ct200:internal_200 ct201:internal_201; do
    name=${place%:*} port=${place#*:}
    test -e /run/netns/$name || ip netns add $name
    ip link set $port netns $name
    ip -n $name link set $port up
    for key in rp_filter send_redirects accept_redirects src_valid_mark; do
        ip netns exec $name sysctl -qw net.ipv4.conf.all.$key=0 net.ipv4.conf.$port.$key=0
    done
    ip -n $name address add 10.99.0.$((${#port} + ${#name}))/24 dev $port
    for table in 254 1001 1002; do
        ip -n $name route add unreachable default metric 4278198272 table $table
        ip -n $name rule add pref $table iif $port lookup $table
    done
    ip -n $name route add default dev $port table 1001
done
for set in XRAY_CLIENTS XRAY_SERVERS; do
    ip netns exec s101 ipset create $set hash:net
    ip netns exec s101 ipset add $set 192.0.2.0/24
done
ip netns exec s101 iptables -w -t mangle -N XRAY_TPROXY
for net in 0 10 100 127 169 172 192 198 224 240 241 242; do
    ip netns exec s101 iptables -w -t mangle -A XRAY_TPROXY -d $net.0.0.0/8 -j RETURN
done
for protocol in tcp udp; do
    ip netns exec s101 iptables -w -t mangle -A XRAY_TPROXY -p $protocol -j TPROXY --on-port 1 --tproxy-mark 1/1
done
ip netns exec s101 iptables -w -t mangle -I PREROUTING -j XRAY_TPROXY
ip netns exec swarp iptables -w -t nat -A POSTROUTING -o wgcf -j MASQUERADE
for chain in INPUT FORWARD; do
    ip netns exec swarp iptables -w -A $chain -i wgcf -m conntrack ! --ctstate ESTABLISHED -j DROP
done
ip netns exec s100 ip6tables -w -t mangle -A PREROUTING -i wg100 -j DROP
"""
CLEAN_UP = """
ovs-vsctl del-br ovsbr0
for name in s100 s101 swarp; do ip netns del $name; done
for name in ct200 ct201; do ip netns del $name; ip netns add $name; done
"""
AIM = 3.0  # seconds for the bring-up, without the daemons' own start


def main() -> int:
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory, Node(Path(directory), EXAMPLE) as node:
        for name in ("ct200", "ct201"):
            node.run("ip", "netns", "add", name)
        for _ in range(RUNS):
            measure(node, seconds)
    for name, values in seconds.items():
        ratio = statistics.median(values) / statistics.median(seconds[REFERENCE])
        median = statistics.median(values)
        print(f"{name:38} median {median:6.3f} s  worst {max(values):6.3f} s  ratio to the script {ratio:.2f}")
    return 0 if max(seconds["bring-up without daemons' own start"]) < AIM else 1


def measure(node: Node, seconds: dict[str, list[float]]) -> None:
    took, answer = timed(node, "apply")
    starting = sum(step["ms"] for step in answer["steps"] if any(word in step["step"] for word in DAEMON_STARTS)) / 1e3
    results = {"bring-up, the whole command": took, "bring-up without daemons' own start": took - starting}
    results["second apply"] = timed(node, "apply")[0]
    node.run("ip", "-n", "warp", "rule", "del", "pref", "220")
    results["repair of one ip rule"] = timed(node, "apply")[0]
    results["stop"] = timed(node, "stop")[0]
    results[REFERENCE] = script(node)
    for name, value in results.items():
        seconds.setdefault(name, []).append(value)


def timed(node: Node, verb: str) -> tuple[float, dict[str, Any]]:
    where = ("--policy", node.policy, "--state-dir", node.state, "--config-dir", node.config, "--json")
    begin = time.perf_counter()
    answer = node.run(AGENT, verb, *where)
    return time.perf_counter() - begin, json.loads(answer)


def script(node: Node) -> float:
    """Seconds a shell script needs that makes about the same objects with one command each, but no daemons."""
    begin = time.perf_counter()
    node.run("sh", "-ec", SCRIPT)
    took = time.perf_counter() - begin
    node.run("sh", "-ec", CLEAN_UP)
    return took


if __name__ == "__main__":
    sys.exit(main())
