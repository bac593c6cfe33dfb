"""Functions of the mesh: which container's socket serves them, and by which address each is called."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

from policies.match import Match
from policies.model import FunctionRoute, Place, PrivacyRouter
from policies.reuse import reused


class Function(NamedTuple):
    """The function routes of one name, match and priority. Several targets are back ends that share the calls."""

    name: str
    priority: int
    match: Match
    targets: tuple[str, ...]  # sockets, in the document's order
    address: str | None  # the single address that it is called by, if it is called by one
    place: Place


def destination(match: Match) -> str | None:
    """The single IPv4 address that a match is about, if it is about one."""
    for name, text in match:
        if name == "nw_dst":
            return None if "/" in text else text
    return None


def functions(
    policy: PrivacyRouter, earlier: tuple[FunctionRoute, ...] = (), known: tuple[Function, ...] = ()
) -> tuple[Function, ...]:
    """In the order in which they are first named.

    ``known``: the functions of ``earlier`` routes. Those of routes that are still there are not made anew.
    """
    routes = policy.openflow.function_routing
    if len(set(map(attrgetter("match_fields"), routes))) < len(routes):
        return _grouped(routes, known)
    # Each route is a function of its own.
    return reused(earlier, known, routes, _alone) if len(known) == len(earlier) else tuple(map(_alone, routes))


def _alone(route: FunctionRoute) -> Function:
    match = route.match_fields
    return Function(route.function, route.priority, match, (route.target_socket,), destination(match), route.place)


def _grouped(routes: Iterable[FunctionRoute], known: Iterable[Function]) -> tuple[Function, ...]:
    grouped: dict[tuple[str, int, Match], list[FunctionRoute]] = {}
    for route in routes:
        grouped.setdefault((route.function, route.priority, route.match_fields), []).append(route)
    before = {id(function.place): function for function in known}
    found = []
    for (name, priority, match), of_one in grouped.items():
        targets = tuple(dict.fromkeys(route.target_socket for route in of_one))
        function = Function(name, priority, match, targets, destination(match), of_one[0].place)
        same = before.get(id(function.place))
        found.append(same if same is not None and same == function else function)
    return tuple(found)


def addresses(policy: PrivacyRouter, called: Iterable[Function]) -> dict[str, tuple[str, ...]]:
    """Of each mesh socket: its own address, then those of further functions that it serves.

    Its own is what its container's entry says, else that of the first function of which it is the only target.
    Sockets without any address are left out.
    """
    found: dict[str, dict[str, None]] = {  # dicts, for their order: a socket may serve 100,000 functions
        it.socket_port: {str(it.address): None} for it in policy.containers if it.address is not None
    }
    shared: list[tuple[str, str]] = []
    for _, _, _, targets, address, _ in called:
        if address is None:
            continue
        if len(targets) > 1:
            shared += [(target, address) for target in targets]
            continue
        owned = found.get(targets[0])
        if owned is None:
            owned = found[targets[0]] = {}
        owned[address] = None
    for target, address in shared:
        if target in found:
            found[target][address] = None
    return {socket: tuple(owned) for socket, owned in found.items()}
