"""Build the lab inside a sandbox: what a data centre and an ISP make, then the product on top of it.

The product is used as an operator would use it: ``privacy-agent apply`` and ``ryu-manager``. The lab knows
nothing of its insides but what it hands out: the client's profile and the VPS's configuration.
"""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import sandbox
import traces
from daemons import add_wireguard, start_open_vswitch
from mininet.log import setLogLevel
from mininet.net import Mininet
from privacy_chain import (
    CONTAINERS,
    DNS,
    ISP_TO_NODE,
    NODE,
    NODE_LAN,
    VPS,
    VPS_NAME,
    WARP_ENDPOINT,
    WARP_EXIT,
    WEB,
    Surroundings,
)
from processes import Processes

from host_agent.drivers import xray

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
REST = "http://127.0.0.1:8080"
HOSTS = ("client", "isp", "warpend", "vps", "internet")
VECTOR_DB = "100.104.70.10"
WARP_PORT = 2408
WARP_INNER = "172.16.0.2"


class Lab:
    """One lab in one directory. Everything but the directory dies with the sandbox."""

    surroundings: type[Surroundings] = Surroundings
    hosts: tuple[str, ...] = HOSTS

    def __init__(self, directory: Path, policy: Path) -> None:
        self.directory, self.policy = directory, policy
        self.config, self.state = directory / "config", directory / "state"
        for each in (self.config, self.state, directory / "logs"):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.processes = Processes(directory / "logs")
        self._network: Any = None

    # --- what a data centre and an ISP make

    def build_surroundings(self) -> None:
        sandbox.furnish(self.directory, {VPS_NAME: VPS})
        start_open_vswitch(self.processes, self.directory / "ovs.db")
        setLogLevel("error")
        Mininet.inited = True  # skips Mininet's tuning of machine-wide sysctls
        self._network = Mininet(topo=self.surroundings(), controller=None)
        self._network.start()
        for name in (*self.hosts, *CONTAINERS):
            self.run("ip", "netns", "attach", name, str(self._network.get(name).pid))
            self.inside(name, "ip", "link", "set", "lo", "up")
        self.run("ip", "route", "add", "default", "via", ISP_TO_NODE)
        self.inside("internet", "ip", "address", "add", f"{DNS}/24", "dev", "eth0")
        self._serve("internet", WEB, DNS)
        self._start_warp_endpoint()
        self.before_product = traces.snapshot()

    def _serve(self, namespace: str, web: str, dns: str) -> None:
        name = f"servers-{namespace}"
        self.processes.start(name, [sys.executable, str(HERE / "servers.py"), web, dns], namespace)
        self.processes.wait(name, lambda: "ready" in self.processes.log(name).read_text())

    def _start_warp_endpoint(self) -> None:
        """A WireGuard peer that lets its one customer out under an address of its own, and the customer's profile."""
        server_key, client_key = private_key(), private_key()
        server = f"[Interface]\nPrivateKey = {server_key}\nListenPort = {WARP_PORT}\n"
        peer = f"[Peer]\nPublicKey = {public_key(client_key)}\nAllowedIPs = {WARP_INNER}/32\n"
        self._wireguard("warpend", "wgwarp", server + peer)
        self.inside("warpend", "ip", "address", "add", "172.16.0.1/24", "dev", "wgwarp")
        self.inside("warpend", "ip", "link", "set", "wgwarp", "mtu", "1280", "up")
        self.inside("warpend", "ip", "address", "add", f"{WARP_EXIT}/25", "dev", "eth0")
        nat = ("-t", "nat", "-A", "POSTROUTING", "-s", "172.16.0.0/24", "-j", "SNAT", "--to-source", WARP_EXIT)
        self.inside("warpend", "iptables", "-w", *nat)
        profile = self.config / "wgcf-profile.conf"
        profile.touch(mode=0o600)
        profile.write_text(
            f"[Interface]\nPrivateKey = {client_key}\nAddress = {WARP_INNER}/32\nDNS = 1.1.1.1\nMTU = 1280\n"
            f"[Peer]\nPublicKey = {public_key(server_key)}\nAllowedIPs = 0.0.0.0/0\nAllowedIPs = ::/0\n"
            f"Endpoint = {WARP_ENDPOINT}:{WARP_PORT}\n"
        )

    # --- the product

    def start_controller(self) -> None:
        """ryu-manager as README.md says; returns before it has connected."""
        environment = {
            **os.environ,
            "PRIVACY_ROUTER_POLICY": str(self.policy),
            "PRIVACY_ROUTER_STATE_DIR": str(self.state),
        }
        command = [str(BIN / "ryu-manager"), "ryu_apps.privacy_router"]
        self.processes.start("ryu-manager", command, env=environment)

    def agent(self, verb: str, *options: str) -> str:
        """Run ``privacy-agent``. Raises LabError, naming its log, when its exit code is not 0."""
        where = ["--policy", str(self.policy), "--state-dir", str(self.state), "--config-dir", str(self.config)]
        return self.processes.run("privacy-agent", [str(BIN / "privacy-agent"), verb, *where, *options])

    def wait_for_flows(self, changes: int = 0) -> dict[str, Any]:
        """Wait until the switch holds what the policy wants, by so many changes at least, all accounted for.

        Between a commit and its read-back the switch already holds all of it, and the controller has no account of
        the change yet. Returns the switch's entry of ``/v1/flows``.
        """
        found: list[dict[str, Any]] = []

        def confirmed() -> bool:
            try:
                switches = self.rest("/v1/flows")["switches"]
            except OSError:
                return False
            found[:] = [each for each in switches if each["name"] == "ovsbr0"]
            switch = found[0] if found else None
            return bool(switch and switch["connected"] and switch["changes_total"] >= changes and in_sync(switch))

        self.processes.wait("ryu-manager", confirmed)
        return found[0]

    def rest(self, path: str) -> Any:
        with urllib.request.urlopen(REST + path, timeout=5) as answer:
            return json.load(answer)

    # --- what the operator does with what the agent made: the VPS and the first client device

    def start_vps(self) -> None:
        self.processes.start("xray-server", xray.command(self.state / "vps" / "server.json"), "vps")
        listening = lambda: ":443" in self.inside("vps", "ss", "-ltnH")  # noqa: E731
        self.processes.wait("xray-server", listening)

    def start_client(self) -> None:
        """The first client's device."""
        self.use_profile("client", "wg0", (self.state / "clients" / "client-1.conf").read_text(), NODE_LAN)

    def use_profile(self, client: str, device: str, text: str, router: str) -> None:
        """A profile as a WireGuard application would use it: everything goes into the tunnel."""
        profile = configparser.ConfigParser()
        profile.optionxform = str  # type: ignore[method-assign,assignment]
        profile.read_string(text)
        interface = profile["Interface"]
        own = f"[Interface]\nPrivateKey = {interface['PrivateKey']}\n[Peer]\n"
        self._wireguard(client, device, own + "".join(f"{k} = {v}\n" for k, v in profile["Peer"].items()))
        for address in interface["Address"].split(","):
            self.inside(client, "ip", "address", "add", address.strip(), "dev", device)
        self.inside(client, "ip", "link", "set", device, "mtu", interface.get("MTU", "1420"), "up")
        self.inside(client, "ip", "route", "add", NODE, "via", router)
        self.inside(client, "ip", "route", "replace", "default", "dev", device)
        self.inside(client, "ip", "-6", "route", "replace", "default", "dev", device)

    def start_mesh_service(self) -> None:
        self._serve("ct200", VECTOR_DB, VECTOR_DB)

    # --- down again

    def stop_product(self) -> None:
        """What an operator does to be rid of it."""
        self.agent("stop")
        for name in ("ryu-manager", "xray-server", "servers-ct200"):
            self.processes.kill(name)
        self.inside("client", "ip", "link", "delete", "wg0")

    def take_down(self) -> None:
        self.processes.kill_all()
        for name in (*self.hosts, *CONTAINERS):
            self.run("ip", "netns", "delete", name)
        self._network.stop()

    # --- tools

    def run(self, *command: str) -> str:
        return self.processes.run("lab", command)

    def inside(self, namespace: str, *command: str) -> str:
        return self.run("ip", "netns", "exec", namespace, *command)

    def _wireguard(self, namespace: str, device: str, configuration: str) -> None:
        """A WireGuard device in a namespace."""
        add_wireguard(self.processes, device, ["ip", "netns", "exec", namespace])
        file = self.config / f"{device}.conf"
        file.touch(mode=0o600)
        file.write_text(configuration)
        self.inside(namespace, "wg", "setconf", device, str(file))


def private_key() -> str:
    """A new WireGuard key; wg(8) is run directly because the lab's runner keeps what it reads in a log."""
    return subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout.strip()


def public_key(key: str) -> str:
    return subprocess.run(["wg", "pubkey"], input=key, capture_output=True, text=True, check=True).stdout.strip()


def in_sync(switch: dict[str, Any]) -> bool:
    """A switch of ``/v1/flows`` holds exactly what the policy wants, and a change, if there was one, was confirmed."""
    change = switch["last_change"]
    return switch["installed"] > 0 and not any(switch["drift"].values()) and (change is None or change["confirmed"])
