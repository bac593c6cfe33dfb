"""IPsec policies by our own struct, in a real kernel: ip(8) shows what was meant, and others' are left alone."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from host_sandbox import Node, own_hash_file
from sandbox import Sandbox

from host_agent.drivers import xfrm
from host_agent.drivers.namespaces import Namespaces
from host_agent.drivers.netlink_socket import XFRM
from host_agent.state import NODE, Block
from host_agent.steps import Add, Machine, Remove

FOUR, SIX = ip_network("192.168.50.0/28"), ip_network("fd00:50::/64")
ALL = frozenset(Block(source, queries) for source in (FOUR, SIX) for queries in ("", "udp", "tcp"))
END = "mark 0/0xffffffff"
STRANGERS = """
xfrm policy add src 10.0.0.0/8 dst 192.0.2.0/24 dir fwd tmpl proto esp mode tunnel
xfrm policy add src 192.168.50.0/28 dst 0.0.0.0/0 dir fwd action block priority 4294922322
xfrm policy add src 192.168.50.0/28 dst 0.0.0.0/0 dir fwd mark 0 mask 0xffffffff action block
xfrm policy add src fd00:50::/64 dst ::/0 dir out mark 7 mask 0xffffffff action block priority 4294922322
xfrm policy add src fd00:51::/64 dst ::/0 dir out mark 0 mask 0xffffffff action block priority 4294922322
xfrm policy add src fd00:52::/64 dst ::/0 dir fwd mark 0 mask 0xffffffff action allow priority 4294922322
xfrm policy add src fd00:53::/64 dst fd00::/8 dir fwd mark 0 mask 0xffffffff action block priority 4294922322
xfrm policy add src fd54::/64 dst ::/0 proto tcp dport 80 dir in mark 0 mask 0xffffffff action block priority 4294922322
xfrm policy add src fd00:50::1/64 dst ::/0 dir fwd mark 0 mask 0xffffffff action block priority 4294922322
xfrm policy add src fd00:55::/64 dst ::/0 proto icmp dir in mark 0 mask 0xffffffff action block priority 4294922322
"""


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    with Sandbox() as own, own.network(), Namespaces({}) as opened:
        yield opened


def ip(*words: str, text: str = "") -> str:
    done = subprocess.run(["ip", *words], input=text, text=True, check=True, capture_output=True)
    return done.stdout


def shown() -> set[str]:
    """Each policy in one line."""
    return {" ".join(each.split()) for each in ("\n" + ip("xfrm", "policy")).split("\nsrc ")[1:]}


def test_ip_shows_what_was_meant(namespaces: Namespaces) -> None:
    for block in ALL:
        xfrm.add(namespaces.netlink(NODE, XFRM), block)
    assert xfrm.blocks(namespaces, NODE) == ALL
    head = "action block priority 4294922322 ptype main"
    assert shown() == {
        *(f"{net} dir fwd {head} {END}" for net in (f"{FOUR} dst 0.0.0.0/0", f"{SIX} dst ::/0")),
        *(
            f"{net} proto {protocol} dport 53 dir in {head} {END}"
            for net in (f"{FOUR} dst 0.0.0.0/0", f"{SIX} dst ::/0")
            for protocol in ("udp", "tcp")
        ),
    }
    for block in ALL:
        xfrm.remove(namespaces.netlink(NODE, XFRM), block)
        xfrm.remove(namespaces.netlink(NODE, XFRM), block)
    assert not shown()


def test_others_are_left_alone(namespaces: Namespaces) -> None:
    ip("-batch", "-", text=STRANGERS)
    before = shown()
    assert len(before) == 10 and not xfrm.blocks(namespaces, NODE)
    others = frozenset(block for block in ALL if block.queries or block.source == SIX)
    for block in others:
        xfrm.add(namespaces.netlink(NODE, XFRM), block)
    assert xfrm.blocks(namespaces, NODE) == others
    for block in others:
        xfrm.remove(namespaces.netlink(NODE, XFRM), block)
    assert shown() == before


def test_the_commands_do_the_same(namespaces: Namespaces) -> None:
    for block in ALL:
        for line in Add(NODE, block).commands():
            subprocess.run(line.split(), check=True)
    assert xfrm.blocks(namespaces, NODE) == ALL
    for block in ALL:
        for line in Remove(NODE, block).commands():
            subprocess.run(line.split(), check=True)
    assert not shown()


def test_the_command_that_removes_one_leaves_those_of_narrower_sources(namespaces: Namespaces) -> None:
    wide, narrow = Block(FOUR.supernet()), Block(FOUR)
    for step in (Add(NODE, wide), Add(NODE, narrow), Remove(NODE, wide)):
        for line in step.commands():
            subprocess.run(line.split(), check=True)
    assert xfrm.blocks(namespaces, NODE) == {narrow}


def test_steps_take_the_right_socket(namespaces: Namespaces) -> None:
    machine = Machine(namespaces, Path("/nonexistent"))
    Add(NODE, Block(FOUR)).carry_out(machine)
    assert xfrm.blocks(namespaces, NODE) == {Block(FOUR)}
    Remove(NODE, Block(FOUR)).carry_out(machine)
    assert not xfrm.blocks(namespaces, NODE)


def test_a_client_comes_and_goes_by_what_is_his_alone(tmp_path: Path) -> None:
    """Then not all of the machine is read again; what was done has to be seen nevertheless."""
    policy, advanced = tmp_path / "policy.json", {"tunnel_director": own_hash_file(tmp_path)}
    lan = {"interfaces": ["uplink0"], "subnets": ["192.168.50.0/24"]}

    def write(*clients: str) -> None:
        policy.write_text(json.dumps({"xray": {"clients": clients}, "advanced": {"lan": lan, **advanced}}))

    write("192.168.50.10")
    with Node(tmp_path, policy) as node:
        node.apply()
        write("192.168.50.10", "192.168.50.77")
        came = node.apply()
        assert sum("add xfrm policy src 192.168.50.77/32" in step for step in came) == 3
        assert all(re.search("xfrm policy|ipset|chain|iptables|write file", step) for step in came), came
        assert node.apply() == []
        write("192.168.50.10")
        gone = node.apply()
        assert sum("remove xfrm policy src 192.168.50.77/32" in step for step in gone) == 3
        assert node.apply() == []
