"""What ``status`` says, as plain values: the same for people (tables) and for programs (JSON)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from host_agent.drivers import daemon, wireguard
from host_agent.drivers.namespaces import Namespaces
from host_agent.plan import plan
from host_agent.run import health
from host_agent.run.health import TunnelRow
from host_agent.state import NODE, HostState, NamespaceState
from host_agent.status import node as report_node
from host_agent.status.node import ItemRow, KernelRow
from host_agent.steps import ChangeBridge, RemoveBridge, RemovePorts, Replug, at
from topology.plan import AddressPlan

AboutSwitch = ChangeBridge | RemoveBridge | RemovePorts | Replug
FOR_CONTAINER = re.compile(r"(\S+) waits for container (\d+)")


@dataclass(frozen=True)
class PlaceRow:
    role: str
    place: str
    objects: int  # wanted here
    differences: int


@dataclass(frozen=True)
class DaemonRow:
    name: str
    pid: int
    namespace: str
    log: str


@dataclass(frozen=True)
class PeerRow:
    device: str
    namespace: str
    public_key: str
    endpoint: str | None
    handshake_age: int | None  # seconds; None: never
    received: int  # bytes
    sent: int


@dataclass(frozen=True)
class Status:
    in_sync: bool
    places: tuple[PlaceRow, ...]
    daemons: tuple[DaemonRow, ...]
    peers: tuple[PeerRow, ...]
    waiting: tuple[str, ...]
    strangers: tuple[str, ...]
    differences: tuple[str, ...]
    items: tuple[ItemRow, ...] = ()
    kernel: tuple[KernelRow, ...] = ()
    tunnels: tuple[TunnelRow, ...] = ()  # as ``run`` judges them; none without it

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def status(
    wanted: HostState, found: HostState, addresses: AddressPlan | None, namespaces: Namespaces, state_dir: Path
) -> Status:
    steps = plan(wanted, found)
    strangers = tuple(sorted(map(str, found.strangers)))
    titles = {NODE: "director", **{hop.namespace: hop.title for hop in (addresses.hops if addresses else ())}}
    places = [
        PlaceRow("bridge", bridge.name, 1 + len(bridge.ports), sum(isinstance(step, AboutSwitch) for step in steps))
        for bridge in wanted.bridges
    ]
    for name, state in wanted.namespaces.items():
        differences = sum(getattr(step, "namespace", None) == name for step in steps)
        places.append(PlaceRow(titles.get(name, "mesh container"), at(name), _count(state), differences))
    with namespaces.inside(NODE):
        rules = [rule for family in report_node.families(wanted) for rule in report_node.counters(family)]
    return Status(
        not steps and not strangers,
        tuple(places),
        _daemons(found, namespaces, state_dir),
        _peers(found, namespaces),
        wanted.waiting,
        strangers,
        tuple(map(str, steps)),
        report_node.items(rules),
        report_node.kernel(wanted, found, rules) if rules else (),
        health.rows(state_dir),
    )


def in_words(waiting: Iterable[str]) -> list[str]:
    """What ``HostState.waiting`` holds: what waits for something, is degraded, or should be known.

    A line each, but one for all ports that wait for their containers.
    """
    said = list(waiting)
    ports = [found.groups() for found in map(FOR_CONTAINER.fullmatch, said) if found]
    if len(ports) > 1:
        names, numbers = (", ".join(words) for words in zip(*ports, strict=True))
        others = [it for it in said if not FOR_CONTAINER.fullmatch(it)]
        said = [f"{names} wait for containers {numbers}", *others]
    return [it if it.startswith(("degraded: ", "note: ")) else f"waiting: {it}" for it in said]


def _count(state: NamespaceState) -> int:
    return sum(len(getattr(state, field.name)) for field in fields(state) if field.name != "created")


def _daemons(found: HostState, namespaces: Namespaces, state_dir: Path) -> tuple[DaemonRow, ...]:
    inodes = {namespaces.inode(name): name for name in [*found.namespaces, NODE]}
    return tuple(
        DaemonRow(
            process.name,
            process.pid,
            at(inodes.get(process.namespace_inode, "?")),
            str(state_dir / "log" / f"{process.name}.log"),
        )
        for process in daemon.processes()
    )


def _peers(found: HostState, namespaces: Namespaces) -> tuple[PeerRow, ...]:
    now = int(time.time())
    rows = []
    for name, state in sorted(found.namespaces.items()):
        for device in sorted(state.wireguard, key=lambda device: device.name):
            reading = wireguard.read(namespaces, device.name, name)
            for peer in reading.traffic if reading else ():
                age = now - peer.handshake if peer.handshake else None
                rows.append(
                    PeerRow(device.name, at(name), peer.public_key, peer.endpoint, age, peer.received, peer.sent)
                )
    return tuple(rows)
