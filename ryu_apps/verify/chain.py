"""The chain works: what each hop says reaches the next, its answer comes back, and nothing goes round in circles.

Between two passages through the switch a packet is in the namespace of a hop, where the hop's kernel does what
docs/architecture.md says of it: the gateway and the WARP hop hand packets on unchanged (but for Ethernet addresses and
TTL), by the port they came in by; the Xray client keeps them. See docs/verification.md for what that assumes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import pairwise, product

from policies.match_fields import FIELDS
from policies.model import PrivacyRouter
from ryu_apps.flows.flow import Match, fields
from ryu_apps.packets.cubes import Cube
from ryu_apps.packets.headers import exchanged
from ryu_apps.packets.simulate import FlowTables, Trace
from ryu_apps.verify.arriving import BROUGHT_BY_NONE, arriving, brought_by_none
from ryu_apps.verify.finding import Finding, Kind, named
from ryu_apps.verify.flight import Flight, leaving
from ryu_apps.verify.safety import neighbours
from ryu_apps.verify.tables import Bridge
from topology.plan import AddressPlan, Hop

_SWAPPED = (("nw_src", "nw_dst"), ("tp_src", "tp_dst"))
_TURNED = {name: other for pair in _SWAPPED for name, other in (pair, pair[::-1])}
_PROTOCOLS = ("tcp", "udp")
_SOMEWHERE = "198.51.100.1"
_FIRST_CLIENT = 2  # host part


@dataclass(frozen=True)
class Journey:
    """Packets that must find their way: ``said`` by ``hops[0]``, on to each of the others in turn.

    ``answer``: the way back of an answer to such a packet; empty if none is asked for.
    """

    what: str
    said: Match
    hops: tuple[Hop, ...]
    answer: tuple[Hop, ...] = ()


def journeys(plan: AddressPlan) -> Iterator[tuple[Journey, ...]]:
    """Alternatives: of each tuple one must succeed."""
    for gateway in plan.of("gateway"):
        for clients, way in _ways(plan, gateway):
            yield tuple(
                Journey("a client's packet", fields(**{protocol: ""}, nw_src=clients), way, way[::-1])
                for protocol in _PROTOCOLS
            )
    for xray, warp in product(plan.of("xray"), plan.of("warp")):
        own = str(xray.address.ip)
        yield tuple(
            Journey("Xray's own packet to its server", fields(**{protocol: ""}, nw_src=own), (xray, warp), (warp, xray))
            for protocol in _PROTOCOLS
        )
    for hop in plan.hops:
        for other in plan.hops:
            if other.port in neighbours(plan, hop):
                yield from _address_resolution(hop, other)


def _ways(plan: AddressPlan, gateway: Hop) -> Iterator[tuple[str, tuple[Hop, ...]]]:
    """The clients of a gateway by the Xray that they have, and their packets' way there."""
    before = (gateway, *plan.of("warp"))
    for xray in plan.of("xray"):
        for share in xray.shares:
            if gateway.clients and IPv4Address(share.value) in gateway.clients:
                yield str(share), (*before, xray)
    if not plan.of("xray") and len(before) > 1:
        yield str(gateway.clients), before


def _address_resolution(hop: Hop, other: Hop) -> Iterator[tuple[Journey, ...]]:
    for operation, what in (("1", "question"), ("2", "answer")):
        said = fields(arp="", arp_op=operation, arp_spa=str(hop.address.ip), arp_tpa=str(other.address.ip))
        yield (Journey(f"the ARP {what}", said, (hop, other)),)


def unreachable(bridge: Bridge, policy: PrivacyRouter, plan: AddressPlan) -> Iterator[Finding]:
    for alternatives in journeys(plan):
        if not any(_succeeds(bridge, policy, journey) for journey in alternatives):
            yield _lost(bridge, alternatives[0])


def loops(bridge: Bridge, policy: PrivacyRouter, plan: AddressPlan) -> Iterator[Finding]:
    """Clients' packets that the hop behind the gateway sends back to it: the gateway would send them there again."""
    if not plan.of("xray"):
        return  # the WARP hop itself takes them into the tunnel
    gateways = plan.of("gateway")
    for gateway, hub, back in product(gateways, plan.of("warp"), gateways):
        said = fields(ip="", nw_src=str(gateway.clients))
        for flight in _way(bridge, _start(bridge, policy, gateway, said), (gateway, hub, back)):
            example = flight.example(bridge.budget, bridge.space)
            if example is not None:
                happens = (
                    f"a client's packet to the Internet goes from {gateway.title} to {hub.title} and, sent on "
                    f"there, back to {back.title} by {named(flight.path[-1])}: it goes round in a loop"
                )
                yield Finding(Kind.LOOP, bridge.node, happens, example, flight.path)
                break


def _start(bridge: Bridge, policy: PrivacyRouter, hop: Hop, said: Match) -> Flight:
    """Packets of a hop to somewhere on the Internet."""
    space = bridge.space
    inside = space.cube(said).meet(arriving(bridge, hop.port))
    assert inside is not None
    inner = (policy.chain.subnet, *policy.client_subnets, policy.netmaker.subnet)
    outside = [space.cube(fields(ip="", nw_dst=str(subnet))) for subnet in inner]
    return Flight(hop.port, 0, inside, (*outside, *space.impossible()))


def _way(bridge: Bridge, flight: Flight, hops: tuple[Hop, ...]) -> Iterator[Flight]:
    """The packets of a flight from ``hops[0]`` that get to the last hop."""
    for arrived in leaving(bridge, flight, hops[1].port):
        if len(hops) == 2:
            yield arrived
        else:
            yield from _way(bridge, _sent_on(bridge, arrived, hops[1].port), hops[1:])


def _sent_on(bridge: Bridge, flight: Flight, port: str) -> Flight:
    """The same packets, coming in again by ``port``."""
    space = bridge.space
    in_port, ethernet = space.port(port), space.bits("dl_src", "dl_dst")
    written = flight.written.without(space.in_port.bits | ethernet | brought_by_none(space))
    written = Cube(written.mask | in_port.mask, written.value | in_port.value)
    return flight._replace(port=port, table=0, written=written, unknown=flight.unknown | ethernet)


def _succeeds(bridge: Bridge, policy: PrivacyRouter, journey: Journey) -> bool:
    for arrived in _way(bridge, _start(bridge, policy, journey.hops[0], journey.said), journey.hops):
        if arrived.example(bridge.budget, bridge.space) is None:
            continue
        if not journey.answer:
            return True
        asked = _answer(bridge, arrived, journey)
        for back in _way(bridge, asked, journey.answer):
            if back.example(bridge.budget, bridge.space) is not None:
                return True
    return False


def _answer(bridge: Bridge, arrived: Flight, journey: Journey) -> Flight:
    """The answers to the packets of a flight, said by the first hop of the way back.

    Of packets that were rewritten on their way, or changed beyond knowledge, one is taken for all: exact for that one.
    """
    space = bridge.space
    port = journey.answer[0].port
    inside, outside = arrived.inside, arrived.outside
    relevant = arrived.written.mask & ~(space.in_port.bits | brought_by_none(space))
    if relevant:
        point = arrived.example(bridge.budget, space)
        assert point is not None
        seen = space.cube(point)  # what the packet does not name is 0: closed as well
        seen = Cube((1 << space.width) - 1, seen.value)
        seen = Cube(seen.mask, seen.value & ~relevant | arrived.written.value & relevant)
        inside, outside = seen, ()
    kept = space.in_port.bits
    turned = tuple(_turned(bridge, cube.without(kept), journey.said) for cube in outside if cube.meets(inside))
    answers = _turned(bridge, inside.without(kept), journey.said)
    start = answers.meet(arriving(bridge, port))
    assert start is not None
    return Flight(port, 0, start, turned)


def _turned(bridge: Bridge, cube: Cube, said: Match) -> Cube:
    """The cube with source and destination exchanged."""
    space = bridge.space
    protocol = tuple(part for part in said if not part[1])
    mask, value = cube
    for one, other in _SWAPPED:
        first, second = (space.slot_of(name, protocol) for name in (one, other))
        mask, value = exchanged(mask, first, second), exchanged(value, first, second)
    return Cube(mask, value)


def _lost(bridge: Bridge, journey: Journey) -> Finding:
    """Where an ordinary packet of the journey is lost. There is such a place: if it got through, all would be well."""
    tables = FlowTables(row.entry for table in bridge.tables.values() for row in table.rows)
    what, packet = journey.what, _ordinary(journey.said)
    for part, hops in (("", journey.hops), ("an answer to ", journey.answer)):
        for hop, target in pairwise(hops):
            packet = {**packet, "in_port": hop.port}
            trace = tables.trace(_fields_of(packet))
            arrived = [sent for sent in trace.sent if sent.port == target.port]
            if not arrived:
                return _lost_there(bridge, trace, f"{part}{what}", hop, target)
            packet = dict(arrived[0].packet)
        packet = {_TURNED.get(name, name): text for name, text in packet.items()}
    happens = f"{what} or its answer does not get through"
    return Finding(Kind.UNREACHABLE, bridge.node, happens, journey.said)


def _lost_there(bridge: Bridge, trace: Trace, what: str, hop: Hop, target: Hop) -> Finding:
    entry = trace.last
    by = named(entry) if entry else "no entry takes it, and it"
    fate = f"sends it to {', '.join(trace.ports)}" if trace.ports else "drops it" if entry else "is dropped"
    happens = f"{what} does not get from {hop.title} ({hop.port}) to {target.title} ({target.port}): {by} {fate}"
    return Finding(Kind.UNREACHABLE, bridge.node, happens, trace.packet, (entry,) if entry else ())


def _ordinary(said: Match) -> dict[str, str]:
    """One packet of those that are said: of several clients the first, and the gateway is before them."""
    one = {"nw_dst": _SOMEWHERE, "tp_src": "40000", "tp_dst": "443"}
    for name, text in said:
        if name == "nw_src":
            value, mask = FIELDS[name].parse(text)
            text = str(IPv4Address(value | _FIRST_CLIENT & ~mask))
        one[name] = text
    return one


def _fields_of(packet: dict[str, str]) -> dict[str, str]:
    """The packet as it comes in, without what its protocol does not have."""
    not_there = {"nw_src", "nw_dst", "tp_src", "tp_dst"} if "arp" in packet else set()
    return {name: text for name, text in packet.items() if name not in not_there | BROUGHT_BY_NONE}
