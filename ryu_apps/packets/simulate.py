"""What a switch would do with one packet: the flow tables of OpenFlow 1.3 as Open vSwitch runs them.

``simulate(entries, packet)`` says which entry takes the packet in each table, what is done to it, and by which ports
it leaves. It runs on what a policy wants as well as on what a switch holds; a differential test holds it to
``ovs-appctl ofproto/trace``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policies.field_forms import Address, Mac
from policies.match import MatchError, normalise
from policies.match_fields import FIELDS
from policies.words import first_of
from ryu_apps.flows.flow import DecTtl, FlowEntry, Foreign, GotoTable, Match, Output, PushVlan, SetField, StripVlan
from ryu_apps.openflow.oxm_fields import BY_NAME
from ryu_apps.packets.cubes import Cube
from ryu_apps.packets.headers import Space
from ryu_apps.packets.lookup import Lookup

Packet = Mapping[str, str | int]
"""The packet's fields by their ovs-fields(7) names, in_port by its name. What is left out is 0."""

_IP = (0x0800, 0x86DD)


@dataclass(frozen=True)
class Step:
    """One table that the packet met."""

    table: int
    packet: Match  # as it came to the table
    entry: FlowEntry | None  # what took it; None: the table has nothing for it, which drops


@dataclass(frozen=True)
class Sent:
    port: str
    packet: Match  # as it left


@dataclass(frozen=True)
class Trace:
    """The way of one packet through the tables of one bridge. Nothing sent means dropped."""

    packet: Match
    steps: tuple[Step, ...]
    sent: tuple[Sent, ...]

    @property
    def ports(self) -> tuple[str, ...]:
        return tuple(sent.port for sent in self.sent)

    @property
    def last(self) -> FlowEntry | None:
        """The entry that decided; None if a table had none."""
        return self.steps[-1].entry


def simulate(entries: Iterable[FlowEntry], packet: Packet | str) -> Trace:
    """Raises ``policies.match.MatchError`` for a packet that cannot be."""
    return FlowTables(entries).trace(packet)


def read_packet(packet: Packet | str) -> Match:
    """A packet in canonical fields; its protocols are added where a field needs them (tcp_dst: tcp over IPv4).

    Takes ovs-ofctl text too: "in_port=warp0,ip,nw_dst=192.0.2.1". Raises MatchError, for masks as well: a packet has
    values, not ranges.
    """
    given = packet if isinstance(packet, str) else {name: _text(name, value) for name, value in packet.items()}
    match = normalise(given)
    for name, text in match:
        if _is_range(name, text):
            raise MatchError([(name, f"{name}={text} is a range: a packet has one value")])
    if "in_port" not in dict(match):
        raise MatchError([("", "in_port is missing: name the port that the packet comes in by")])
    return match


def _is_range(name: str, text: str) -> bool:
    form = FIELDS.get(name)
    return form is not None and form.parse(text)[1] != (1 << form.bits) - 1


def _text(name: str, value: str | int) -> str:
    if isinstance(value, str):
        return value
    form = FIELDS.get(name)
    return form.text(value, (1 << form.bits) - 1) if isinstance(form, Address | Mac) else str(value)


def stranger(packet: Match, entries: Iterable[FlowEntry]) -> str | None:
    """For whoever has mistyped the port that the packet comes in by: that no entry knows it, and which they know."""
    port, known = dict(packet)["in_port"], {entry.in_port for entry in entries if entry.in_port}
    if port in known:
        return None
    return f"the policy has no port {port}; it has {first_of(sorted(known))}"


class FlowTables:
    """Flow entries, ready to be asked about packets. Where two of one priority both match, the first given wins."""

    def __init__(self, entries: Iterable[FlowEntry], space: Space | None = None) -> None:
        self.space = space or Space()
        tables: dict[int, list[tuple[int, Cube, FlowEntry]]] = {}
        for entry in entries:
            tables.setdefault(entry.table, []).append((entry.priority, self.space.cube(entry.match), entry))
        self._tables = {number: Lookup(things) for number, things in tables.items()}

    def table(self, number: int) -> Lookup[FlowEntry]:
        return self._tables.get(number) or Lookup()

    def trace(self, packet: Packet | str) -> Trace:
        match = read_packet(packet)
        cube = self.space.cube(match)
        walk = self.walk(dict(match)["in_port"], cube.value, cube.mask)
        steps = tuple(Step(number, self.space.match(passing), entry) for number, passing, entry in walk.steps)
        return Trace(match, steps, tuple(Sent(port, self.space.match(left)) for port, left in walk.sent))

    def walk(self, in_port: str, header: int, said: int = 0) -> Walk:
        """The way of one packet, in bits of the space. ``said``: those that its description names."""
        walk = Walk(self.space, in_port, header, said)
        table: int | None = 0
        while table is not None:
            found = self._tables.get(table)
            entry = found.find(walk.header) if found else None
            walk.steps.append((table, walk.now, entry))
            table = walk.act(entry) if entry else None
        return walk


class Walk:
    """A packet on its way: what it carries now, what it met, and where copies of it were sent.

    A packet is kept as the bits that its description names or that were written into it, and their values.
    """

    def __init__(self, space: Space, in_port: str, header: int, said: int) -> None:
        self.header = header
        self.steps: list[tuple[int, Cube, FlowEntry | None]] = []
        self.sent: list[tuple[str, Cube]] = []
        self._space = space
        self._in_port = in_port
        self._said = said
        self._inner_tags: list[int] = []

    @property
    def now(self) -> Cube:
        return Cube(self._said, self.header & self._said)

    def act(self, entry: FlowEntry) -> int | None:
        """The table to go to, None if the packet goes no further."""
        for action in entry.actions:
            match action:
                case Output(port):
                    if port != self._in_port:  # Open vSwitch never sends a packet back by the port it came from
                        self.sent.append((port, self.now))
                case SetField(name, text):
                    self._put(self._space.field(name, text, entry.match))
                case DecTtl():
                    if not self._decrement():
                        return None
                case PushVlan():
                    tag = self._space.bits("vlan_vid", "vlan_pcp")
                    self._inner_tags.append(self.header & tag)
                    self._put(Cube(tag, self._space.field("vlan_vid", "0", ()).value))
                case StripVlan():
                    inner = self._inner_tags.pop() if self._inner_tags else 0
                    self._put(Cube(self._space.bits("vlan_vid", "vlan_pcp"), inner))
                case GotoTable(table):
                    return table
                case Foreign():  # nobody here knows what it does
                    pass
        return None

    def _put(self, cube: Cube) -> None:
        self.header = self.header & ~cube.mask | cube.value
        self._said |= cube.mask

    def _decrement(self) -> bool:
        """Whether the packet lives on."""
        slot, eth_type = self._space.slot(BY_NAME["nw_ttl"].key), self._space.slot(BY_NAME["dl_type"].key)
        if self.header >> eth_type.offset & 0xFFFF not in _IP:
            return True
        ttl = self.header >> slot.offset & 0xFF
        if ttl <= 1:
            return False
        self._put(Cube(slot.bits, ttl - 1 << slot.offset))
        return True
