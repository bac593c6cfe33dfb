"""The ways of the mesh's packets: through the switch of one node, over the mesh, through that of another.

Packets are bits of one space that all nodes share. Between two nodes they travel without Ethernet: what is in the IP
header and behind it is all that arrives, and the destination alone says where (docs/verification.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from policies.field_forms import ipv4_number
from policies.functions import Function
from policies.placement import NodeView
from ryu_apps.flows.flow import MESH, FlowEntry, fields
from ryu_apps.packets.cubes import Cube
from ryu_apps.packets.headers import Slot, Space, exchanged
from ryu_apps.packets.simulate import FlowTables
from ryu_apps.verify.arriving import brought_by_none

_TRANSPORTS = ("tcp", "udp", "sctp")
_SYN_ACK = 0x12
_TCP, _ICMP, _ECHO_REQUEST = 6, 1, 8


class Caller(NamedTuple):
    """A container's socket and an address that is its own alone.

    ``says``: the IPv4 packets that it sends by it; ``answered_at``: the priority of what takes the packets to it.
    """

    port: str
    address: int
    says: Cube
    answered_at: int


class Leg(NamedTuple):
    """One passage through a switch: how the packet came in, what took it, and what left."""

    node: str
    in_port: str
    header: int
    entries: tuple[FlowEntry, ...]
    sent: tuple[tuple[str, int], ...]

    @property
    def out(self) -> str | None:
        """The one port that it leaves by."""
        return self.sent[0][0] if len(self.sent) == 1 else None


class Mesh:
    """The switches of all nodes, and what is between them."""

    def __init__(self, nodes: Mapping[str, Iterable[FlowEntry]], views: Mapping[str, NodeView]) -> None:
        self.space = space = Space()
        self.views = views
        self.tables = {name: FlowTables(entries, space) for name, entries in nodes.items()}
        self._source, self._destination = self._slot("nw_src", "ip"), self._slot("nw_dst", "ip")
        self._protocol, self._flags = self._slot("nw_proto", "ip"), self._slot("tcp_flags", "tcp")
        ports = [(self._slot("tp_src", word), self._slot("tp_dst", word)) for word in _TRANSPORTS]
        self._swapped = [(self._source, self._destination), *ports]
        self._icmp = self._slot("icmp_type", "icmp")
        kept = ("dl_type", "nw_src", "nw_dst", "nw_proto", "nw_tos", "nw_ecn", "nw_ttl", "ip_frag", "tcp_flags")
        self.carried = space.bits(*kept) | self._icmp.bits | self._slot("icmp_code", "icmp").bits
        for one, other in self._swapped:
            self.carried |= one.bits | other.bits
        self._resolving = [self._slot(name, "arp").offset for name in ("arp_op", "arp_spa", "arp_tpa")]
        self._arp_alone = space.cube(fields(arp="")).value
        called = next(iter(views.values())).functions
        shared = {it.address for it in called if it.address is not None and len(it.targets) > 1}
        self.callers = {name: tuple(self._callers(view, shared)) for name, view in views.items()}
        self._homes = {caller.address: name for name, callers in self.callers.items() for caller in callers}

    def uplink(self, node: str) -> str | None:
        """The port that leads to the other nodes."""
        netmaker = self.views[node].policy.netmaker
        return netmaker.interface if netmaker.enabled else None

    def home(self, address: int) -> str | None:
        """The node that the mesh carries an address to."""
        return self._homes.get(address)

    def destination(self, header: int) -> int:
        return _read(header, self._destination)

    def source(self, header: int) -> int:
        return _read(header, self._source)

    def way(self, node: str, in_port: str, header: int) -> tuple[Leg, ...]:
        """From a socket of a node to where the packet stays. The mesh carries it once: what came by it goes no further,
        for Open vSwitch never sends a packet back by the port that it came in by."""
        first = self._passage(node, in_port, header)
        home = self.home(self.destination(first.sent[0][1])) if first.out == self.uplink(node) and first.sent else None
        if home is None or home == node:
            return (first,)
        port = self.uplink(home) or ""
        return first, self._passage(home, port, first.sent[0][1] & self.carried | self.space.port(port).value)

    def to(self, address: int) -> Cube:
        """The IPv4 packets with this destination."""
        return self.readdressed(self.space.cube(fields(ip="")), address)

    def readdressed(self, cube: Cube, address: int) -> Cube:
        """The same packets to another destination."""
        kept = cube.without(self._destination.bits)
        return Cube(kept.mask | self._destination.bits, kept.value | address << self._destination.offset)

    def answer(self, header: int, port: str) -> int:
        """The answer to a packet, said by a port: source and destination exchanged."""
        answer = header & self.carried
        for one, other in self._swapped:
            answer = exchanged(answer, one, other)
        protocol = _read(header, self._protocol)
        if protocol == _TCP:
            answer = answer & ~self._flags.bits | _SYN_ACK << self._flags.offset
        elif protocol == _ICMP and _read(header, self._icmp) == _ECHO_REQUEST:
            answer &= ~self._icmp.bits
        return answer | self.space.port(port).value

    def resolution(self, leg: Leg) -> Iterator[tuple[Leg, str]]:
        """(what becomes of it, where it is to leave) of the ARP question that goes before a packet, and of its answer.

        The node itself asks and answers at its uplink: it has a proxy there (``host_agent.roles.mesh``).
        """
        own = self.views[leg.node].policy.netmaker.mesh_address
        asker = self.source(leg.header) if leg.in_port != self.uplink(leg.node) else int(own) if own else None
        asked = self.destination(leg.header)
        if asker is not None and leg.out is not None:
            yield self._passage(leg.node, leg.in_port, self._arp(leg.in_port, 1, asker, asked)), leg.out
            yield self._passage(leg.node, leg.out, self._arp(leg.out, 2, asked, asker)), leg.in_port

    def _arp(self, port: str, *values: int) -> int:
        """A packet with this operation, source and target."""
        header = self.space.port(port).value | self._arp_alone
        for value, offset in zip(values, self._resolving, strict=True):
            header |= value << offset
        return header

    def _passage(self, node: str, in_port: str, header: int) -> Leg:
        walk = self.tables[node].walk(in_port, header, -1)
        met = tuple(entry for _, _, entry in walk.steps if entry is not None)
        return Leg(node, in_port, header, met, tuple((port, left.value) for port, left in walk.sent))

    def _callers(self, view: NodeView, shared: set[str]) -> Iterator[Caller]:
        table = self.tables[view.name].table(MESH)
        uplink = self.space.port(view.policy.netmaker.interface).value
        for socket in view.plan.mesh:
            for address in socket.addresses:
                if address not in shared:
                    said = self.space.cube(fields(in_port=socket.port, ip="", nw_src=address))
                    says = Cube(said.mask | brought_by_none(self.space), said.value)
                    taking = table.find(self.to(ipv4_number(address)).value | uplink)
                    yield Caller(socket.port, ipv4_number(address), says, taking.priority if taking else -1)

    def _slot(self, name: str, word: str) -> Slot:
        return self.space.slot_of(name, fields(**{word: ""}))


def served(view: NodeView, function: Function) -> bool:
    """Whether a container that serves the function can be reached from a node."""
    reached = view.elsewhere.keys() if not view.policy.netmaker.enabled else ()
    return any(target not in view.absent and target not in reached for target in function.targets)


def _read(header: int, slot: Slot) -> int:
    return header >> slot.offset & (1 << slot.width) - 1
