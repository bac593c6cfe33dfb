"""Containers that are not ours, known to LXC alone: they get back what they had, whatever became of the policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from host_sandbox import EXAMPLE, Node
from processes import wait_for

NUMBERS = (100, 101)
SETTINGS = ("net.ipv4.ip_forward", "net.ipv4.conf.all.send_redirects", "net.ipv4.conf.all.accept_redirects")


class Containers:
    """Network namespaces without a name, and an ``lxc-info`` that tells their first processes."""

    def __init__(self, node: Node, directory: Path) -> None:
        self._node = node
        self._pids = {number: self._start(number, directory) for number in NUMBERS}
        lines = "".join(f"[ $2 = {number} ] && echo {pid} && exit\n" for number, pid in self._pids.items())
        fake = directory / "lxc-info"
        fake.write_text(f"#!/bin/sh\n{lines}echo no such container >&2\nexit 1\n")
        fake.chmod(0o755)
        node.run("mount", "-t", "tmpfs", "tmpfs", "/usr/local/sbin")
        node.run("cp", fake, "/usr/local/sbin/lxc-info")

    def _start(self, number: int, directory: Path) -> str:
        said = directory / f"pid{number}"
        self._node.start("unshare", "--net", "sh", "-c", f"echo $$ >{said}; exec sleep 1000")
        wait_for(lambda: said.exists() and said.read_text().endswith("\n"), "the container to start")
        pid = said.read_text().strip()
        self._node.run("nsenter", "--target", pid, "--net", "ip", "link", "set", "lo", "up")
        self._node.run("nsenter", "--target", pid, "--net", "sysctl", "-qw", "net.ipv4.conf.all.accept_redirects=1")
        return pid

    def inside(self, number: int, *command: str) -> str:
        return self._node.run("nsenter", "--target", self._pids[number], "--net", *command)

    def state(self) -> dict[str, str]:
        commands = (
            "iptables-save",
            "ip6tables-save",
            "ipset save",
            "ip rule",
            "ip route show table all",
            "ip -br link",
        )
        commands += tuple(f"sysctl {key}" for key in SETTINGS)
        found = {f"{it}: {command}": self.inside(it, *command.split()) for it in NUMBERS for command in commands}
        # Tables that were asked for stay, empty, in the kernel.
        return {what: "" if "save" in what and "\n-A" not in text else text for what, text in found.items()}


def test_stop_leaves_containers_as_they_were_even_without_a_policy(node: Node, tmp_path: Path) -> None:
    containers = Containers(node, tmp_path)
    before = containers.state()
    node.apply()
    assert node.namespaces() == {"warp"}
    during = containers.state()
    assert "XRAY_TPROXY" in during["101: iptables-save"] and during["101: ip rule"] != before["101: ip rule"]
    assert "= 0" in during[f"100: sysctl {SETTINGS[2]}"] != before[f"100: sysctl {SETTINGS[2]}"]
    node.policy = tmp_path / "policy.json"
    node.policy.write_text("{")
    done = node.agent("stop")
    assert done.returncode == 0, done.stderr
    assert containers.state() == before
    assert not (node.state / "former-settings.json").exists()

    # What somebody else has set since is his.
    node.policy = EXAMPLE
    node.apply()
    containers.inside(101, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    (node.state / "last-good").rename(node.state / "aside")
    assert node.agent("stop").returncode == 0
    assert "= 1" in containers.state()[f"101: sysctl {SETTINGS[0]}"]


@pytest.mark.soak
def test_a_container_that_leaves_the_policy_gets_its_own_back(node: Node, tmp_path: Path) -> None:
    containers = Containers(node, tmp_path)
    before = containers.state()
    node.apply()
    document = json.loads(EXAMPLE.read_text())
    document["privacy_router"]["xray"]["container_id"] = 105
    for section in document["privacy_router"]["socket_networking"].values():
        for socket in section if isinstance(section, list) else ():
            socket |= {"container_id": 105} if socket.get("container_id") == 101 else {}
    node.policy = tmp_path / "policy.json"
    node.policy.write_text(json.dumps(document).replace('"id": 101', '"id": 105'))
    node.apply()
    after = containers.state()
    assert {what: text for what, text in after.items() if what.startswith("101")} == {
        what: text for what, text in before.items() if what.startswith("101")
    }
    assert "ct105" in node.namespaces() and node.apply() == []
