"""Rules about privacy flows and function routes."""

from __future__ import annotations

from collections.abc import Iterable

from policies.actions import output_port
from policies.model import FunctionRoute, PrivacyFlow
from policies.rules import MESH_PORT, Case, Found, Rule, hops

_SOCKETS = ("socket_networking.privacy_sockets", "socket_networking.mesh_sockets")
_PORTS = (*_SOCKETS, "wireguard.socket_port", "warp.interface", "xray.socket_port", *MESH_PORT)
_FURTHER = ("wireguard.further", "xray.further")


def privacy_flow_ports(case: Case) -> Found:
    for flow in case.policy.openflow.privacy_flows:
        path, in_port = f"{flow.place.path}.match_fields.in_port", dict(flow.match_fields).get("in_port")
        if in_port is not None:
            problem = _not_privacy(case, in_port) or _not_enabled(case, in_port)
            if problem:
                yield path, problem
        for index, action in enumerate(flow.actions):
            port = output_port(action)
            problem = _not_privacy(case, port) if port is not None else ""
            if port is not None and port == in_port:
                problem = f'"{port}" is the port that the packet came in by: Open vSwitch would drop it'
            if problem:
                yield f"{flow.place.path}.actions[{index}]", problem


def _not_privacy(case: Case, port: str) -> str:
    """Why a privacy flow cannot name this port; "" if it can."""
    known = case.privacy_ports
    if port in known:
        return ""
    if port in case.mesh_ports:
        return f'"{port}" is a mesh port: nothing crosses between the privacy network and the mesh'
    return f'"{port}" is no port of this document; privacy ports are {", ".join(sorted(known))}'


def _not_enabled(case: Case, port: str) -> str:
    enabled = [hop.port for hop in hops(case.policy)]
    if port in enabled or not case.policy.openflow.enabled:
        return ""
    return f'no enabled hop sends by "{port}"; those that do are {", ".join(enabled) or "none"}: remove this flow'


def xrays_share_the_clients(case: Case) -> Found:
    """Where there are several Xray clients, a flow sends to the first one's port, and each takes its share there."""
    first, further = case.policy.xray.socket_port, {xray.socket_port for xray in case.policy.xray.further}
    for flow in case.policy.openflow.privacy_flows if further else ():
        for index, action in enumerate(flow.actions):
            port, path = output_port(action), f"{flow.place.path}.actions[{index}]"
            if port in further:
                message = f'a client\'s address decides whether it has "{port}" (docs/policy.md): send to "{first}"'
                yield path, f"{message}, which stands for all Xray clients"
            elif port == first and index < len(flow.actions) - 1:
                yield path, f'"{first}" stands for several Xray clients, and must be the last action'


def function_route_ports(case: Case) -> Found:
    sockets = {socket.name for socket in case.policy.socket_networking.mesh_sockets}
    for route in case.new_routes:
        if route.target_socket not in sockets:
            yield f"{route.place.path}.target_socket", _not_mesh_socket(case, route.target_socket, sockets)
        in_port = next((text for name, text in route.match_fields if name == "in_port"), None)
        if in_port is None:
            continue
        path = f"{route.place.path}.match_fields.in_port"
        if in_port == route.target_socket:
            yield path, f'"{in_port}" is the target socket as well: Open vSwitch would drop the packet'
        elif in_port in case.privacy_ports:
            yield path, f'"{in_port}" is a privacy port: nothing crosses between the privacy network and the mesh'
        elif in_port not in case.mesh_ports:
            known = ", ".join(sorted(case.mesh_ports))
            yield path, f'"{in_port}" is no port of this document; mesh ports are {known or "none"}'


def _not_mesh_socket(case: Case, name: str, sockets: set[str]) -> str:
    if name in case.privacy_ports:
        return f'"{name}" is a privacy port: nothing crosses between the privacy network and the mesh'
    return f'"{name}" is no mesh socket; socket_networking.mesh_sockets has {", ".join(sorted(sockets)) or "none"}'


def privacy_flows_once(case: Case) -> Found:
    """Of two entries with one match and priority the later would silently replace the earlier."""
    yield from _once(case.policy.openflow.privacy_flows, "privacy flow")


def function_routes_once(case: Case) -> Found:
    """Routes of one function that differ in nothing but the socket are its back ends."""
    if case.all_matches_differ:
        return
    yield from _once(case.policy.openflow.function_routing, "function route")
    seen: dict[tuple[object, ...], FunctionRoute] = {}
    for route in case.policy.openflow.function_routing:
        first = seen.setdefault((route.function, route.priority, route.match_fields, route.target_socket), route)
        if first is not route:
            message = f'function route "{route.function}" is given twice, first in line {first.place.line}: remove one'
            yield route.place.path, message


def _once(entries: Iterable[PrivacyFlow | FunctionRoute], what: str) -> Found:
    first: dict[object, PrivacyFlow | FunctionRoute] = {}
    for entry in entries:
        other = first.setdefault((entry.priority, entry.match_fields), entry)
        if other is entry or _is_back_end(entry, other):
            continue
        named, then = _title(entry), _does(entry)
        before = f"{_title(other)} (line {other.place.line})"
        if then == _does(other) and _name(entry) == _name(other):
            yield entry.place.path, f"{what} {named} is given twice, first in line {other.place.line}: remove one"
        elif then == _does(other):
            yield entry.place.path, f"{what} {named} has the match and priority of {before}: remove one"
        else:
            message = (
                f"{what} {named} has the match and priority of {before}, but does {then} instead of {_does(other)}"
            )
            wanted = "another match or priority" if isinstance(entry, PrivacyFlow) else _remedy(entry)
            yield entry.place.path, f"{message}: give one {wanted}"


def _remedy(route: FunctionRoute) -> str:
    """What tells two functions apart. Another priority or port would not: an address is that of one socket."""
    return "another address" if "nw_dst" in dict(route.match_fields) else "an address (nw_dst) of its own"


def _is_back_end(entry: PrivacyFlow | FunctionRoute, other: PrivacyFlow | FunctionRoute) -> bool:
    return isinstance(entry, FunctionRoute) and isinstance(other, FunctionRoute) and entry.function == other.function


def _name(entry: PrivacyFlow | FunctionRoute) -> str:
    return entry.function if isinstance(entry, FunctionRoute) else ""


def _title(entry: PrivacyFlow | FunctionRoute) -> str:
    name = entry.function if isinstance(entry, FunctionRoute) else entry.description
    return f'"{name}"' if name else f"in line {entry.place.line}"


def _does(entry: PrivacyFlow | FunctionRoute) -> str:
    return f"output:{entry.target_socket}" if isinstance(entry, FunctionRoute) else ",".join(entry.actions)


RULES = (
    Rule(privacy_flow_ports, (*_PORTS, *_FURTHER, "openflow.enabled")),
    Rule(xrays_share_the_clients, ("xray.socket_port", *_FURTHER)),
    Rule(function_route_ports, (*_PORTS, *_FURTHER)),
    Rule(privacy_flows_once, ()),
    Rule(function_routes_once, ()),
)
