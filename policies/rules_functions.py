"""Rules about the addresses of functions and containers in the mesh."""

from __future__ import annotations

from ipaddress import IPv4Address

from policies.field_forms import ipv4_number
from policies.functions import Function, addresses, destination, functions
from policies.match_fields import FIELDS
from policies.model import FunctionRoute
from policies.rules import ROOT, Case, Found, Rule


def function_addresses(case: Case) -> Found:
    """Mesh containers have addresses of the mesh."""
    mesh = case.policy.netmaker.subnet
    lowest, highest = int(mesh.network_address), int(mesh.broadcast_address)
    for route in case.new_routes:
        text = _called(route)
        if text is not None and "/" not in text and lowest < ipv4_number(text) < highest:
            continue
        path = f"{route.place.path}.match_fields"
        if not route.match_fields:
            yield path, "matches every packet of the mesh: name the function's address (nw_dst)"
        if text is None:
            continue
        value, mask = FIELDS["nw_dst"].parse(text)
        if mask & int(mesh.netmask) != int(mesh.netmask) or IPv4Address(value) not in mesh:
            yield path, f"{text} is outside the mesh subnet {mesh} (netmaker.subnet)"
        elif "/" not in text:
            yield path, f"{text} is the network or broadcast address of the mesh subnet {mesh}"


def addresses_owned(case: Case) -> Found:
    """An address is that of one socket, or of one function's back ends."""
    owners: dict[str, FunctionRoute] = {}
    for route in case.policy.openflow.function_routing:
        text = destination(route.match_fields)
        if text is None:
            continue
        owner = owners.setdefault(text, route)
        if owner.target_socket == route.target_socket:
            continue
        if (owner.priority, owner.match_fields) != (route.priority, route.match_fields):
            message = f'{text} is the address of "{owner.target_socket}" already'
            whose = f"{message} (line {owner.place.line}): an address belongs to one socket"
            yield f"{route.place.path}.match_fields", whose


def _called(route: FunctionRoute) -> str | None:
    """What it says of the destination."""
    for name, text in route.match_fields:
        if name == "nw_dst":
            return text
    return None


def container_addresses(case: Case) -> Found:
    """An address that a container's own entry gives is its own alone."""
    if all(container.address is None for container in case.policy.containers):
        return
    mesh = case.policy.netmaker.subnet
    own = {str(container.address) for container in case.policy.containers}
    callers: dict[str, set[str]] = {}
    for route in case.policy.openflow.function_routing:
        text = _called(route)
        if text in own:
            callers.setdefault(text, set()).add(route.target_socket)
    first: dict[IPv4Address, str] = {}
    for container in case.policy.containers:
        address, path = container.address, f"{container.place.path}.address"
        if address is None:
            continue
        others = callers.get(str(address), set()) - {container.socket_port}
        if container.network_type != "mesh":
            yield path, "a privacy container's address follows from its id (chain.subnet): remove this key"
        elif address not in mesh or address in (mesh.network_address, mesh.broadcast_address):
            yield path, f"{address} is no address of a container in the mesh subnet {mesh} (netmaker.subnet)"
        elif address in first:
            yield path, f"{address} is given twice, first in {case.line(first[address])}: each container has its own"
        elif others:
            whom = " and ".join(f'"{port}"' for port in sorted(others))
            yield path, f"{address} is called to reach {whom}: choose another as the container's own"
        first.setdefault(address, path)


def node_address(case: Case) -> Found:
    """The node's own address in the mesh is no container's."""
    mesh, address = case.policy.netmaker.subnet, case.policy.netmaker.mesh_address
    if address is None:
        return
    taken = {str(it.address) for it in case.policy.containers} | set(
        map(_called, case.policy.openflow.function_routing)
    )
    owned = addresses(case.policy, functions(case.policy)) if str(address) in taken else {}
    path = f"{ROOT}.netmaker.mesh_address"
    owner = next((port for port, of_port in owned.items() if str(address) in of_port), None)
    if address not in mesh or address in (mesh.network_address, mesh.broadcast_address):
        yield path, f"{address} is no address of a node in the mesh subnet {mesh} (netmaker.subnet)"
    elif owner is not None:
        yield path, f'{address} is an address of "{owner}": choose another for the node'


def back_ends(case: Case) -> Found:
    """Calls that several back ends share must be told from answers, and answers must tell whose they are."""
    if case.all_matches_differ:
        return
    called = functions(case.policy)
    several = [function for function in called if len(function.targets) > 1]
    owned = addresses(case.policy, called) if several else {}
    served: dict[tuple[str, str, str], str] = {}
    for function in several:
        path, protocol = function.place.path, _protocol(function)
        if protocol is None:
            message = "the back ends of a function share the calls to one address and port: match on nw_dst,"
            yield f"{path}.match_fields", f"{message} on tcp, udp or sctp, on tp_dst, and on nothing else"
            continue
        for target in function.targets:
            if target not in owned or owned[target][0] == function.address:
                container = next((it for it in case.policy.containers if it.socket_port == target), None)
                where = f"line {container.place.line}" if container else "the list containers"
                message = f'back ends share {function.address}, so "{target}" needs an address of its own beside it'
                yield f"{path}.target_socket", f"{message}: give its container one ({where}, key address)"
            other = served.setdefault((target, protocol, dict(function.match)["tp_dst"]), function.name)
            if other != function.name:
                message = f'"{target}" is a back end of "{other}" on this port too'
                yield f"{path}.match_fields", f"{message}: its answers would not tell of which; choose another port"


def _protocol(function: Function) -> str | None:
    """The transport of a function that back ends can share; None if they cannot."""
    fields = dict(function.match)
    for word in ("tcp", "udp", "sctp"):
        if fields.keys() == {word, "nw_dst", "tp_dst"} and function.address is not None and "/" not in fields["tp_dst"]:
            return word
    return None


RULES = (
    Rule(function_addresses, ("netmaker.subnet",)),
    Rule(addresses_owned, ()),
    Rule(container_addresses, ("netmaker.subnet",)),
    Rule(node_address, ("netmaker.subnet", "netmaker.mesh_address")),
    Rule(back_ends, ("containers", "openflow.function_routing")),
)
