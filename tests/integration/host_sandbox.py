"""A node of its own for the host agent: namespaces, a private /run and Open vSwitch, gone when closed.

Nothing of it is visible outside. Commands enter with nsenter(1).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from host_examples import WGCF

ROOT = Path(__file__).resolve().parents[2]
AGENT = Path(sys.executable).with_name("privacy-agent")
EXAMPLE = ROOT / "policies" / "documents" / "privacy-router.json"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
HOSTS = "127.0.0.1 localhost\n203.0.113.10 vps.example.com\n198.51.100.1 engage.example.net\n"

_INIT = """
set -e
mount -t tmpfs node /run
mount -t sysfs node /sys
mkdir /run/netns /run/openvswitch
mount --bind "$1/hosts" /etc/hosts
ip link set lo up
ip link add uplink0 type veth peer name isp0
sysctl -qw net.ipv6.conf.uplink0.disable_ipv6=1 net.ipv6.conf.isp0.disable_ipv6=1
ip address add 192.0.2.2/24 dev uplink0
ip link set uplink0 up
ip link set isp0 up
ip route add default via 192.0.2.1
ovsdb-tool create "$1/conf.db" "$2"
ovsdb-server "$1/conf.db" --remote=punix:/run/openvswitch/db.sock --pidfile --detach -vconsole:off
ovs-vsctl --no-wait init
ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --detach -vconsole:off
echo ready
exec sleep infinity
"""


class Node:
    """A machine with Open vSwitch running, an uplink, and a WARP profile; nothing of the privacy router yet."""

    def __init__(self, directory: Path, policy: Path = EXAMPLE) -> None:
        self.policy, self.state, self.config = policy, directory / "state", directory / "config"
        self.config.mkdir()
        (self.config / "wgcf-profile.conf").write_text(WGCF)
        (directory / "hosts").write_text(HOSTS)
        flags = ["--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--net"]
        init = ["sh", "-c", _INIT, "init", str(directory), SCHEMA]
        self._first = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *flags, *init], stdout=subprocess.PIPE, text=True
        )
        assert self._first.stdout is not None
        assert self._first.stdout.readline() == "ready\n"
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text().split()
        self._enter = ["nsenter", "--target", children[0], "--mount", "--net", "--pid", "--"]

    def close(self) -> None:
        self._first.kill()
        self._first.wait()

    def attempt(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        words = [*self._enter, *map(str, command)]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    def run(self, *command: str | Path) -> str:
        done = self.attempt(*command)
        assert done.returncode == 0, f"{command}: exit {done.returncode}: {done.stderr}{done.stdout}"
        return done.stdout

    def inside(self, namespace: str, *command: str) -> str:
        return self.run("ip", "netns", "exec", namespace, *command)

    def start(self, *command: str | Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self._enter, *map(str, command)], stdin=subprocess.DEVNULL)

    def agent(self, verb: str, *options: str | Path) -> subprocess.CompletedProcess[str]:
        where = ("--policy", self.policy, "--state-dir", self.state, "--config-dir", self.config)
        return self.attempt(AGENT, verb, *where, *options)

    def apply(self) -> list[str]:
        """Apply the policy; the steps it took."""
        done = self.agent("apply", "--json")
        assert done.returncode == 0, done.stderr
        return [step["step"] for step in json.loads(done.stdout)["steps"]]

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.agent("status", "--json").stdout)
        return answer

    def pid(self, daemon: str) -> str:
        (pid,) = (row["pid"] for row in self.status()["daemons"] if row["name"] == daemon)
        return str(pid)

    def has_ended(self, pid: str) -> bool:
        """Whether the process is gone, or waits for nothing but to be reaped (the sandbox's first process does not)."""
        return self.attempt("ps", "-o", "stat=", "-p", pid).stdout[:1] in ("", "Z")

    def namespaces(self) -> set[str]:
        return set(self.run("ls", "/run/netns").split())

    def snapshot(self) -> dict[str, list[str]]:
        """Everything on the node that the agent could have made."""
        commands = {
            "namespaces": ["ls", "/run/netns"],
            "bridges": ["ovs-vsctl", "list-br"],
            "ports": ["ovs-vsctl", "--bare", "--columns=name", "list", "Port"],
            "links": ["ip", "-br", "link"],
            "addresses": ["ip", "-br", "address"],
            "rules": ["ip", "rule"],
            "routes": ["ip", "route", "show", "table", "all"],
            "chains": ["iptables-save", "-t", "mangle"],
            "sets": ["ipset", "save"],
            "processes": ["ps", "-eo", "args"],
            "files": ["find", "/run", "-not", "-type", "d", "-not", "-name", "xtables.lock"],
        }
        passing = ("Generated by", "Completed on", "<defunct>", "ps -eo args")
        return {
            what: sorted(line for line in self.run(*command).splitlines() if not any(word in line for word in passing))
            for what, command in commands.items()
        }


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)


def needs_root() -> str:
    """Why these tests cannot run here; empty if they can."""
    return "" if os.geteuid() == 0 else "needs root, for network namespaces"
