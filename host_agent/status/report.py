"""What ``status`` says, as plain values: the same for people (tables) and for programs (JSON)."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from host_agent.confirm import file as confirm_file
from host_agent.doctor.checks import in_the_way
from host_agent.doctor.others import others
from host_agent.drivers import daemon, wireguard
from host_agent.drivers.namespaces import Namespaces
from host_agent.plan import plan
from host_agent.run import health
from host_agent.run.health import TunnelRow
from host_agent.state import DEGRADED, NODE, NOTE, HostState, NamespaceState, log_path
from host_agent.status import node as report_node
from host_agent.status.node import Counted, ItemRow, KernelRow
from host_agent.steps import ChangeBridge, RemoveBridge, RemovePorts, Replug, Step, at
from topology.plan import AddressPlan

AboutSwitch = ChangeBridge | RemoveBridge | RemovePorts | Replug
SWITCH = " switch"  # no namespace has such a name
FOR_CONTAINER = re.compile(r"(\S+) waits for container (\d+)")


@dataclass(frozen=True)
class PlaceRow:
    role: str
    place: str
    objects: int  # wanted here, programs too
    steps: int  # that are missing to it


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
    unconfirmed: str | None = None  # the change that waits for the operator's word
    in_force: bool = True  # anything of ours at all
    undone: bool = False  # this policy was applied, and nobody confirmed it

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def status(
    wanted: HostState, found: HostState, addresses: AddressPlan | None, namespaces: Namespaces, state_dir: Path
) -> Status:
    steps = plan(wanted, found)
    strangers = (*sorted(map(str, found.strangers)), *in_the_way(others(wanted, namespaces), wanted))
    rules = dict(_rules(wanted, namespaces))
    return Status(
        not steps and not strangers,
        tuple(_places(wanted, steps, addresses)),
        _daemons(found, namespaces, state_dir),
        _peers(found, namespaces),
        wanted.waiting,
        strangers,
        tuple(map(str, steps)),
        report_node.items(rules.get(NODE, [])),
        tuple(
            row
            for name, here in rules.items()
            for row in report_node.kernel(wanted.namespace(name), found.namespace(name), here, name)
        ),
        health.rows(state_dir),
        confirm_file.words(state_dir),
        _in_force(found),
    )


def _rules(wanted: HostState, namespaces: Namespaces) -> Iterator[tuple[str, list[Counted]]]:
    """Of the places that there are with chains of ours: all rules with their counters; the node first."""
    for name, state in sorted(wanted.namespaces.items()):
        if state.chains and namespaces.exists(name):
            with namespaces.inside(name):
                found = [rule for family in report_node.families(state) for rule in report_node.counters(family)]
            if found:
                yield name, found


def _places(wanted: HostState, steps: Iterable[Step], addresses: AddressPlan | None) -> Iterator[PlaceRow]:
    """Each step is counted in one row."""
    about = Counter(SWITCH if isinstance(it, AboutSwitch) else it.place for it in steps)
    for bridge in wanted.bridges:
        yield PlaceRow("bridge", bridge.name, 1 + len(bridge.ports), about.pop(SWITCH, 0))
    titles = {NODE: "director", **{hop.namespace: hop.title for hop in (addresses.hops if addresses else ())}}
    programs = Counter(daemon.namespace for daemon in wanted.daemons)
    for name, state in wanted.namespaces.items():
        objects = _count(state) + programs[name]
        yield PlaceRow(titles.get(name, "mesh container"), at(name), objects, about.pop(name, 0))
    if wanted.files or about[None]:
        yield PlaceRow("files", "-", len(wanted.files), about[None])
    del about[None]
    for place, count in sorted((str(place), count) for place, count in about.items()):
        yield PlaceRow("not in the policy", "switch" if place == SWITCH else at(place), 0, count)


def _in_force(found: HostState) -> bool:
    """Whether there is anything of ours but files, which ``stop`` leaves."""
    states = (replace(state, sysctls=frozenset(), chains=frozenset()) for state in found.namespaces.values())
    chains = (chain for state in found.namespaces.values() for chain in state.chains)
    of_ours = any(rule.digest for chain in chains for rule in chain.rules)
    return bool(found.bridges or found.daemons) or of_ours or any(state != NamespaceState() for state in states)


def in_sync(waiting: Iterable[str], in_the_way: Sequence[str]) -> str:
    """That all is in place, and whether the policy can do what it says all the same."""
    degraded = any(it.startswith(DEGRADED) for it in waiting)
    return f"in sync{', degraded' if degraded else ''}{', but something is in the way' if in_the_way else ''}"


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
    return [it if it.startswith((DEGRADED, NOTE)) else f"waiting: {it}" for it in said]


def _count(state: NamespaceState) -> int:
    return sum(len(getattr(state, field.name)) for field in fields(state) if field.name != "created")


def _daemons(found: HostState, namespaces: Namespaces, state_dir: Path) -> tuple[DaemonRow, ...]:
    inodes = {namespaces.inode(name): name for name in [*found.namespaces, NODE]}
    return tuple(
        DaemonRow(
            process.name,
            process.pid,
            at(inodes.get(process.namespace_inode, "?")),
            str(log_path(state_dir, process.name)),
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
