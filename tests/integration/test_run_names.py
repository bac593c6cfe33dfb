"""Servers by name: both families in XRAY_SERVERS, and a name server that is silent. ``/etc/hosts`` plays it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_sandbox import HOSTS, Node, own_hash_file

SERVER = "xray.example.net"
XRAY = {"clients": ["192.168.50.10", "fd00:50::10"], "servers": [SERVER]}
LAN = {"interfaces": ["uplink0"], "subnets": ["192.168.50.0/24", "fd00:50::/64"]}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    policy = tmp_path / "policy.json"
    advanced = {"lan": LAN, "tunnel_director": own_hash_file(tmp_path)}
    policy.write_text(json.dumps({"xray": XRAY, "advanced": advanced}))
    nobody = tmp_path / "resolv.conf"
    nobody.write_text("nameserver 127.0.0.1\n")  # refuses at once
    with Node(tmp_path, policy) as it:
        it.run("mount", "--bind", nobody, Path("/etc/resolv.conf").resolve())
        yield it


def test_a_server_by_name_in_both_families_and_without_a_name_server(node: Node, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    unknown = node.agent("apply")
    assert unknown.returncode == 3 and f"{SERVER}: has no address here" in unknown.stderr
    assert "XRAY" not in node.run("iptables-save"), "nothing was touched"

    hosts.write_text(f"{HOSTS}203.0.113.20 {SERVER}\n2001:db8:20::1 {SERVER}\n")
    node.apply()
    sets = node.run("ipset", "save")
    assert "add XRAY_SERVERS 203.0.113.20" in sets and "add XRAY_SERVERS6 2001:db8:20::1" in sets

    hosts.write_text(HOSTS)
    assert node.apply() == [], "the last answer serves"
    (said,) = (words for words in node.status()["waiting"] if SERVER in words)
    assert "its addresses of 0.0 h ago serve" in said
    node.agent("stop")
    assert node.agent("boot").returncode == 0
    assert "add XRAY_SERVERS6 2001:db8:20::1" in node.run("ipset", "save")
