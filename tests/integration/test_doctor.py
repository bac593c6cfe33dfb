"""What keeps the privacy router from working on a real machine is said, and who is in the way by name."""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from host_sandbox import Node, own_hash_file
from processes import wait_for

from host_agent.drivers import netlink_wire as wire
from host_agent.drivers import nftables
from host_agent.drivers.netlink_socket import NETFILTER, NetlinkSocket

LISTENS = """
import socket, time
for kind, port in PORTS:
    held = socket.socket(socket.AF_INET, kind)
    held.bind(("0.0.0.0", port))
    kind == socket.SOCK_STREAM and held.listen()
    globals()[f"{kind}{port}"] = held
time.sleep(1000)
"""


def holding(*ports: tuple[str, int]) -> tuple[str, ...]:
    """The command of a program that has these ports, and nothing to say on them."""
    kinds = {"tcp": "socket.SOCK_STREAM", "udp": "socket.SOCK_DGRAM"}
    text = ", ".join(f"({kinds[protocol]}, {port})" for protocol, port in ports)
    return (sys.executable, "-c", LISTENS.replace("PORTS", f"[{text}]"))


def found(node: Node) -> str:
    """What the doctor finds, a line each."""
    findings: list[dict[str, Any]] = json.loads(node.agent("doctor", "--json").stdout)["findings"]
    return "".join(f"{it['where']}: {it['what']}; {it['cure']}\n" for it in findings)


@pytest.fixture
def lan(node: Node, tmp_path: Path) -> Node:
    """A LAN router: one client by Xray, one by a tunnel."""
    node.policy = tmp_path / "director.json"
    document = {
        "xray": {"clients": ["192.168.50.10"]},
        "tunnel_director": {"tunnels": {"up0": {"clients": ["192.168.50.20"]}}},
        "advanced": {"tunnel_director": own_hash_file(tmp_path)},
    }
    node.policy.write_text(json.dumps(document))
    for link, address in (("br0", "192.168.50.1/24"), ("up0", "10.8.0.2/24")):
        node.run("ip", "link", "add", link, "type", "veth", "peer", f"{link}-far")
        node.run("ip", "address", "add", address, "dev", link)
        for end in (link, f"{link}-far"):
            node.run("ip", "link", "set", end, "up")
    node.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    return node


def test_a_proxy_that_does_not_listen_is_said(lan: Node) -> None:
    lan.apply()
    deaf = "no Xray listens on TCP and UDP port 12345"
    looked = lan.agent("status")
    assert looked.stdout.splitlines()[-1] == "in sync, degraded" and f"degraded: {deaf}" in looked.stdout
    assert deaf in found(lan)
    lan.start(*holding(("tcp", 12345), ("udp", 12345)))
    wait_for(lambda: ":12345 " in lan.run("ss", "-uln"), "the port to be taken")
    wait_for(lambda: ":12345 " in lan.run("ss", "-tln"), "the port to be listened on")
    assert lan.agent("status").stdout.splitlines()[-1] == "in sync"
    assert lan.agent("doctor").returncode == 0


def test_what_apply_would_refuse_is_found(node: Node) -> None:
    node.run("ip", "netns", "add", "ct100")
    node.inside("ct100", "ip", "link", "set", "lo", "up")
    node.inside("ct100", "ip", "route", "add", "default", "dev", "lo")
    node.start(*holding(("udp", 51820)))
    wait_for(lambda: ":51820 " in node.run("ss", "-uln"), "the port to be taken")
    refused, said = node.agent("apply"), found(node)
    assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 2
    assert "ct100: route default dev lo table main is not ours" in said and "use another container_id" in said
    (pid,) = re.findall(r"node: UDP port 51820 of python\S* \(pid (\d+)\) is not ours.* wireguard.listen_port", said)
    node.inside("ct100", "ip", "route", "del", "default", "dev", "lo")
    node.run("kill", pid)
    wait_for(lambda: ":51820 " not in node.run("ss", "-uln"), "the port to be free")
    assert found(node) == ""


def test_the_kernels_own_ip_rules_are_missed(node: Node) -> None:
    node.apply()
    node.run("ip", "-n", "warp", "rule", "flush")
    node.run("ip", "rule", "del", "pref", "32766")
    node.apply()
    looked = node.agent("status")
    assert looked.returncode == 1 and looked.stdout.splitlines()[-1] == "in sync, but something is in the way"
    cures = [line.rpartition("; ")[2] for line in found(node).splitlines() if "IPv4 routing table main" in line]
    assert cures == ["ip rule add pref 32766 lookup main", "ip -n warp rule add pref 32766 lookup main"]
    for cure in cures:
        assert cure in looked.stdout
        node.run(*cure.split())
    assert node.agent("doctor").returncode == 0 and node.agent("status").returncode == 0


def test_without_a_valid_policy_the_machine_is_looked_at_all_the_same(node: Node) -> None:
    """By the last good policy, or without one for what any would need."""
    node.policy, document = node.state.parent / "policy.json", node.policy.read_text()
    node.run("mv", "/run/openvswitch/db.sock", "/run/openvswitch/aside")
    without = node.agent("doctor")
    node.run("mv", "/run/openvswitch/aside", "/run/openvswitch/db.sock")
    assert "policy.json" in without.stdout and "node: Open vSwitch does not answer" in without.stdout
    assert "what may be in a policy's way was not looked at" in without.stdout
    assert without.stdout.endswith("2 findings\n")
    node.policy.write_text(document)
    node.apply()
    node.policy.write_text("{")
    node.inside("ct101", "ip", "route", "add", "default", "dev", "lo", "metric", "7", "table", "100")
    ill = node.agent("doctor")
    assert "policy.json:1" in ill.stdout and "in our routing table 100" in ill.stdout
    assert ill.stdout.endswith("2 findings\n")


def explained(node: Node, client: str) -> str:
    done = node.agent("explain", client, "198.51.100.9")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_firewall_that_drops_what_should_pass_is_found(lan: Node) -> None:
    lan.start(*holding(("tcp", 12345), ("udp", 12345)))
    lan.apply()
    wait_for(lambda: "TCP" not in found(lan) and "UDP" not in found(lan), "the proxy to listen")
    assert found(lan) == "" and explained(lan, "192.168.50.20").endswith("in the end: leaves by up0\n")
    lan.run("iptables", "-P", "FORWARD", "DROP")
    said = explained(lan, "192.168.50.20")
    assert said.endswith("node     iptables filter FORWARD: policy DROP (not ours)\nin the end: dropped\n")
    assert explained(lan, "192.168.50.10").endswith("in the end: delivered\n"), "what TPROXY takes is not forwarded"
    (line,) = found(lan).splitlines()
    what, _, cure = line.partition("; accept it there: ")
    assert what.endswith("FORWARD: policy DROP (not ours) drops what clients of up0 send, such as 192.168.50.20")
    for command in cure.split("; "):
        lan.run(*command.split())
    assert found(lan) == "" and explained(lan, "192.168.50.20").endswith("in the end: leaves by up0\n")
    lan.run("iptables", "-N", "THEIRS")
    lan.run("iptables", "-A", "THEIRS", "-i", "br+", "-j", "REJECT")
    lan.run("iptables", "-I", "INPUT", "-p", "tcp", "-j", "THEIRS")
    (line,) = found(lan).splitlines()
    assert line.startswith("node: iptables filter INPUT, chain THEIRS: -i br+ -j REJECT") and "clients of xray" in line
    lan.run(*line.partition("; accept it there: ")[2].split())
    assert found(lan) == "" and explained(lan, "192.168.50.10").endswith("in the end: delivered\n")
    lan.run("iptables", "-I", "FORWARD", "-m", "length", "--length", "9000:", "-j", "DROP")
    assert "cannot tell whether it is met" in explained(lan, "192.168.50.20")


def test_a_firewall_that_keeps_wireguard_clients_out_is_found(node: Node) -> None:
    node.apply()
    node.run("iptables", "-P", "INPUT", "DROP")
    node.run("iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT")
    (line,) = found(node).splitlines()
    assert "iptables filter INPUT: policy DROP (not ours) drops what WireGuard clients send to UDP port 51820" in line
    node.run(*line.partition("; accept it there: ")[2].split())
    assert found(node) == ""


def closed_chain(policy: int) -> None:
    """As ``nft add chain inet theirs forward { type filter hook forward priority 0; policy drop; }``, of nft(8)."""
    table = wire.text(1, "theirs")  # NFTA_TABLE_NAME, NFTA_CHAIN_TABLE
    hook = wire.attribute(1, struct.pack("!I", 2)) + wire.attribute(2, struct.pack("!i", 0))  # number, priority
    chain = table + wire.text(3, "forward") + wire.attribute(4 | wire.NESTED, hook)
    chain += wire.attribute(5, struct.pack("!I", policy)) + wire.text(7, "filter")
    inet, batch = nftables.HEAD.pack(1, 0, 0), nftables.HEAD.pack(0, 0, nftables.SUBSYSTEM)
    make = nftables.SUBSYSTEM << 8
    with NetlinkSocket(NETFILTER) as kernel:
        kernel.order(
            wire.message(nftables.BATCH_BEGIN, wire.REQUEST, batch),
            wire.message(make | nftables.NEW_TABLE, wire.REQUEST | wire.CREATE, inet + table),
            wire.message(make | 3, wire.REQUEST | wire.CREATE | wire.ACK, inet + chain),  # NFT_MSG_NEWCHAIN
            wire.message(nftables.BATCH_END, wire.REQUEST, batch),
        )


def test_a_chain_of_nftables_that_drops_what_it_does_not_know_is_found(lan: Node) -> None:
    lan.start(*holding(("tcp", 12345), ("udp", 12345)))
    wait_for(lambda: "Xray" not in found(lan), "the proxy to listen")
    with lan.network():
        closed_chain(policy=1)
    assert found(lan) == ""
    with lan.network():
        closed_chain(policy=0)
    (line,) = found(lan).splitlines()
    assert "nftables inet theirs forward (not ours) drops what its rules do not accept, and none names br0" in line
    assert "nft insert rule inet theirs forward iifname br0 accept" in line
    assert "nftables inet theirs forward (not ours), policy drop: cannot tell" in explained(lan, "192.168.50.20")
