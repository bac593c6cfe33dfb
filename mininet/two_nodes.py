"""Two nodes of one mesh: the Mininet topology, and each node as a machine with processes, /run and switch of its own.

    a (ct201) == Netmaker's WireGuard == b (ct200)      one controller, at the site between them

Each node's agent sees only what is on its node, as on two real machines.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from daemons import add_wireguard, start_open_vswitch
from mininet.topo import Topo
from privacy_chain import Router
from processes import Processes
from sandbox import Sandbox

BIN = Path(sys.executable).parent
SITE = {"a": "192.0.2.1", "b": "198.51.100.1"}  # the router's, and the controller's, towards each node
UPLINK = {"a": "192.0.2.2", "b": "198.51.100.2"}
MESH = {"a": "100.104.70.1", "b": "100.104.70.2"}
DATAPATH = {"a": "000000000000000a", "b": "000000000000000b"}
DEVICE, WIREGUARD_PORT = "netmaker", 51821


class TwoNodes(Topo):  # type: ignore[misc]
    """Two machines in different places, and the site between them, which is the sandbox's own namespace."""

    def build(self) -> None:
        self.addHost("site", cls=Router, ip=None, inNamespace=False)
        for name in ("a", "b"):
            self.addHost(name, ip=None)
            self.addLink(
                name,
                "site",
                intfName1="uplink0",
                params1={"ip": f"{UPLINK[name]}/24"},
                intfName2=f"to-{name}",
                params2={"ip": f"{SITE[name]}/24"},
            )


topos = {"two_nodes": TwoNodes}


class Machine:
    """A node: the Mininet host's network namespace, with process, mount and host name namespaces around it."""

    def __init__(self, name: str, host: Any, directory: Path) -> None:
        self.name, self.directory = name, directory / name
        self.config, self.state = self.directory / "config", self.directory / "state"
        for each in (self.config, self.state, self.directory / "logs"):
            each.mkdir(mode=0o700, parents=True)
        self.processes = Processes(self.directory / "logs")
        self.topology = self.directory / "topology.json"
        self._sandbox = Sandbox('hostname "$1"', name, network=f"/proc/{host.pid}/ns/net")
        self.enter, self._root = self._sandbox.enter, f"/proc/{self._sandbox.first}/root"
        self.run("ip", "route", "add", "default", "via", SITE[name])

    def run(self, *command: str | Path) -> str:
        return self.processes.run("lab", [*self.enter, *map(str, command)])

    def inside(self, namespace: str, *command: str) -> str:
        return self.run("ip", "netns", "exec", namespace, *command)

    def start(self, name: str, *command: str | Path, namespace: str | None = None) -> None:
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        self.processes.start(name, [*self.enter, *prefix, *map(str, command)])

    def start_switch(self) -> None:
        start_open_vswitch(self.processes, self.directory / "ovs.db", self.enter, self._root)

    def start_container(self, number: int) -> None:
        """What a container runtime makes: a namespace without any link of its own."""
        self.run("ip", "netns", "add", f"ct{number}")
        self.inside(f"ct{number}", "ip", "link", "set", "lo", "up")

    def stop_container(self, number: int) -> None:
        self.run("ip", "netns", "delete", f"ct{number}")

    def agent(self, verb: str, *options: str, policy: Path) -> str:
        """``privacy-agent`` as an operator would run it on this node."""
        where: list[str | Path] = ["--policy", policy, "--topology", self.topology, "--node", self.name]
        where += ["--state-dir", self.state, "--config-dir", self.config]
        return self.run(BIN / "privacy-agent", verb, *where, *options)

    # --- what Netmaker does

    def start_netmaker(self, private_key: str) -> None:
        """The mesh's WireGuard device: layer 3, with the node's mesh address."""
        add_wireguard(self.processes, DEVICE, self.enter, self._root)
        file = self.config / "netmaker.conf"
        file.touch(mode=0o600)
        file.write_text(f"[Interface]\nPrivateKey = {private_key}\nListenPort = {WIREGUARD_PORT}\n")
        self.run("wg", "setconf", DEVICE, file)
        self.run("ip", "address", "add", f"{MESH[self.name]}/24", "dev", DEVICE)
        self.run("ip", "link", "set", DEVICE, "mtu", "1420", "up")

    def set_peer(self, other: str, public_key: str, addresses: list[str]) -> None:
        """The other node and the container addresses behind it (in Netmaker's words, its egress ranges)."""
        allowed = ",".join(f"{address}/32" for address in [MESH[other], *addresses])
        endpoint = f"{UPLINK[other]}:{WIREGUARD_PORT}"
        self.run("wg", "set", DEVICE, "peer", public_key, "endpoint", endpoint, "allowed-ips", allowed)

    def close(self) -> None:
        self.processes.kill_all()
        self._sandbox.close()
