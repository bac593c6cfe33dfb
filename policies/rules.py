"""What the rules of ``policies.check`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from policies.model import FunctionRoute, Gateway, Place, PrivacyRouter, Socket, XrayClient

ROOT = "privacy_router"
MESH_PORT = ("netmaker.enabled", "netmaker.interface", "netmaker.node_id")  # what says which port it is
Found = Iterator[tuple[str, str]]  # (path of the offending value, message)


@dataclass(frozen=True)
class Case:
    """A policy, and where its values stand. ``earlier`` is its earlier version, which held to all rules.

    ``unread``: paths of values that could not be read. The policy has their defaults, which must not be judged.
    """

    policy: PrivacyRouter
    place: Callable[[str], Place]
    earlier: PrivacyRouter | None = None
    unread: frozenset[str] = frozenset()

    def knows(self, *paths: str) -> bool:
        """Whether all values at these paths, and those around and inside them, could be read."""
        return not any(touches(unread, path) for unread in self.unread for path in paths)

    def line(self, path: str) -> str:
        """For messages that name a second place: "line 12"."""
        return f"line {self.place(path).line}"

    @cached_property
    def new_routes(self) -> Sequence[FunctionRoute]:
        """The function routes of which a rule that looks at each alone does not know already that it is right."""
        routes = self.policy.openflow.function_routing
        if self.earlier is None or _without_flows(self.earlier) != _without_flows(self.policy):
            return routes
        known = set(map(id, self.earlier.openflow.function_routing))
        return [route for route in routes if id(route) not in known]

    @cached_property
    def privacy_ports(self) -> frozenset[str]:
        return privacy_ports(self.policy)

    @cached_property
    def mesh_ports(self) -> frozenset[str]:
        return mesh_ports(self.policy)

    @cached_property
    def all_matches_differ(self) -> bool:
        """Of the function routes. Then no two can be in each other's way, nor be back ends of one function."""
        matches = [route.match_fields for route in self.policy.openflow.function_routing]
        return len(set(matches)) == len(matches)


def _without_flows(policy: PrivacyRouter) -> PrivacyRouter:
    return replace(policy, openflow=replace(policy.openflow, privacy_flows=(), function_routing=()))


def touches(path: str, other: str) -> bool:
    """True if one of the two paths is, or lies inside, the other."""
    short, long = sorted((path, other), key=len)
    return not short or long == short or long.startswith((f"{short}.", f"{short}["))


@dataclass(frozen=True)
class Rule:
    """``reads``: the paths inside ``privacy_router`` without which the rule can say nothing at all.

    A rule that holds values against each other leaves out those that the case does not know, and judges the others.
    """

    judge: Callable[[Case], Found]
    reads: tuple[str, ...]


@dataclass(frozen=True)
class HopFacts:
    """What the document says about one hop, and where: ``path``, and inside it ``port_path`` and ``container_path``."""

    title: str
    path: str
    enabled: bool
    port: str
    port_path: str
    container_id: int | None
    container_path: str


def all_hops(policy: PrivacyRouter) -> tuple[HopFacts, ...]:
    """The hops of the chain in its order, enabled or not."""
    gateways = (_of_container("WireGuard gateway", gateway, path) for gateway, path in gateway_paths(policy))
    warp = HopFacts(
        "WARP hop", f"{ROOT}.warp", policy.warp.enabled, policy.warp.interface, f"{ROOT}.warp.interface", None, ""
    )
    xrays = (_of_container("Xray client", xray, path) for xray, path in xray_paths(policy))
    return *gateways, warp, *xrays


def _of_container(title: str, hop: Gateway | XrayClient, path: str) -> HopFacts:
    """A hop beside the first of its kind has its container's number in its title."""
    title = f"{title} {hop.container_id}" if path.endswith("]") else title
    port_path, container_path = f"{path}.socket_port", f"{path}.container_id"
    return HopFacts(title, path, hop.enabled, hop.socket_port, port_path, hop.container_id, container_path)


def gateway_paths(policy: PrivacyRouter) -> tuple[tuple[Gateway, str], ...]:
    """Every gateway, and where the document has it."""
    further = ((gateway, gateway.place.path) for gateway in policy.wireguard.further)
    return (policy.wireguard, f"{ROOT}.wireguard"), *further


def xray_paths(policy: PrivacyRouter) -> tuple[tuple[XrayClient, str], ...]:
    """Every Xray client, and where the document has it."""
    return (policy.xray, f"{ROOT}.xray"), *((xray, xray.place.path) for xray in policy.xray.further)


def hops(policy: PrivacyRouter) -> tuple[HopFacts, ...]:
    """The hops that are enabled."""
    return tuple(hop for hop in all_hops(policy) if hop.enabled)


def sound_hops(case: Case, *keys: str) -> tuple[HopFacts, ...]:
    """The hops that are enabled for sure, and of which these keys could be read."""
    return tuple(hop for hop in hops(case.policy) if case.knows(*(f"{hop.path}.{key}" for key in ("enabled", *keys))))


def sockets(policy: PrivacyRouter) -> tuple[Socket, ...]:
    return policy.socket_networking.privacy_sockets + policy.socket_networking.mesh_sockets


def privacy_ports(policy: PrivacyRouter) -> frozenset[str]:
    """Every port of the privacy network, of disabled hops too."""
    listed = {socket.name for socket in policy.socket_networking.privacy_sockets}
    return frozenset(listed | {hop.port for hop in all_hops(policy)})


def mesh_ports(policy: PrivacyRouter) -> frozenset[str]:
    """Every port of the mesh, its uplink included."""
    listed = {socket.name for socket in policy.socket_networking.mesh_sockets}
    return frozenset(listed | ({policy.netmaker.interface} if policy.netmaker.enabled else set()))
