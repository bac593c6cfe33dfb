"""What may leave by which port, and the proof that nothing else does.

What is allowed is written down here from the policy alone, not from the compiler's entries: it is what the two are
held against each other for. A packet is judged as it came in: any header may come from any port.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from policies.field_forms import ipv4_number
from policies.match_fields import WORDS
from policies.model import PrivacyRouter
from policies.rules import privacy_ports
from ryu_apps.flows.flow import FlowEntry, GotoTable, Match, fields
from ryu_apps.packets.cubes import EVERYTHING, Cube, CubeIndex
from ryu_apps.packets.headers import Space
from ryu_apps.verify.arriving import arriving
from ryu_apps.verify.finding import Finding, Kind, named
from ryu_apps.verify.flight import Flight
from ryu_apps.verify.tables import Bridge, Row
from topology.plan import AddressPlan, Hop

_SPEAKING = frozenset(word for word, (eth_type, _) in WORDS.items() if eth_type in (0x0800, 0x0806))


@dataclass(frozen=True)
class Sender:
    """What the policy lets one port do: send packets of ``sources`` to ``targets``."""

    network: str  # "privacy", "mesh"; "" for a port that is none of the policy's
    sources: tuple[Match, ...] = ()
    targets: frozenset[str] = frozenset()
    addresses: tuple[int, ...] = ()  # IPv4 addresses that are sources too


def senders(policy: PrivacyRouter, plan: AddressPlan) -> dict[str, Sender]:
    """By port. Ports of disabled hops, and privacy sockets that are no hop, may send nothing."""
    found = {port: Sender("privacy") for port in privacy_ports(policy)}
    found |= {hop.port: Sender("privacy", _sources(hop), neighbours(plan, hop)) for hop in plan.hops}
    sockets = frozenset(plan.mesh_ports)
    uplink = frozenset({policy.netmaker.interface} if policy.netmaker.enabled else ())
    reached = sockets | uplink
    for socket in plan.mesh:
        own = tuple(map(ipv4_number, socket.addresses))
        found[socket.port] = Sender("mesh", (), reached, own)
    mesh = (fields(ip="", nw_src=str(policy.netmaker.subnet)), fields(arp=""))
    found[policy.netmaker.interface] = Sender("mesh", mesh if uplink else (), sockets if uplink else frozenset())
    return found


def neighbours(plan: AddressPlan, hop: Hop) -> frozenset[str]:
    """The ports of the hops right before and behind this one."""
    beside = (two for two in pairwise(plan.stages) if hop in two[0] + two[1])
    return frozenset(other.port for two in beside for stage in two if hop not in stage for other in stage)


def _sources(hop: Hop) -> tuple[Match, ...]:
    own = str(hop.address.ip)
    arp = fields(arp="", arp_spa=own)
    match hop.kind:
        case "gateway":
            return arp, fields(ip="", nw_src=str(hop.clients)), fields(ip="", nw_src=own)
        case "warp":  # clients' packets one way, the whole Internet's answers the other
            return arp, fields(ip="")
        case "xray":  # answers clients in the name of whom they called
            clients = (fields(ip="", nw_dst=str(share)) for share in hop.shares)
            return arp, *clients, fields(ip="", nw_src=own)


class Sources:
    """The packets that a port may say, by the bits that they are told by."""

    def __init__(self, space: Space, sender: Sender) -> None:
        self.cubes = tuple(space.cube(source) for source in sender.sources)
        if sender.addresses:
            for word, name in (("ip", "nw_src"), ("arp", "arp_spa")):
                kind, slot = space.cube(((word, ""),)), space.slot_of(name, ())
                mask = kind.mask | slot.bits
                self.cubes += tuple(Cube(mask, kind.value | own << slot.offset) for own in sender.addresses)
        self._values: dict[int, set[int]] = {}
        for cube in self.cubes:
            self._values.setdefault(cube.mask, set()).add(cube.value)

    def hold(self, cube: Cube) -> bool:
        """Whether one of them holds the whole cube."""
        return any(not mask & ~cube.mask and cube.value & mask in values for mask, values in self._values.items())


@dataclass
class Flights:
    """Where the packets of every port get to, by table."""

    by_port: dict[int, dict[str, list[Flight]]] = field(default_factory=dict)
    _by_cube: dict[int, CubeIndex[Flight]] = field(default_factory=dict)

    def add(self, flight: Flight) -> None:
        self.by_port.setdefault(flight.table, {}).setdefault(flight.port, []).append(flight)
        self._by_cube.setdefault(flight.table, CubeIndex()).add((flight.now, flight))

    def meeting(self, table: int, cube: Cube) -> Iterator[Flight]:
        """What comes to a table and may meet a cube there."""
        if table in self._by_cube:
            yield from (flight for _, flight in self._by_cube[table].meeting(cube))


def flights(bridge: Bridge, ports: Iterable[str]) -> Flights:
    found = Flights()
    impossible = bridge.space.impossible()
    for port in ports:
        waiting = [Flight(port, 0, arriving(bridge, port), impossible)]
        while waiting:
            flight = waiting.pop()
            table = bridge.tables.get(flight.table)
            if table is None:
                continue
            found.add(flight)
            for row in table.jumping(flight.now):
                inside = flight.into(bridge, row)
                further = inside.after(bridge, row, None) if inside is not None else flight
                if further.table > flight.table:  # "backward" reports the others
                    waiting.append(further)
    return found


def backward(bridge: Bridge) -> Iterator[Finding]:
    """Entries that would send a packet back to a table it has met. A switch refuses them."""
    for number, table in bridge.tables.items():
        for row in table.jumping(EVERYTHING):
            further = next(action.table for action in row.entry.actions if isinstance(action, GotoTable))
            if further <= number:
                happens = f"{named(row.entry)} in table {number} goes to table {further}: a loop within the tables"
                yield Finding(Kind.LOOP, bridge.node, happens, bridge.space.match(row.cube), (row.entry,))


def violations(bridge: Bridge, found: Flights, allowed: Mapping[str, Sender]) -> Iterator[Finding]:
    """A finding for each entry that lets a packet leave which may not."""
    reported: set[tuple[Kind, FlowEntry]] = set()
    for number, by_port in found.by_port.items():
        outs = _outs(bridge, number)
        for port, waiting in by_port.items():
            sender = allowed.get(port, Sender(""))
            sources = Sources(bridge.space, sender)
            beyond, within = outs.split(sender.targets, port)
            for flight in waiting:
                suspects: list[tuple[str, tuple[Cube, ...]]] = [(out, ()) for out in sorted(beyond)]
                if within and not _spoken_for(bridge, flight, sources):
                    suspects += [(out, sources.cubes) for out in sorted(within)]
                for out, right in suspects:
                    for finding, entry in _sent_astray(bridge, flight, out, right, allowed):
                        if (finding.kind, entry) not in reported:
                            reported.add((finding.kind, entry))
                            yield finding


@dataclass
class _Outs:
    """The ports that a table sends to: for packets of any port, and beside those for packets of one."""

    anyone: frozenset[str]
    by_port: Mapping[str | None, Mapping[str, list[Row]]]
    _known: dict[frozenset[str], tuple[frozenset[str], frozenset[str]]]

    def split(self, targets: frozenset[str], port: str) -> tuple[frozenset[str], frozenset[str]]:
        """(ports it may not send to, ports it may) of those that packets from ``port`` can reach in this table."""
        if targets not in self._known:
            self._known[targets] = self.anyone - targets, self.anyone & targets
        beyond, within = self._known[targets]
        more = self.by_port.get(port)
        if more:
            beyond, within = beyond | (more.keys() - targets), within | (more.keys() & targets)
        return beyond - {port}, within - {port}


def _outs(bridge: Bridge, number: int) -> _Outs:
    by_port = bridge.tables[number].senders
    return _Outs(frozenset(by_port.get(None, ())), by_port, {})


def _spoken_for(bridge: Bridge, flight: Flight, sources: Sources) -> bool:
    """Whether every packet of the flight has a source that its port may have."""
    return sources.hold(flight.inside) or flight.example(bridge.budget, bridge.space, sources.cubes) is None


def _sent_astray(
    bridge: Bridge, flight: Flight, out: str, right: tuple[Cube, ...], allowed: Mapping[str, Sender]
) -> Iterator[tuple[Finding, FlowEntry]]:
    for row in bridge.tables[flight.table].sending(flight.port, out):
        inside = flight.into(bridge, row)
        example = inside.example(bridge.budget, bridge.space, right) if inside is not None else None
        if inside is not None and example is not None:
            yield _astray(bridge, inside, out, example, allowed), row.entry


def _astray(bridge: Bridge, flight: Flight, out: str, example: Match, allowed: Mapping[str, Sender]) -> Finding:
    sender, target = allowed.get(flight.port, Sender("")), allowed.get(out)
    way = " and ".join(named(entry) for entry in flight.path)
    happens = f'comes in by "{flight.port}" and leaves by "{out}" ({way})'
    next_hops = ", ".join(f'"{port}"' for port in sorted(sender.targets)) or "none"
    if not sender.network:
        kind, why = Kind.NOT_ADMITTED, "the policy does not name the first port"
    elif target is None:
        kind, why = Kind.WAY_OUT, "the policy does not name the second port"
    elif sender.network != target.network:
        kind, why = Kind.CROSSING, f"the first is a {sender.network} port, the second a {target.network} port"
    elif out not in sender.targets:
        kind, why = Kind.WAY_OUT, f"the next hop from the first port is {next_hops}"
    elif any(name in _SPEAKING for name, _ in example):
        kind, why = Kind.SPOOFING, "its source is not one of the first port's"
    else:
        kind, why = Kind.WAY_OUT, "only IPv4 and ARP may leave (chain.ipv6: drop)"
    return Finding(kind, bridge.node, f"{happens}: {why}", example, flight.path)
