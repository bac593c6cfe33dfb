"""The verifier against brute force: on small header spaces every packet is tried, by code that shares none with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from random import Random

import pytest

from policies.match import Match, normalise
from policies.match_fields import FIELDS
from policies.model import Place
from ryu_apps.flows.flow import Action, FlowEntry, GotoTable, Output, SetField, fields
from ryu_apps.packets.cubes import Budget, Cube, CubeIndex, TooHard, point_outside
from ryu_apps.packets.simulate import simulate
from ryu_apps.verify.entries import conflicts, never_met
from ryu_apps.verify.safety import Sender, flights, violations
from ryu_apps.verify.tables import bridge

ROUNDS = 5000 if os.environ.get("SOAK") else 250
PORTS = ("a", "b", "c")
_TABLES = (0, 10, 20)
_BITS = ("0.0.0.0", "64.0.0.0", "128.0.0.0", "192.0.0.0")
_QUARTERS = tuple(f"{address}/2" for address in _BITS)
_TEXTS = {
    "in_port": PORTS,
    "nw_src": (*_QUARTERS, "0.0.0.0/1", "128.0.0.0/1", "64.0.0.0/64.0.0.0"),
    "nw_dst": (*_QUARTERS, "0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/64.0.0.0"),
    "tp_dst": ("0x8000/0x8000", "0x0/0x8000"),
    "reg0": ("0x0", "0x1/0x1", "0x2/0x3"),  # 0 in whatever comes in
}
_PROTOCOLS = {
    "": ("in_port", "reg0"),
    "ip": ("in_port", "nw_src", "nw_dst", "reg0"),
    "tcp": ("in_port", "nw_src", "nw_dst", "tp_dst"),
}

Header = dict[str, int | str]


def every_packet() -> Iterator[Header]:
    """One of each class that the matches of these tests can tell apart."""
    for port in PORTS:
        yield {"in_port": port, "dl_type": 0x0806}
        for source, target, protocol in product(_BITS, _BITS, (6, 17)):
            packet: Header = {"in_port": port, "dl_type": 0x0800, "nw_proto": protocol}
            packet |= {"nw_src": _number("nw_src", source), "nw_dst": _number("nw_dst", target)}
            for high in (0, 0x8000) if protocol == 6 else (0,):
                yield {**packet, "tp_dst": high}


def _number(name: str, text: str) -> int:
    return FIELDS[name].parse(text)[0]


def takes(match: Match, packet: Header) -> bool:
    for name, text in match:
        if name in ("ip", "tcp"):
            if packet["dl_type"] != 0x0800 or (name == "tcp" and packet.get("nw_proto") != 6):
                return False
        elif name == "in_port":
            if packet["in_port"] != text:
                return False
        else:
            value, mask = FIELDS[name].parse(text)
            if int(packet.get(name, 0)) & mask != value:
                return False
    return True


def walks(
    entries: list[FlowEntry], packet: Header, table: int = 0
) -> Iterator[tuple[FlowEntry, set[FlowEntry], list[str]]]:
    """(entry, its rivals in the table, where it sends) of each entry the packet may meet, whichever rival wins."""
    here = [entry for entry in entries if entry.table == table and takes(entry.match, packet)]
    best = max((entry.priority for entry in here), default=0)
    rivals = {entry for entry in here if entry.priority == best}
    for entry in rivals:
        sent, changed = [], dict(packet)
        further = None
        for action in entry.actions:
            match action:
                case Output(port) if port != packet["in_port"]:
                    sent.append(port)
                case SetField(name, text):
                    changed[name] = _number(name, text)
                case GotoTable(number):
                    further = number
        yield entry, rivals, sent
        if further is not None:
            yield from walks(entries, changed, further)


def random_entries(random: Random) -> list[FlowEntry]:
    entries: dict[object, FlowEntry] = {}
    for number in range(random.choice((2, 5, 9, 14))):
        table = random.choice(_TABLES)
        protocol = random.choice(tuple(_PROTOCOLS))
        given = {protocol: ""} if protocol else {}
        for name in _PROTOCOLS[protocol]:
            if random.random() < (0.5 if name != "reg0" else 0.2):
                given[name] = random.choice(_TEXTS[name])
        match = normalise(given)
        place = Place("document", number, "flow")
        entry = FlowEntry(
            table, random.choice((1, 2, 3)), match, _actions(random, table, match), f"e{number}", "", place
        )
        entries.setdefault(entry.identity, entry)
    for table in _TABLES[:2]:  # most packets are let on, or little would happen behind table 0
        entry = FlowEntry(table, 0, (), (GotoTable(random.choice(_TABLES[_TABLES.index(table) + 1 :])),), f"on {table}")
        entries.setdefault(entry.identity, entry)
    return list(entries.values())


def _actions(random: Random, table: int, match: Match) -> tuple[Action, ...]:
    actions: list[Action] = []
    for _ in range(random.choice((0, 1, 1, 2))):
        if random.random() < 0.1:
            actions.append(SetField("reg0", random.choice(("0x0", "0x1", "0x2"))))
        elif random.random() < 0.3 and len(match) and {"ip", "tcp"} & set(dict(match)):
            name = random.choice(("nw_src", "nw_dst"))
            actions.append(SetField(name, random.choice(_BITS)))
        else:
            actions.append(Output(random.choice(PORTS)))
    further = [number for number in _TABLES if number > table]
    if further and random.random() < 0.4:
        actions.append(GotoTable(random.choice(further)))
    return tuple(actions)


@pytest.fixture(params=range(10))
def rounds(request: pytest.FixtureRequest) -> Iterator[tuple[str, Random]]:
    """(name of the round for its failure, its chance)."""
    first = request.param * (ROUNDS // 10)
    return ((f"round {number}", Random(number)) for number in range(first, first + ROUNDS // 10))


def test_conflicts(rounds: Iterator[tuple[str, Random]]) -> None:
    for what, random in rounds:
        entries = random_entries(random)
        expected = {
            frozenset((entry.item, other.item))
            for packet in every_packet()
            for entry, rivals, _ in walks(entries, packet)
            for other in rivals
            if other.actions != entry.actions
        }
        tables = bridge("", entries)
        found = list(conflicts(tables, flights(tables, PORTS)))
        told = {frozenset(entry.item for entry in finding.entries) for finding in found}
        assert told <= expected, what
        # Of several partners of one entry with the same actions one is told; no entry in conflict is left out.
        assert bool(told) == bool(expected), what
        for finding in found:
            met = [entry.item for entry, rivals, _ in walks(entries, header(finding.packet)) if len(rivals) > 1]
            assert {entry.item for entry in finding.entries} <= set(met), (what, str(finding))


def test_entries_that_are_never_met(rounds: Iterator[tuple[str, Random]]) -> None:
    for what, random in rounds:
        entries = random_entries(random)
        met = {entry.item for packet in every_packet() for entry, _, _ in walks(entries, packet)}
        tables = bridge("", entries)
        written = {entry.place: entry.match for entry in entries if entry.place is not None}
        judged = never_met(tables, flights(tables, PORTS), written)
        told = {finding.entries[0].item for _, finding in judged if finding is not None}
        assert told == {entry.item for entry in entries if entry.place} - met, what


def test_what_leaves_where_it_may_not(rounds: Iterator[tuple[str, Random]]) -> None:
    for what, random in rounds:
        entries = random_entries(random)
        allowed = {port: random_sender(random) for port in PORTS}
        expected = {
            entry.item
            for packet in every_packet()
            for entry, _, sent in walks(entries, packet)
            for out in sent
            if not may(allowed[str(packet["in_port"])], packet, out)
        }
        tables = bridge("", entries)
        found = list(violations(tables, flights(tables, PORTS), allowed))
        assert {finding.entries[-1].item for finding in found} == expected, what
        for finding in found:
            packet = header(finding.packet)
            astray = {
                entry.item
                for entry, _, sent in walks(entries, packet)
                if any(not may(allowed[str(packet["in_port"])], packet, out) for out in sent)
            }
            assert finding.entries[-1].item in astray, (what, str(finding))


def random_sender(random: Random) -> Sender:
    sources = tuple(fields(ip="", nw_src=random.choice(_TEXTS["nw_src"])) for _ in range(random.choice((0, 1, 2))))
    targets = frozenset(random.sample(PORTS, random.choice((0, 1, 2, 3))))
    return Sender(random.choice(("privacy", "mesh")), sources, targets)


def may(sender: Sender, packet: Header, out: str) -> bool:
    return out in sender.targets and any(takes(source, packet) for source in sender.sources)


def header(packet: Match) -> Header:
    """A packet as a finding names it; what it leaves out is 0."""
    words = dict(packet)
    found: Header = {"in_port": words.pop("in_port"), "dl_type": 0}
    for name, text in words.items():
        match name:
            case "ip":
                found["dl_type"] = 0x0800
            case "tcp":
                found |= {"dl_type": 0x0800, "nw_proto": 6}
            case "udp":
                found |= {"dl_type": 0x0800, "nw_proto": 17}
            case _:
                found[name] = _number(name, text)
    return found


def test_the_simulator_walks_the_same_way() -> None:
    for number in range(40):
        entries = without_rivals(random_entries(Random(number)))
        for packet in every_packet():
            expected = [(entry.item, sent) for entry, _, sent in walks(entries, packet)]
            trace = simulate(entries, {name: value for name, value in packet.items() if name != "tp_dst" or value})
            assert [step.entry.item for step in trace.steps if step.entry] == [item for item, _ in expected]
            assert list(trace.ports) == [out for _, sent in expected for out in sent]


def without_rivals(entries: list[FlowEntry]) -> list[FlowEntry]:
    return [replace(entry, priority=10 + number) for number, entry in enumerate(entries)]


@pytest.mark.parametrize("seed", range(20))
def test_a_point_outside(seed: int) -> None:
    random, bits = Random(seed), 6
    for _ in range(100):
        cube, *others = (random_cube(random, bits) for _ in range(random.choice((1, 2, 5, 20, 60))))
        free = [point for point in range(1 << bits) if cube.has(point) and not any(o.has(point) for o in others)]
        found = point_outside(cube, others, Budget(10**6))
        assert found in free if free else found is None


@pytest.mark.parametrize("seed", range(20))
def test_the_index_finds_what_meets(seed: int) -> None:
    random = Random(seed)
    cubes = [random_cube(random, 6) for _ in range(60)]
    index: CubeIndex[int] = CubeIndex()
    for number, cube in enumerate(cubes):
        index.add((cube, number))
    for wanted in cubes:
        found = sorted(number for _, number in index.meeting(wanted))
        assert found == [number for number, cube in enumerate(cubes) if cube.meet(wanted) is not None]


def random_cube(random: Random, bits: int) -> Cube:
    mask = random.getrandbits(bits) & random.getrandbits(bits)
    return Cube(mask, random.getrandbits(bits) & mask)


def test_a_search_ends_when_its_budget_does() -> None:
    random = Random(1)
    others = [Cube(mask := sum(1 << bit for bit in random.sample(range(60), 3)), random.getrandbits(60) & mask)
              for _ in range(400)]  # fmt: skip
    with pytest.raises(TooHard):
        point_outside(Cube(0, 0), others, Budget(2000))
