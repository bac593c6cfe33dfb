"""Delivery over several nodes: a call of a function arrives at a container that serves it, and its answer comes back.

What the document says is asked of the document alone: which function a packet calls is found by the priorities and
matches of its routes. The entries of the nodes are followed, and must agree with it, for one packet of each kind that
any entry tells apart: so it holds for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from itertools import islice

from policies.field_forms import ipv4_number
from policies.functions import Function
from policies.placement import NodeView
from ryu_apps.flows.flow import CLASSIFY, MESH, FlowEntry, fields
from ryu_apps.packets.cubes import Budget, Cube, TooHard
from ryu_apps.packets.lookup import Lookup
from ryu_apps.verify.finding import Finding, Kind, named
from ryu_apps.verify.tables import STEPS, STEPS_OF_AN_ENTRY
from ryu_apps.verify.ways import Caller, Leg, Mesh, served


def undelivered(nodes: Mapping[str, Iterable[FlowEntry]], views: Mapping[str, NodeView]) -> Iterator[Finding]:
    """What keeps calls or answers from arriving, where there are several nodes."""
    if len(views) > 1 and all(view.policy.openflow.enabled for view in views.values()):
        delivery = _Delivery(Mesh(nodes, views))
        try:
            for node in views:
                yield from delivery.from_node(node)
        except TooHard:
            happens = "the functions overlap in too many ways to be followed in reasonable time"
            yield Finding(Kind.UNPROVEN, "", happens)


class _Delivery:
    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.functions = next(iter(mesh.views.values())).functions
        self.cubes = [mesh.space.cube(function.match) for function in self.functions]
        known = next(iter(mesh.views.values())).addresses
        self.owned = {port: tuple(map(ipv4_number, addresses)) for port, addresses in known.items()}
        cubes = zip(self.functions, self.cubes, strict=True)
        self.document = Lookup((function.priority, cube, function) for function, cube in cubes)
        self.answers = Lookup((0, cube, True) for cube in _answers(mesh, self.functions))
        self.budget = Budget(STEPS + STEPS_OF_AN_ENTRY * len(self.functions) * len(mesh.views))
        self._resolved: set[tuple[str, str, str, int, int]] = set()

    def from_node(self, node: str) -> Iterator[Finding]:
        """Every function is called by one caller of each kind that is told apart, and every caller calls one."""
        silent = {caller.address: caller for caller in self.mesh.callers[node]}
        kinds = _by_kind(self.mesh.callers[node])
        calls = [
            pair for pair in zip(self.functions, self.cubes, strict=True) if served(self.mesh.views[node], pair[0])
        ]
        for function, cube in calls:
            for caller, said in self._said(node, function, cube, kinds):
                silent.pop(caller.address, None)
                yield from islice(self._calls(node, function, caller, said), 1)
        for caller in silent.values():
            for function, cube in calls:
                if to_it := next(self._said(node, function, cube, [[caller]]), None):
                    yield from islice(self._calls(node, function, *to_it), 1)
                    break

    def _said(
        self, node: str, function: Function, cube: Cube, kinds: Iterable[Iterable[Caller]]
    ) -> Iterator[tuple[Caller, Cube]]:
        """Callers and what they say to a function: of each kind one for each that an entry on the way tells apart."""
        told = self._told_apart(node, function, cube)
        for kind in kinds:
            seen: set[int] = set()
            for caller in kind:
                said = caller.says.meet(cube)
                if said is None or caller.port in function.targets or caller.says.value & told in seen:
                    continue
                seen.add(caller.says.value & told)
                for destination in self._destinations(function):
                    called = said.meet(self.mesh.to(destination))
                    if called is not None:
                        yield caller, called
                if not told:
                    break

    def _told_apart(self, node: str, function: Function, cube: Cube) -> int:
        """The bits by which entries tell its callers apart: here, and where its containers are."""
        told = self.mesh.tables[node].table(MESH).bits_told_apart(cube, function.priority)
        elsewhere = self.mesh.views[node].elsewhere
        called = {target: cube for target in function.targets if target in elsewhere}
        if len(function.targets) > 1:  # by their own addresses on the way
            called = {target: self.mesh.readdressed(cube, self.owned[target][0]) for target in called}
        for target, there in called.items():
            home = self.mesh.tables[elsewhere[target]].table(MESH)
            told |= home.bits_told_apart(there, function.priority) & ~self.mesh.space.in_port.bits
        return told

    def _destinations(self, function: Function) -> tuple[int, ...]:
        """What a function is called by: its address, or if it has a range of them those of its containers."""
        if function.address is not None:
            return (ipv4_number(function.address),)
        return tuple(self.owned[target][0] for target in function.targets if target in self.owned)

    def _calls(self, node: str, function: Function, caller: Caller, cube: Cube) -> Iterator[Finding]:
        for header in self._packets(node, function, caller, cube):
            if self.document.find(header) is function and not self.answers.find(header):
                yield from self._round_trip(node, function, caller, header, cube)

    def _packets(self, node: str, function: Function, caller: Caller, cube: Cube) -> Iterable[int]:
        """Calls, one for each entry that takes any: here, and on the node that they are carried to."""
        mesh, found = self.mesh, dict.fromkeys(self._one_each(node, cube, function.priority))
        for header in tuple(found):
            legs = mesh.way(node, caller.port, header)
            if len(legs) > 1:
                arriving = legs[1].header
                written = (header ^ arriving) & mesh.carried
                pinned = cube.mask & mesh.carried | written | mesh.space.in_port.bits
                image = Cube(pinned, arriving & pinned)
                kept = mesh.carried & ~written
                for there in self._one_each(legs[1].node, image, function.priority):
                    found[there & kept | header & ~kept] = None
        return found

    def _one_each(self, node: str, cube: Cube, priority: int) -> Iterator[int]:
        tables = self.mesh.tables[node]
        yield from tables.table(CLASSIFY).packets(cube, 0, self.budget)
        yield from tables.table(MESH).packets(cube, priority, self.budget)

    def _round_trip(self, node: str, function: Function, caller: Caller, header: int, cube: Cube) -> Iterator[Finding]:
        mesh = self.mesh
        legs = mesh.way(node, caller.port, header)
        call = f'a call of "{caller.port}" for function {function.name}'
        why = self._astray(legs, function.targets, header)
        why = why or _left_over(legs, function)
        port, arrived = legs[-1].sent[0] if not why else ("", 0)
        if not why and str(IPv4Address(mesh.destination(arrived))) not in mesh.views[node].addresses[port]:
            why = f'it arrives at "{port}" for {IPv4Address(mesh.destination(arrived))}, which is not its address'
        if why:
            yield self._finding(function, legs, f"{call} does not arrive: {why}", cube)
            return
        answer = mesh.answer(arrived, port)
        if self._is_call(answer, caller):
            return
        back = mesh.way(legs[-1].node, port, answer)
        why = self._astray(back, (caller.port,), mesh.answer(header, port))
        why = why or ("" if back[-1].node == node else f"it ends on node {back[-1].node}")
        if why:
            yield self._finding(function, back, f'the answer of "{port}" to {call} does not come back: {why}', cube)
        for leg in (*legs, *back):
            yield from self._unresolved(function, leg, call)

    def _is_call(self, answer: int, caller: Caller) -> bool:
        """Whether an answer goes to a port that another function serves: the switch keeps no state, and takes it for a
        call. The caller has chosen an unlucky port to call from."""
        function = self.document.find(answer)
        return function is not None and caller.port not in function.targets and "tp_dst" in dict(function.match)

    def _astray(self, legs: tuple[Leg, ...], ports: tuple[str, ...], header: int) -> str:
        """Why a packet does not leave by one of the ports of its last node, its sender and ports as they were; "" if
        it does."""
        mesh, last = self.mesh, legs[-1]
        by = named(last.entries[-1]) if last.entries else "no entry"
        here = f"on node {last.node} "
        if not last.sent:
            return f"{here}{by} drops it"
        if last.out is None:
            return f"{here}{by} sends it to {', '.join(port for port, _ in last.sent)}"
        if last.out == mesh.uplink(last.node):
            destination = mesh.destination(last.sent[0][1])
            where = "which is here" if mesh.home(destination) == last.node else "which the mesh carries to no node"
            return f'{here}{by} sends it out by "{last.out}" to {IPv4Address(destination)}, {where}'
        if last.out not in ports:
            return f'{here}{by} sends it to "{last.out}"'
        if last.out not in mesh.views[last.node].plan.mesh_ports:
            return f'{here}{by} sends it to "{last.out}", which is not there'
        changed = (last.sent[0][1] ^ header) & mesh.carried & ~mesh.space.bits("nw_dst")
        return f"{here}it arrives changed" if changed else ""

    def _unresolved(self, function: Function, leg: Leg, call: str) -> Iterator[Finding]:
        source, destination = self.mesh.source(leg.header), self.mesh.destination(leg.header)
        key = leg.node, leg.in_port, leg.out or "", source, destination
        if key in self._resolved:
            return
        self._resolved.add(key)
        for asked, port in self.mesh.resolution(leg):
            if asked.out != port:
                sent = " and ".join(f'"{name}"' for name, _ in asked.sent) or "nowhere"
                happens = f'before {call}: this ARP packet goes {sent}, and not to "{port}"'
                yield self._finding(function, (asked,), happens, Cube(0, 0))

    def _finding(self, function: Function, legs: tuple[Leg, ...], happens: str, cube: Cube) -> Finding:
        """At the line of the function and of what takes its packets."""
        space, first = self.mesh.space, legs[0]
        packet = space.match(Cube(space.fields_of(cube.mask | first.header), first.header))
        asked = FlowEntry(MESH, function.priority, function.match, (), function.name, place=function.place)
        met = (entry for leg in legs for entry in leg.entries)
        return Finding(Kind.UNDELIVERED, first.node, happens, packet, (asked, *met))


def _by_kind(callers: Iterable[Caller]) -> list[list[Caller]]:
    """By what takes the answers to them: a function of their own, or what is left for those that serve none."""
    found: dict[int, list[Caller]] = {}
    for caller in callers:
        found.setdefault(caller.answered_at, []).append(caller)
    return list(found.values())


def _left_over(legs: Iterable[Leg], function: Function) -> str:
    """Why a call is not taken by the function's own entries; "" if it is. By others it may arrive, but not by right:
    those tell packets apart by what has nothing to do with the function."""
    for leg in legs:
        for entry in leg.entries:
            if entry.table == MESH and entry.priority < function.priority:
                return f"on node {leg.node} it is left to {named(entry)}, of priority {entry.priority}"
    return ""


def _answers(mesh: Mesh, functions: Iterable[Function]) -> Iterator[Cube]:
    """What back ends say from the port that they serve. The switch keeps no state: it takes all of it for answers."""
    known = next(iter(mesh.views.values())).addresses
    for function in functions:
        for target in function.targets if len(function.targets) > 1 else ():
            texts = dict(function.match) | {"nw_src": known[target][0]}
            texts["tp_src"] = texts.pop("tp_dst")
            del texts["nw_dst"]
            yield mesh.space.cube(fields(**texts))
