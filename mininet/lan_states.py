"""The leak suite: every state of the packet policy's table, both families, every kind of packet, real packets.

The first process of a sandbox. Reports a JSON object per state on its standard output.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import lan_router
from lan_expected import (
    Answers,
    all_free,
    base,
    cut_off,
    dead,
    free,
    no_exemption,
    of_client,
    with_queries,
    without_quic,
)
from lan_lab import BASE, MANAGED, Document, LanLab, changed, leaks, uplink
from lan_probes import LONG, Probe, send_all
from lan_router import ip
from lan_servers import proxy_down

from policies.errors import DocumentError


@dataclass(frozen=True)
class State:
    name: str
    expected: Answers
    document: Document | None = field(default_factory=lambda: BASE)
    damage: Callable[[LanLab], AbstractContextManager[None]] = lambda lab: nullcontext()
    apply_after: bool = False  # the agent sees the damage, and applies the policy again
    clients: tuple[str, ...] = MANAGED  # who must not be seen on the uplink


@contextmanager
def link_down(name: str) -> Iterator[None]:
    ip("link", "set", lan_router.EXITS[name][0], "down")
    try:
        yield
    finally:
        lan_router.raise_link(name)


@contextmanager
def link_deleted(name: str) -> Iterator[None]:
    ip("link", "del", lan_router.EXITS[name][0])
    try:
        yield
    finally:
        lan_router.connect(name)


@contextmanager
def table_empty() -> Iterator[None]:
    ip("route", "del", "default", "via", "10.83.0.2", "table", "ovpnc3")
    ip("-6", "route", "del", "default", "via", "fd83::2", "table", "ovpnc3")
    try:
        yield
    finally:
        lan_router.raise_link("vpn2")


@contextmanager
def zones_gone(lab: LanLab) -> Iterator[None]:
    hidden = lab.directory / "hidden"
    (lab.directory / "zones").rename(hidden)
    for copy in (lab.state / "countries").glob("*"):
        copy.unlink()
    try:
        yield
    finally:
        hidden.rename(lab.directory / "zones")


@contextmanager
def invalid_document(lab: LanLab) -> Iterator[None]:
    try:
        lab.apply(changed(BASE, xray__clients=["everybody"]))
    except DocumentError:
        yield


W1 = "tunnel_director__tunnels__wgc1__"
STATES = (
    State("normal", base()),
    State("applied again", base(), apply_after=True),
    State("the interface of a tunnel is down", base() | dead("lan20"), damage=lambda lab: link_down("vpn1")),
    State(
        "the interface of a tunnel is down, and the agent has seen it",
        base() | dead("lan20"),
        damage=lambda lab: link_down("vpn1"),
        apply_after=True,
    ),
    State("the interface of a tunnel is gone", base() | dead("lan20"), damage=lambda lab: link_deleted("vpn1")),
    State(
        "the interface of a tunnel is gone, and the agent has seen it",
        base() | dead("lan20"),
        damage=lambda lab: link_deleted("vpn1"),
        apply_after=True,
    ),
    State("the table of a tunnel is empty", base() | dead("lan30"), damage=lambda lab: table_empty()),
    State(
        "the interface of a table's tunnel is gone",
        base() | dead("lan30"),
        damage=lambda lab: link_deleted("vpn2"),
        apply_after=True,
    ),
    State(
        "Xray does not listen",
        base()
        | {
            key: "silence"
            for v in (4, 6)
            for key, value in of_client("lan10", v, "xray", "refused", "xray").items()
            if value == "xray"
        },
        damage=lambda lab: proxy_down(lab.servers),
    ),
    State("an invalid document is applied", base(), damage=invalid_document),
    State("the excluded country is unknown", no_exemption(), damage=zones_gone, apply_after=True),
    State(
        "ipv6: block",
        base()
        | cut_off("lan10", 6)
        | cut_off("lan20", 6)
        | {("lan10", 6, kind, "exempt"): "refused" for kind in ("tcp", "udp", "quic", "dns", "dns tcp", "icmp")},
        document=changed(BASE, **{"xray__ipv6": "block", f"{W1}ipv6": "block"}),
    ),
    State(
        "ipv6: bypass",
        base() | free("lan20", 6),
        document=changed(BASE, **{f"{W1}ipv6": "bypass"}),
        clients=("lan10", "lan30"),
    ),
    State(
        "dns: tunnel",
        with_queries("xray", "refused", "vpn1", "refused"),
        document=changed(BASE, **{"xray__dns": "tunnel", f"{W1}dns": "tunnel"}),
    ),
    State(
        "dns: bypass",
        with_queries("wan", "router", "wan", "router"),
        document=changed(BASE, **{"xray__dns": "bypass", f"{W1}dns": "bypass"}),
        clients=("lan30",),
    ),
    State("quic: reject", without_quic(), document=changed(BASE, **{"xray__quic": "reject", f"{W1}quic": "reject"})),
    State(
        "failover",
        base()
        | {key: value for v in (4, 6) for key, value in of_client("lan20", v, "vpn2", "answered", "vpn2").items()},
        document=changed(BASE, **{f"{W1}failover": ["ovpnc3"]}),
        damage=lambda lab: link_down("vpn1"),
        apply_after=True,
    ),
    State(
        "kill_switch: off, and the tunnel is gone",
        base() | free("lan20", 4) | free("lan20", 6),
        document=changed(BASE, **{f"{W1}kill_switch": "off", f"{W1}dns": "bypass"}),
        damage=lambda lab: link_deleted("vpn1"),
        apply_after=True,
        clients=("lan10", "lan30"),
    ),
    State(
        "a client in both: Xray wins, its ICMP goes by the tunnel",
        base() | {("lan10", v, "icmp", "abroad"): "answered" for v in (4, 6)},
        document=changed(
            BASE, **{f"{W1}clients": [lan_router.address(c, v) for c in ("lan20", "lan10") for v in (4, 6)]}
        ),
    ),
    State(
        "an exemption (main)",
        base() | free("lan30", 4) | free("lan30", 6),
        document=changed(
            BASE,
            tunnel_director__tunnels={
                "main": {"clients": [lan_router.address("lan30", v) for v in (4, 6)]},
                "wgc1": BASE["tunnel_director"]["tunnels"]["wgc1"],
            },
        ),
        clients=("lan10", "lan20"),
    ),
    State(
        "clients by MAC address",
        base(),
        document=changed(BASE, xray__clients=["02:00:00:00:50:0a"], **{f"{W1}clients": ["02:00:00:00:50:14"]}),
    ),
    State(
        "a client is paused",
        base() | free("lan20", 4) | free("lan20", 6),
        document=changed(BASE, paused_clients=[lan_router.address("lan20", v) for v in (4, 6)]),
        clients=("lan10", "lan30"),
    ),
    State("the agent was told to stop", all_free(), document=None, clients=()),
)


def probes() -> list[Probe]:
    return [Probe(client, version, kind, where) for client, version, kind, where in all_free()]


def judge(name: str, expected: Answers, clients: tuple[str, ...]) -> None:
    awaited = {probe: expected[probe.client, probe.version, probe.kind, probe.where] for probe in probes()}
    with uplink() as seen:
        answers = send_all(list(awaited))
        # A busy machine may be late: what should have been answered is asked again.
        silent = [probe for probe, answer in answers.items() if answer == "silence"]
        answers |= send_all([probe for probe in silent if awaited[probe] not in ("silence", "refused")], LONG)
    wrong = {}
    for probe, answer in answers.items():
        right = awaited[probe]
        if answer != right and {answer, right} != {"silence", "refused"}:  # the kernel limits how often it refuses
            wrong[str(probe)] = f"{answer}, expected {right}"
    found = {str(it): count for it, count in leaks(seen, clients).items()}
    if "wan" not in expected.values() or seen.dropped:
        wrong["capture"] = f"{seen.dropped} packets were not handed over"
    visible = sorted({it.source for it in seen.packets})
    print(
        json.dumps({"state": name, "probes": len(answers), "wrong": wrong, "leaks": found, "visible": visible}),
        flush=True,
    )


def main() -> None:
    lab = LanLab(Path(sys.argv[1]))
    send_all(probes())  # neighbours get to know each other
    judge("positive control: no policy, everything is seen on the uplink", all_free(), ())
    for state in STATES:
        if state.document is None:
            lab.stop()
        else:
            lab.apply(state.document)
        with state.damage(lab):
            if state.apply_after and state.document is not None:
                lab.apply(state.document)
            judge(state.name, state.expected, state.clients)
    sys.stdout.flush()
    os._exit(0)  # the servers' thread has no end


if __name__ == "__main__":
    main()
