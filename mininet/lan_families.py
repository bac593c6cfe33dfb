"""Tunnels of which one family of addresses dies, by what the policy probes: which way their clients go.

The first process of a sandbox; takes the seconds within which a tunnel is judged, and settings of ``quick_run`` as
NAME=SECONDS. wgc1 is an interface, ovpnc3 a routing table; each is the other's way out. Reports a JSON object per event
on its standard output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lan_router
from lan_lab import BASE, Document, LanLab, changed, leaks, uplink
from lan_probes import Probe, send_all
from processes import wait_for

T = "tunnel_director__tunnels__"
FOUR, SIX = f"{lan_router.ABROAD}:80", f"[{lan_router.ABROAD6}]:80"
OWN = {"vpn1": "lan20", "vpn2": "lan30"}  # exit -> whose tunnel leads there
OTHER = {"vpn1": "vpn2", "vpn2": "vpn1"}
CASES: tuple[tuple[list[str], list[str], tuple[tuple[str, int], ...]], ...] = (  # probes of vpn1, vpn2; what dies
    ([SIX], [FOUR], (("vpn1", 6), ("vpn1", 4), ("vpn2", 6), ("vpn2", 4))),
    ([FOUR, SIX], [FOUR, SIX], (("vpn1", 4), ("vpn2", 6))),
)


def policy(first: list[str], second: list[str]) -> Document:
    probes = {f"{T}wgc1__probe": first, f"{T}ovpnc3__probe": second}
    return changed(BASE, **{f"{T}wgc1__failover": ["ovpnc3"], f"{T}ovpnc3__failover": ["wgc1"]}, **probes)


@contextmanager
def kept(lab: LanLab, document: Document, settings: list[str]) -> Iterator[None]:
    """The policy, by ``run`` that judges soon, once it has seen that the tunnels live."""
    quick = Path(__file__).with_name("quick_run.py")
    command = [sys.executable, str(quick), str(lab.write(document)), str(lab.state), str(lab.directory), *settings]
    log = lab.directory / "run.log"
    with log.open("wb") as output:
        agent = subprocess.Popen(command, stderr=output)
        try:
            wait_for(lambda: all(f"{it} is up" in log.read_text() for it in ("wgc1", "ovpnc3")), f"tunnels in {log}")
            yield
        finally:
            agent.terminate()
            agent.wait()


def silence(name: str, version: int, action: str) -> None:
    """At the tunnel's far end, whatever comes in this family."""
    tool = "iptables" if version == 4 else "ip6tables"
    lan_router.run("ip", "netns", "exec", name, tool, action, "INPUT", "-j", "DROP")


def ways(client: str) -> list[str]:
    """Of IPv4 and of IPv6."""
    return list(send_all([Probe(client, version, "udp") for version in (4, 6)]).values())


def until(client: str, way: str, seconds: float) -> list[str]:
    """The ways of the client's packets once both families go this way, or else when the time is over."""
    end = time.monotonic() + seconds
    while (found := ways(client)) != [way, way] and time.monotonic() < end:
        time.sleep(0.05)
    return found


def tell(probes: list[str], name: str, version: int, settled: float) -> None:
    client = OWN[name]
    silence(name, version, "-I")
    found = {"ways": until(client, OTHER[name], settled)}
    silence(name, version, "-D")
    found["back"] = until(client, name, settled)
    print(json.dumps({"probes": probes, "exit": name, "dead": version, **found}), flush=True)


def main() -> None:
    settings = sys.argv[3:]
    lab = LanLab(Path(sys.argv[1]))
    with uplink() as seen:
        for first, second, deaths in CASES:
            with kept(lab, policy(first, second), settings):
                for name, version in deaths:
                    tell(first if name == "vpn1" else second, name, version, float(sys.argv[2]))
                rules = lan_router.ip("-6", "rule").splitlines()
                print(json.dumps({"rules": [line for line in rules if "oif" in line]}), flush=True)
        ways("lan99")
    found = {str(it): count for it, count in leaks(seen).items()}
    control = sum(count for it, count in seen.packets.items() if it.source == lan_router.address("lan99", 4))
    print(json.dumps({"leaks": found, "unseen": seen.dropped, "control": control}), flush=True)
    lab.stop()
    left = [line for option in ("-4", "-6") for line in lan_router.ip(option, "rule").splitlines() if "oif" in line]
    print(json.dumps({"left": left}), flush=True)
    os._exit(0)  # the servers' thread has no end


if __name__ == "__main__":
    main()
