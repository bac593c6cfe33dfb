"""Policies with many functions, and edits of them, all from one ``random.Random``."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

from policy_documents import policy

from policies.match import Match, normalise
from policies.model import Container, FunctionRoute, Place, PrivacyRouter, Socket
from ryu_apps.verify.address_shapes import ALONE
from ryu_apps.verify.alike import Likeness, likeness
from ryu_apps.verify.subject import Subject

SOCKETS = tuple(f"internal_{number}" for number in range(200, 204))
_EXAMPLE = policy(lambda router: None)


def many_functions(random: Random, count: int) -> PrivacyRouter:
    """Most are called by an address of their own; whether anything is wrong with the others is left to chance."""
    openflow = replace(_EXAMPLE.openflow, function_routing=())
    sockets = tuple(Socket(name, int(name[-3:]), "mesh") for name in SOCKETS)
    networking = replace(_EXAMPLE.socket_networking, mesh_sockets=sockets)
    plain = replace(_EXAMPLE, socket_networking=networking, containers=_containers(2), openflow=openflow)
    routes = tuple(random_route(random, number, odd=0.02) for number in range(count))
    return with_routes(plain, routes)


def _containers(first: int) -> tuple[Container, ...]:
    """Each with an address of its own, but for the first socket's: that has its first function's."""
    return tuple(
        Container(int(port[-3:]), port, "x", port, "mesh", IPv4Address(f"100.104.70.{first + number}"))
        for number, port in enumerate(SOCKETS[1:])
    )


def with_routes(policy: PrivacyRouter, routes: tuple[FunctionRoute, ...]) -> PrivacyRouter:
    return replace(policy, openflow=replace(policy.openflow, function_routing=routes))


def random_route(random: Random, number: int, odd: float = 0.3) -> FunctionRoute:
    match: Match = normalise({"ip": "", "nw_dst": f"100.104.70.{10 + number % 200}"})
    name, priority = f"function_{random.getrandbits(30)}", 90
    if random.random() < odd:
        match = normalise(random.choice(_ODD))
        name = f"shared {match}" if match in _SHARED else name
    if random.random() < odd and match not in _SHARED:
        priority = random.choice((4, 5, 80, 95))
    place = Place("policy.json", random.getrandbits(30), f"function_routing[{number}]")
    return FunctionRoute(name, random.choice(SOCKETS), match, priority, place)


_SHARED = tuple(normalise({"udp": "", "nw_dst": f"100.104.70.{number}", "tp_dst": "53"}) for number in (250, 251))
_ODD: tuple[dict[str, object], ...] = (
    {"tcp": "", "nw_dst": "100.104.70.40", "tp_dst": "443"},
    {"tcp": "", "nw_dst": "100.104.70.41", "tp_dst": "443"},
    *map(dict, 3 * _SHARED),
    {"ip": "", "nw_dst": "100.104.70.128/25"},
    {"ip": "", "nw_dst": "0.0.0.1/0.0.0.1"},
    {"ip": "", "nw_src": "100.104.70.20", "nw_dst": "100.104.70.21"},
    {"arp": "", "arp_tpa": "100.104.70.30"},
    {"ip": "", "nw_dst": "192.0.2.7"},
    {"ip": "", "nw_dst": "10.99.0.100"},
)


def edited(random: Random, before: PrivacyRouter) -> PrivacyRouter:
    """One to three edits. A route that is as it was is the same object, as if it had been read again."""
    routes = list(before.openflow.function_routing)
    for _ in range(random.randint(1, 3)):
        number = random.randrange(len(routes))
        match random.randrange(5):
            case 0:
                del routes[number]
            case 1:
                routes.insert(number, random_route(random, random.randrange(200)))
            case 2:
                routes.append(random_route(random, random.randrange(200)))
            case 3:
                routes[number] = random_route(random, number)
            case 4:
                moved = replace(routes[number], target_socket=random.choice(SOCKETS))
                routes[number] = replace(moved, place=Place("policy.json", random.getrandbits(30), moved.place.path))
    routes = routes or [random_route(random, 0)]
    if random.random() < 0.1:
        before = replace(before, netmaker=replace(before.netmaker, enabled=not before.netmaker.enabled))
    if random.random() < 0.1:
        before = replace(before, containers=_containers(random.randint(2, 6)))
    return with_routes(before, tuple(routes))


def same_classes(earlier: Likeness | None, subject: Subject) -> Likeness:
    """What an edit finds alike is found alike from nothing. (An edit may leave more apart than that.)"""
    after, fresh = likeness(subject, earlier), likeness(subject)
    assert after is not None and fresh is not None
    assert after.classes.keys() == fresh.classes.keys()
    assert {node: set(map(id, others)) for node, others in after.others.items()} == {
        node: set(map(id, others)) for node, others in fresh.others.items()
    }
    pairs = {(number, fresh.classes[address]) for address, number in after.classes.items() if number != ALONE}
    assert len(pairs) == len({number for number, _ in pairs}), "alike after the edit, but not from nothing"
    assert ALONE not in {number for _, number in pairs}
    for number, chosen in after.chosen.items():
        members = [address for address, of in after.classes.items() if of == number]
        assert number == ALONE or (set(chosen) <= set(members) and len(chosen) == min(2, len(members)))
    return after
