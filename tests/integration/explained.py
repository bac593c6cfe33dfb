"""First process of a sandbox: in the LAN router's lab, for each policy, what ``explain`` says of each packet and which
way the packet took. Prints one JSON object per policy."""

from __future__ import annotations

import json
import sys
from ipaddress import ip_address
from pathlib import Path

from lan_lab import BASE, Document, LanLab, changed
from lan_probes import KINDS, LONG, TARGETS, Probe, send, send_all
from lan_router import CLIENTS, address

from host_agent.desired import desired
from host_agent.explain.entry import packet, way
from host_agent.explain.facts import surroundings
from host_agent.explain.values import Explanation
from host_agent.facts import survey
from policies.load import load_policy

SERVICES = {"tcp": "tcp/80", "udp": "udp/7", "quic": "udp/443", "dns": "udp/53", "dns tcp": "tcp/53", "icmp": "icmp"}
EXITS = {"wan0": "wan", "wgc1": "vpn1", "tun3": "vpn2"}
POLICIES: dict[str, Document] = {
    "base": BASE,
    "everything reject and tunnel": changed(
        BASE, xray__quic="reject", xray__dns="tunnel", tunnel_director__tunnels__wgc1__dns="tunnel",
        tunnel_director__tunnels__wgc1__quic="reject",
    ),
    "no kill switch, names as ever": changed(BASE, xray__kill_switch=False, xray__dns="bypass"),
    "one client in both": changed(BASE, xray__clients=["192.168.50.0/24"]),
    "IPv6 blocked": changed(BASE, xray__ipv6="block", tunnel_director__tunnels__ovpnc3__ipv6="bypass"),
}  # fmt: skip


def expected(probe: Probe, found: Explanation) -> str:
    """What the answer is if the explanation is true."""
    if found.port is not None:
        return "xray"
    if found.end == "leaves":
        return "answered" if probe.kind == "icmp" else EXITS.get(found.device or "", str(found.device))
    if found.end == "delivered":
        return "answered" if probe.kind == "icmp" else "router"
    return "nothing" if found.end in ("refused", "dropped") else found.end


def taken(answer: str) -> str:
    """Whether a refusal reaches the client's program is a matter of its kernel (RFC 1122, 4.2.3.9)."""
    return "nothing" if answer in ("refused", "silence") else answer


def main() -> None:
    lab = LanLab(Path(sys.argv[1]))
    probes = [
        Probe(client, version, kind, where)
        for client in CLIENTS
        for version in (4, 6)
        for kind in KINDS
        for where in ("abroad", "exempt")
        if (kind, where) != ("dns router", "exempt")
    ]
    for name, document in POLICIES.items():
        lab.apply(document)
        policy = load_policy(lab.write(document))
        facts = survey.survey(policy, lab.state, lab.directory)
        state, around = desired(policy, facts), surroundings()
        answers = send_all(probes)
        wrong = {}
        for probe, answer in answers.items():
            where = "router" if probe.kind == "dns router" else probe.where
            target = ip_address(TARGETS[where, probe.version])
            service = SERVICES.get(probe.kind, "udp/53")
            found = way(policy, state, facts, packet(address(probe.client, probe.version), target, service), around)
            if answer == "silence" and expected(probe, found) != "nothing":
                answer = send(probe, LONG)  # a busy machine may be late
            if expected(probe, found) != taken(answer):
                said = [f"{line.place} {line.words}" for line in found.lines]
                wrong[str(probe)] = {"explained": expected(probe, found), "took": answer, "lines": said}
        ways = sorted(set(answers.values()))
        print(json.dumps({"policy": name, "packets": len(probes), "ways": ways, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main()
