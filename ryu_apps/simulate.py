"""What a switch would do with one packet: the flow tables of OpenFlow 1.3 as Open vSwitch runs them.

``simulate(entries, packet)`` says which entry takes the packet in each table, what is done to it, and by which ports
it leaves. It runs on what a policy wants as well as on what a switch holds; a differential test holds it to
``ovs-appctl ofproto/trace``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policies.match import MatchError, normalise
from policies.match_fields import FIELDS
from ryu_apps.cubes import Cube
from ryu_apps.flow import DecTtl, FlowEntry, GotoTable, Match, Output, PushVlan, SetField, StripVlan
from ryu_apps.headers import Space
from ryu_apps.oxm_fields import BY_NAME

Packet = Mapping[str, str | int]
"""The packet's fields by their ovs-fields(7) names, in_port by its name. What is left out is 0."""

_VLAN_PRESENT = 0x1000
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
        raise MatchError([("in_port", "in_port is missing: name the port that the packet comes in by")])
    return match


def _is_range(name: str, text: str) -> bool:
    form = FIELDS.get(name)
    return form is not None and form.parse(text)[1] != (1 << form.bits) - 1


def _text(name: str, value: str | int) -> str:
    if isinstance(value, str):
        return value
    form = FIELDS.get(name)
    return form.text(value, (1 << form.bits) - 1) if form else str(value)


@dataclass(frozen=True)
class _Shape:
    """The entries of one table and priority that fix the same bits."""

    priority: int
    mask: int
    entries: dict[int, FlowEntry]


class FlowTables:
    """Flow entries, ready to be asked about packets. Where two of one priority both match, the first given wins."""

    def __init__(self, entries: Iterable[FlowEntry], space: Space | None = None) -> None:
        self.space = space or Space()
        shapes: dict[tuple[int, int, int], dict[int, FlowEntry]] = {}
        for entry in entries:
            cube = self.space.cube(entry.match)
            shapes.setdefault((entry.table, entry.priority, cube.mask), {}).setdefault(cube.value, entry)
        self._tables: dict[int, list[_Shape]] = {}
        for table, priority, mask in sorted(shapes, key=lambda shape: -shape[1]):
            self._tables.setdefault(table, []).append(_Shape(priority, mask, shapes[table, priority, mask]))

    def trace(self, packet: Packet | str) -> Trace:
        match = read_packet(packet)
        in_port = dict(match)["in_port"]
        walk = _Walk(self.space, in_port, self.space.cube(match).value, self.space.cube(match).mask)
        steps: list[Step] = []
        table: int | None = 0
        while table is not None:
            entry = self._lookup(table, walk.header)
            steps.append(Step(table, walk.match(), entry))
            table = walk.act(entry) if entry else None
        return Trace(match, tuple(steps), tuple(walk.sent))

    def _lookup(self, table: int, header: int) -> FlowEntry | None:
        found: FlowEntry | None = None
        for shape in self._tables.get(table, ()):
            if found is not None and shape.priority < found.priority:
                break
            found = found or shape.entries.get(header & shape.mask)
        return found


class _Walk:
    """A packet on its way: what it carries now, and where copies of it were sent."""

    def __init__(self, space: Space, in_port: str, header: int, said: int) -> None:
        self.space = space
        self.in_port = in_port
        self.header = header
        self.sent: list[Sent] = []
        self._said = said  # the bits that the packet's description names
        self._inner_tags: list[int] = []

    def match(self) -> Match:
        return self.space.match(Cube(self._said, self.header & self._said))

    def act(self, entry: FlowEntry) -> int | None:
        """The table to go to, None if the packet goes no further."""
        for action in entry.actions:
            match action:
                case Output(port):
                    if port != self.in_port:  # Open vSwitch never sends a packet back by the port it came from
                        self.sent.append(Sent(port, self.match()))
                case SetField(name, text):
                    self._put(self.space.field(name, text, entry.match))
                case DecTtl():
                    if not self._decrement():
                        return None
                case PushVlan():
                    tag = self.space.bits("vlan_vid", "vlan_pcp")
                    self._inner_tags.append(self.header & tag)
                    self._put(Cube(tag, self.space.field("vlan_vid", "0", ()).value))
                case StripVlan():
                    inner = self._inner_tags.pop() if self._inner_tags else 0
                    self._put(Cube(self.space.bits("vlan_vid", "vlan_pcp"), inner))
                case GotoTable(table):
                    return table
        return None

    def _put(self, cube: Cube) -> None:
        self.header = self.header & ~cube.mask | cube.value
        self._said |= cube.mask

    def _decrement(self) -> bool:
        """Whether the packet lives on."""
        slot, eth_type = self.space.slot(BY_NAME["nw_ttl"].key), self.space.slot(BY_NAME["dl_type"].key)
        if self.header >> eth_type.offset & 0xFFFF not in _IP:
            return True
        ttl = self.header >> slot.offset & 0xFF
        if ttl <= 1:
            return False
        self._put(Cube(slot.bits, ttl - 1 << slot.offset))
        return True
