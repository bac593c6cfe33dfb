"""Functions of the mesh: which container's socket serves them, and by which address each is called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from policies.match import Match
from policies.match_fields import FIELDS
from policies.model import FunctionRoute, Place, PrivacyRouter


@dataclass(frozen=True)
class Function:
    """The function routes of one name, match and priority. Several targets are back ends that share the calls."""

    name: str
    priority: int
    match: Match
    targets: tuple[str, ...]  # sockets, in the document's order
    address: IPv4Address | None  # the single address that it is called by, if it is called by one
    place: Place

    @property
    def whole_address(self) -> bool:
        """Whether it takes every packet to its address."""
        return self.address is not None and [name for name, _ in self.match] == ["ip", "nw_dst"]


def destination(route: FunctionRoute) -> IPv4Address | None:
    """The single IPv4 address that a function route matches on, if it matches on one."""
    for name, text in route.match_fields:
        if name == "nw_dst":
            value, mask = FIELDS["nw_dst"].parse(text)
            return IPv4Address(value) if mask == 0xFFFFFFFF else None
    return None


def functions(policy: PrivacyRouter) -> tuple[Function, ...]:
    """In the order in which they are first named."""
    grouped: dict[tuple[str, int, Match], list[FunctionRoute]] = {}
    for route in policy.openflow.function_routing:
        grouped.setdefault((route.function, route.priority, route.match_fields), []).append(route)
    return tuple(
        Function(name, priority, match, _targets(routes), destination(routes[0]), routes[0].place)
        for (name, priority, match), routes in grouped.items()
    )


def _targets(routes: list[FunctionRoute]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(route.target_socket for route in routes))


def addresses(policy: PrivacyRouter, called: Iterable[Function]) -> dict[str, tuple[IPv4Address, ...]]:
    """Of each mesh socket: its own address, then those of further functions that it serves.

    Its own is what its container's entry says, else that of the first function of which it is the only target.
    Sockets without any address are left out.
    """
    found: dict[str, dict[IPv4Address, None]] = {  # dicts, for their order: a socket may serve 100,000 functions
        it.socket_port: {it.address: None} for it in policy.containers if it.address is not None
    }
    shared: list[tuple[str, IPv4Address]] = []
    for function in called:
        if function.address is None:
            continue
        if len(function.targets) > 1:
            shared += [(target, function.address) for target in function.targets]
            continue
        found.setdefault(function.targets[0], {})[function.address] = None
    for target, address in shared:
        if target in found:
            found[target][address] = None
    return {socket: tuple(owned) for socket, owned in found.items()}
