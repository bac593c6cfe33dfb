"""Clients whose tunnel dies, under continuous traffic, with ``privacy-agent run`` at work: which way they go, and when.

The first process of a sandbox. wgc1 is a real WireGuard tunnel that is judged by its handshake; ovpnc3 is a routing
table, as OpenVPN's scripts keep one, that is judged by a connection through its device. Each is the other's way out.
Reports a JSON object per event on its standard output.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lan_router
from lan_lab import BASE, LanLab, changed, leaks, uplink
from lan_probes import PATIENCE, Probe, send
from lan_tunnel import Tunnel
from namespace import inside

T = "tunnel_director__tunnels__"
DOCUMENT = changed(
    BASE,
    **{
        f"{T}wgc1__failover": ["ovpnc3"],
        f"{T}ovpnc3__failover": ["wgc1"],
        f"{T}ovpnc3__probe": f"{lan_router.ABROAD}:80",
    },
)
PAUSE = 0.03  # seconds between a client's packets
UNMANAGED = "lan99"


class Asking:
    """Clients that ask all the time, and by which way each answer came."""

    def __init__(self) -> None:
        self.answers: list[tuple[float, str, str]] = []  # when it was asked, client and family, way
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(Probe(client, version, "udp"),), daemon=True)
            for client in ("lan20", "lan30", UNMANAGED)
            for version in (4, 6)
        ]
        self._threads += [
            threading.Thread(target=self._go_on, args=(client,), daemon=True) for client in ("lan20", "lan30")
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, probe: Probe) -> None:
        while not self._end.wait(PAUSE):
            moment = time.monotonic()
            self.answers.append((moment, f"{probe.client} IPv{probe.version}", send(probe)))

    def _go_on(self, client: str) -> None:
        """Ask from one port all the time: one flow for the router's connection tracking."""
        with inside(client):
            flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with flow:
            flow.connect((lan_router.ABROAD, 7))
            flow.settimeout(PATIENCE)
            while not self._end.wait(PAUSE):
                moment, way = time.monotonic(), "silence"
                with suppress(OSError):  # no answer, or a refusal
                    flow.send(b"flow")
                    way = flow.recv(100).split(b" ")[0].decode()
                self.answers.append((moment, f"{client} flow", way))

    def until(self, who: str, way: str, since: float, seconds: float) -> float:
        """Seconds from ``since`` until this client's first packets that went this way: both families, and the flow."""
        deadline = since + seconds
        while time.monotonic() < deadline:
            firsts = [
                next(
                    (t for t, it, how in list(self.answers) if t >= since and (it, how) == (f"{who} {kind}", way)), None
                )
                for kind in ("IPv4", "IPv6", "flow")
            ]
            if None not in firsts:
                return max(first - since for first in firsts if first is not None)
            time.sleep(0.02)
        raise TimeoutError(f"{who} did not go by {way} within {seconds} s: {self.ways(who, since)}")

    def ways(self, who: str, since: float) -> list[str]:
        return sorted({f"{how}" for t, it, how in list(self.answers) if t >= since and it.startswith(who)})

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def table_tunnel(action: str) -> None:
    """Its link stays up and its routes stay; nothing comes through."""
    for tool in ("iptables", "ip6tables"):
        lan_router.run("ip", "netns", "exec", "vpn2", tool, action, "INPUT", "-j", "DROP")


def main() -> None:
    directory, limits = Path(sys.argv[1]), sys.argv[2:]
    lab = LanLab(directory)
    Path("/run/wireguard").mkdir(exist_ok=True)
    tunnel = Tunnel(directory)
    masked = ("-t", "nat", "-A", "POSTROUTING", "-o", lan_router.EXITS["vpn2"][0], "-j", "MASQUERADE")
    lan_router.run("iptables", *masked)  # as whoever sets up an OpenVPN client does
    policy = lab.write(DOCUMENT)
    log = (directory / "run.log").open("wb")
    quick = Path(__file__).with_name("quick_run.py")
    command = [sys.executable, str(quick), str(policy), str(lab.state), str(directory), *limits]
    agent = subprocess.Popen(command, stderr=log)
    while b'"in force"' not in (directory / "run.log").read_bytes():
        if agent.poll() is not None:
            raise RuntimeError((directory / "run.log").read_text())
        time.sleep(0.05)
    with uplink() as seen:
        asking = Asking()
        asking.until("lan20", "vpn1", time.monotonic(), 30)
        asking.until("lan30", "vpn2", time.monotonic(), 30)
        stages: tuple[tuple[str, Callable[[], None], str, str], ...] = (
            ("handshake dies", tunnel.kill, "lan20", "vpn2"),
            ("handshake is back", tunnel.revive, "lan20", "vpn1"),
            ("a new handshake", tunnel.renew, "lan20", "vpn1"),
            ("connections die", lambda: table_tunnel("-I"), "lan30", "vpn1"),
            ("connections are back", lambda: table_tunnel("-D"), "lan30", "vpn2"),
        )
        for stage, happen, client, way in stages:
            begin = time.monotonic()
            happen()
            took = asking.until(client, way, begin, 200)
            after = time.monotonic()
            time.sleep(0.3)
            say(stage=stage, client=client, way=way, seconds=round(took, 2), then=asking.ways(client, after + 0.1))
        asking.end()
    tunnels = json.loads((lab.state / "health.json").read_text())
    found = {str(it): count for it, count in leaks(seen).items()}
    control = sum(how == "wan" for _, it, how in asking.answers if it.startswith(UNMANAGED))
    sent = sum(not it.startswith(UNMANAGED) for _, it, _ in asking.answers)
    say(stage="whole", sent=sent, leaks=found, control=control, unseen=seen.dropped, tunnels=tunnels)
    agent.terminate()
    agent.wait()
    os._exit(0)  # the servers' thread has no end


if __name__ == "__main__":
    main()
