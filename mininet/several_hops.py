"""Two gateways and two Xrays in one chain: real clients of both, and what becomes of them when one Xray dies.

    first, even clients ==> gateway 100 --.             .--> Xray 101 --.
                                           > WARP hop -<                 > WARP ==> VPS
    second, third       ==> gateway 102 --'             '--> Xray 103 --'

Runs as the first process of a sandbox (sandbox.py) with the argument DIRECTORY; prints one JSON object a line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import client
import forge
import traces
from capture import capture, in_time
from lab import HOSTS, Lab, private_key, public_key
from privacy_chain import CLIENT, NODE, NODE_LAN, VPS, WEB, Surroundings
from processes import LabError

EXAMPLE = Path(__file__).resolve().parent.parent / "policies" / "documents" / "privacy-router.json"
SECOND_PORT = 51821
PATIENCE = 4.0  # seconds to wait for what must not be answered, beside what must


@dataclass(frozen=True)
class Device:
    """A client: its namespace, its own network to the node, and its address in the tunnel."""

    name: str
    lan: str
    router: str
    inner: str


FIRST = Device("client", CLIENT, NODE_LAN, "10.100.0.2")
SECOND = Device("second", "192.168.78.2", "192.168.78.1", "10.100.1.2")
THIRD = Device("third", "192.168.79.2", "192.168.79.1", "10.100.1.3")
DEVICES = (FIRST, SECOND, THIRD)
XRAYS = {"ct101": "internal_101", "ct103": "internal_103"}


class MoreClients(Surroundings):
    def build(self) -> None:
        super().build()
        for device in DEVICES[1:]:
            self.addHost(device.name, ip=f"{device.lan}/24", defaultRoute=f"via {device.router}")
            self.addLink(
                "node",
                device.name,
                intfName1=f"lan-{device.name}",
                params1={"ip": f"{device.router}/24"},
                intfName2="eth0",
                params2={"ip": f"{device.lan}/24"},
            )


class SeveralHopsLab(Lab):
    surroundings = MoreClients
    hosts = (*HOSTS, *(device.name for device in DEVICES[1:]))

    def write_policy(self, second_xray: bool = True) -> None:
        """The example with the further hops; its own flows name the first ones only. In place at one instant."""
        document = json.loads(EXAMPLE.read_text())
        router = document["privacy_router"]
        gateway = {"container_id": 102, "listen_port": SECOND_PORT, "client_subnet": "10.100.1.0/24"}
        router["wireguard"]["further"] = [{**gateway, "zero_config": False}]
        router["xray"]["further"] = [{"container_id": 103, "enabled": second_xray}]
        router["socket_networking"]["privacy_sockets"] += [
            {"name": f"internal_{number}", "container_id": number, "port_type": "privacy"} for number in (102, 103)
        ]
        new = self.policy.with_suffix(".new")
        new.write_text(json.dumps(document, indent=2))
        new.replace(self.policy)

    def build(self) -> None:
        self.write_policy()
        profiles = self._second_gateway()
        self.build_surroundings()
        self.start_controller()
        self.agent("apply")
        self.start_vps()
        self.start_client()
        for device, profile in profiles.items():
            self.use_profile(device.name, f"wg-{device.name}", profile, device.router)
        self.wait_for_flows()

    def _second_gateway(self) -> dict[Device, str]:
        """The operator's own profile of gateway 102, with two clients, and theirs."""
        gateway_key, keys = private_key(), {device: private_key() for device in DEVICES[1:]}
        peers = (f"[Peer]\nPublicKey = {public_key(key)}\nAllowedIPs = {it.inner}/32\n" for it, key in keys.items())
        file = self.config / "gateway-102.conf"
        file.touch(mode=0o600)
        file.write_text(f"[Interface]\nPrivateKey = {gateway_key}\n" + "".join(peers))
        peer = f"[Peer]\nPublicKey = {public_key(gateway_key)}\nAllowedIPs = 0.0.0.0/0, ::/0\n"
        peer += f"Endpoint = {NODE}:{SECOND_PORT}\nPersistentKeepalive = 25\n"
        return {it: f"[Interface]\nPrivateKey = {key}\nAddress = {it.inner}/32\n{peer}" for it, key in keys.items()}

    def stop_product(self) -> None:
        self.agent("stop")
        for name in ("ryu-manager", "xray-server"):
            self.processes.kill(name)
        self.inside(FIRST.name, "ip", "link", "delete", "wg0")
        for device in DEVICES[1:]:
            self.inside(device.name, "ip", "link", "delete", f"wg-{device.name}")

    def counted(self) -> dict[str, int]:
        """Packets by the chain's items."""
        links = self.rest("/v1/chain")["links"]
        return {link["item"]: link["packets"] for link in links if link["item"] != "chain ARP"}

    def is_alone(self) -> bool:
        """Whether the switch has the first Xray only, and says so."""
        found = self.rest("/v1/chain")["hops"]
        return [hop["port"] for hop in found if hop["kind"] == "xray"] == ["internal_101"]


def tell(what: str, **values: Any) -> None:
    print(json.dumps({"what": what, **values}), flush=True)


def seen(call: Callable[[], str]) -> str:
    try:
        return call()
    except OSError:
        return "nothing"


def reached(timeout: float = client.PATIENCE) -> dict[str, list[str]]:
    """Whom the web server and the echo server saw, by client; all ask at once."""
    names = [device.name for device in DEVICES]
    with ThreadPoolExecutor() as pool:
        web = pool.map(lambda name: seen(lambda: client.web_peer(name, WEB, timeout)), names)
        echo = pool.map(lambda name: seen(lambda: client.echo_peer(name, WEB, timeout)), names)
        return {name: [*saw] for name, *saw in zip(names, web, echo, strict=True)}


def every_client_has_its_xray() -> None:
    with ExitStack() as stack:
        at = {name: stack.enter_context(capture(name, port)) for name, port in XRAYS.items()}
        tell("all work", vps=VPS, reached=reached())
        time.sleep(0.2)
    carried = {name: [it.inner for it in DEVICES if told.naming(it.inner)] for name, told in at.items()}
    tell("shares", carried=carried)


def gateways_are_apart() -> None:
    """Forged at the WARP hop, past all routes, and tried by a client."""
    with capture("ct102", "internal_102") as gateway:
        forge.frame("warp", "warp0", WEB, SECOND.inner)
        control = in_time(lambda: gateway.forged)
        for source in (FIRST.inner, "10.100.0.3"):
            for target in (SECOND.inner, THIRD.inner, "10.99.0.102"):
                forge.frame("warp", "warp0", source, target)
        tried = seen(lambda: client.udp(FIRST.name, (SECOND.inner, 7), b"hello", PATIENCE).decode())
        time.sleep(0.1)
    tell("apart", control=control, arrived=gateway.forged - control, answer=tried, named=gateway.naming(FIRST.inner))
    with capture("warp", "warp0") as warp:
        forge.frame("ct102", "internal_102", THIRD.inner, WEB)
        control = in_time(lambda: warp.forged)
        for namespace, port, source in (
            ("ct102", "internal_102", FIRST.inner),
            ("ct100", "internal_100", THIRD.inner),
        ):
            forge.frame(namespace, port, source, WEB)
        for namespace, port, target in (
            ("ct103", "internal_103", FIRST.inner),
            ("ct101", "internal_101", THIRD.inner),
        ):
            forge.frame(namespace, port, WEB, target)
        time.sleep(0.1)
    tell("spoofed", control=control, arrived=warp.forged - control)


def an_xray_dies(lab: SeveralHopsLab) -> None:
    secrets = (*(it.inner for it in DEVICES), *(it.lan for it in DEVICES), WEB)
    with capture("node", "uplink0") as uplink, client.steady_udp(FIRST.name, (WEB, 7)) as stream:
        forge.datagram_from("node", THIRD.inner, WEB)
        control = in_time(lambda: uplink.naming(*secrets))
        lab.run("kill", "-KILL", *lab.run("ip", "netns", "pids", "ct103").split())
        tell("one Xray killed", vps=VPS, reached=reached(PATIENCE))
        lab.agent("apply")
        tell("and started again", vps=VPS, reached=reached())
        leave(lab)
    leaked = uplink.naming(*secrets) - control
    tell("leaks", control=control, leaked=leaked, unseen=uplink.dropped, of=sum(uplink.packets.values()))
    tell("meanwhile", sent=stream.sent, lost=stream.lost)


def leave(lab: SeveralHopsLab) -> None:
    """The second Xray is disabled: its clients go to the first."""
    lab.write_policy(second_xray=False)
    lab.agent("apply")
    lab.processes.wait("ryu-manager", lab.is_alone)
    lab.wait_for_flows()
    with capture("ct101", "internal_101") as first:
        found = reached()
        time.sleep(0.1)
    carried = [it.inner for it in DEVICES if first.naming(it.inner)]
    tell("one Xray disabled", vps=VPS, reached=found, carried=carried)


def main(directory: Path) -> None:
    lab = SeveralHopsLab(directory, directory / "policy.json")
    begin = time.monotonic()
    lab.build()
    tell("built", seconds=round(time.monotonic() - begin, 1))
    every_client_has_its_xray()
    lab.processes.wait("ryu-manager", lambda: all(lab.counted().values()))
    hops = [[hop["kind"], hop["port"], hop["state"]] for hop in lab.rest("/v1/chain")["hops"]]
    tell("chain", hops=hops, counted=lab.counted())
    gateways_are_apart()
    an_xray_dies(lab)
    tell("second apply", steps=json.loads(lab.agent("apply", "--json"))["steps"])
    lab.stop_product()
    tell("stop", left=traces.left_behind(lab.before_product, traces.snapshot()))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except LabError as error:
        tell("broken off", error=str(error))
        raise SystemExit(1) from None
