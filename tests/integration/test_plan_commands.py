"""``plan --commands``: a shell that ends where a command fails makes what the agent makes, and the agent knows it.

What the terminal is asked for (keys, files with keys) is left out of the scripts here, or put in place beforehand.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from host_sandbox import EXAMPLE, Node
from test_confirm import state as everything
from test_run_containers import Containers

KEYS = "configure WireGuard device"


def state(node: Node) -> dict[str, list[str]]:
    """Without the peers, which need the keys, and the number of a set's buckets, which is nothing that it holds."""
    known = {what: lines for what, lines in everything(node).items() if "peers" not in what}
    return {what: [re.sub(r"hashsize \d+", "", line) for line in lines] for what, lines in known.items()}


def carried_out(node: Node, script: Path) -> subprocess.CompletedProcess[str]:
    planned = node.agent("plan", "--commands")
    assert planned.returncode == 1, planned.stderr
    script.write_text("\n".join(line for line in planned.stdout.splitlines() if "/dev/tty" not in line))
    done = node.attempt("sh", "-c", f"sh -e {script} >{script}.log 2>&1")
    assert done.returncode == 0, Path(f"{script}.log").read_text()
    return planned


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A policy with other chains, sets, routes, addresses, another WireGuard device and another command for Xray."""
    document = json.loads(EXAMPLE.read_text())
    router = document["privacy_router"]
    router["xray"]["tproxy_port"] = 23456
    router["wireguard"] |= {"device": "wg-other", "listen_port": 51999}
    router["chain"] = {"client_subnet": "10.101.0.0/24"}
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document))
    return path


def test_from_nothing(node: Node, tmp_path: Path) -> None:
    node.apply()
    mine = state(node)
    assert node.agent("stop").returncode == 0
    carried_out(node, tmp_path / "plan.sh")
    assert state(node) == mine
    programs = {row["name"] for row in node.status()["daemons"]}
    assert programs == {"wireguard-wg100", "wireguard-wgcf", "xray"}, "the agent knows them for its own"
    assert all(KEYS in step for step in node.apply())


def test_from_nothing_the_peer_is_whoever_has_the_key_that_was_typed(node: Node, tmp_path: Path) -> None:
    """What is typed goes into files, and no plan can have known it."""
    typed = {name: tmp_path / name for name in ("client", "other")}
    for path in typed.values():
        path.write_text(node.run("wg", "genkey"))
    lines = node.agent("plan", "--commands").stdout.partition("# ct101: start xray")[0].splitlines()
    clients = f"install -D -m 600 /dev/tty {node.state}/keys/client-1.key"
    answered = [
        line.replace("/dev/tty", str(typed["client" if line.startswith(clients) else "other"])) for line in lines
    ]
    script = tmp_path / "plan.sh"
    script.write_text("\n".join(answered))
    node.run("sh", "-e", script)
    client = node.run("wg", "pubkey", input=typed["client"].read_text())
    assert node.inside("ct100", "wg", "show", "wg100", "peers") == client


def test_from_one_policy_to_another(node: Node, tmp_path: Path, other: Path) -> None:
    node.policy = other
    node.apply()
    wanted, files = state(node), tmp_path / "files"
    shutil.copytree(node.state, files)
    node.policy = EXAMPLE
    node.apply()
    node.policy = other
    shutil.copytree(files / "xray", node.state / "xray", dirs_exist_ok=True)  # what the script would ask for
    shutil.copytree(files / "clients", node.state / "clients", dirs_exist_ok=True)
    carried_out(node, tmp_path / "plan.sh")
    assert all(KEYS in step for step in node.apply())
    assert state(node) == wanted


def test_a_port_whose_device_is_gone_keeps_its_ethernet_address(node: Node, tmp_path: Path) -> None:
    node.apply()
    address = '"02:50:52:6d:65:73"'
    node.run("ovs-vsctl", "set", "Interface", "internal_100", f"mac={address}")
    node.run("ip", "netns", "del", "ct100")
    carried_out(node, tmp_path / "plan.sh")
    assert node.run("ovs-vsctl", "get", "Interface", "internal_100", "mac").strip() == address
    assert all(KEYS in step for step in node.apply())


def test_containers_that_have_no_name(node: Node, tmp_path: Path) -> None:
    Containers(node, tmp_path)
    node.apply()
    assert node.agent("stop").returncode == 0
    carried_out(node, tmp_path / "plan.sh")
    assert node.namespaces() == {"warp"}, "a name that stays would not follow the container"
    assert all(KEYS in step for step in node.apply())


def test_nothing_is_taken_from_the_script_itself(node: Node, tmp_path: Path) -> None:
    """A script that comes by a pipe ends at the first key, and makes no file of its own lines, nor an empty one."""
    script = tmp_path / "plan.sh"
    script.write_text(node.agent("plan", "--commands").stdout)
    for shell in (f"setsid -w sh -e <{script}", f"setsid -w sh -e {script} </dev/null"):
        done = node.attempt("sh", "-c", shell)
        assert done.returncode == 1 and "/dev/tty" in done.stderr, done.stderr
    assert not [path for path in node.state.rglob("*") if path.is_file()]
    node.apply()
