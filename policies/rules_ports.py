"""Rules about containers, sockets and hops: who has which number and which port."""

from __future__ import annotations

from policies.model import NetworkType, Socket
from policies.rules import MESH_PORT, ROOT, Case, Found, Rule, gateway_paths, hops, sockets, sound_hops
from topology.plan import container_namespace

_RANGES: dict[NetworkType, tuple[str, range]] = {
    "privacy": ("100 to 199", range(100, 200)),
    "mesh": ("200 and above", range(200, 1_000_000_000)),
}
_SOCKETS = ("socket_networking.privacy_sockets", "socket_networking.mesh_sockets")
_FURTHER = ("wireguard.further", "xray.further")
_ENABLED = ("wireguard.enabled", "warp.enabled", "xray.enabled", *_FURTHER)


def container_ranges(case: Case) -> Found:
    """100-199 are privacy containers, 200 and above are mesh containers."""
    placed: list[tuple[int, NetworkType, str]] = [
        (hop.container_id, "privacy", hop.container_path)
        for hop in sound_hops(case, "container_id")
        if hop.container_id is not None
    ]
    placed += [
        (socket.container_id, socket.port_type, f"{socket.place.path}.container_id") for socket in sockets(case.policy)
    ]
    placed += [
        (container.id, container.network_type, f"{container.place.path}.id") for container in case.policy.containers
    ]
    for number, network, path in placed:
        allowed, numbers = _RANGES[network]
        if number not in numbers:
            yield path, f"container {number} cannot be in the {network} network: its containers are {allowed}"


def container_ids_once(case: Case) -> Found:
    """Within each list, and among the hops that are containers."""
    policy = case.policy
    networking = policy.socket_networking
    lists = [
        [(socket.container_id, f"{socket.place.path}.container_id") for socket in networking.privacy_sockets],
        [(socket.container_id, f"{socket.place.path}.container_id") for socket in networking.mesh_sockets],
        [(container.id, f"{container.place.path}.id") for container in policy.containers],
        [
            (hop.container_id, hop.container_path)
            for hop in sound_hops(case, "container_id")
            if hop.container_id is not None
        ],
    ]
    for entries in lists:
        first: dict[int, str] = {}
        for number, path in entries:
            if number in first:
                yield path, f"container {number} is used twice, first in {case.line(first[number])}: each has one role"
            first.setdefault(number, path)


def names_once(case: Case) -> Found:
    """Every interface begins its life in the node's namespace, where a name exists once."""
    policy = case.policy
    networking = policy.socket_networking
    hop_ports = {hop.port for hop in hops(policy) if hop.container_id is not None}
    of_hops = [socket for socket in networking.privacy_sockets if socket.name in hop_ports]  # the hops' own ports
    others = [socket for socket in networking.privacy_sockets if socket.name not in hop_ports]
    claims = [("the bridge", policy.bridge_name, f"{ROOT}.bridge_name")]
    claims += [(f"the port of the {hop.title}", hop.port, hop.port_path) for hop in sound_hops(case)]
    claims += _socket_names([*others, *networking.mesh_sockets])
    for gateway, path in gateway_paths(policy):
        if gateway.enabled and case.knows(f"{path}.enabled", f"{path}.container_id"):  # which is in the default name
            claims.append(("the gateway's WireGuard device", gateway.device, f"{path}.device"))
    if policy.warp.enabled and case.knows(f"{ROOT}.warp.enabled"):
        claims.append(("the WARP device", policy.warp.device, f"{ROOT}.warp.device"))
    if policy.netmaker.enabled and case.knows(*(f"{ROOT}.{path}" for path in MESH_PORT)):
        claims.append(("the mesh port", policy.netmaker.interface, f"{ROOT}.netmaker.interface"))
        if policy.netmaker.device != policy.netmaker.interface:  # the same: an Ethernet device that is the port
            claims.append(("the mesh device", policy.netmaker.device, f"{ROOT}.netmaker.device"))
    yield from _once(case, [claim for claim in claims if case.knows(claim[2])])
    yield from _once(case, _socket_names(of_hops))
    names = [("a container", container.name, f"{container.place.path}.name") for container in policy.containers]
    yield from _once(case, names)


def _socket_names(listed: list[Socket]) -> list[tuple[str, str, str]]:
    return [("a socket", socket.name, f"{socket.place.path}.name") for socket in listed]


def _once(case: Case, claims: list[tuple[str, str, str]]) -> Found:
    """``claims``: (what, its name, path of the name)."""
    first: dict[str, tuple[str, str]] = {}
    for what, name, path in claims:
        if name in first:
            other, other_path = first[name]
            both = f"{what} and of another" if what == other else f"{what} and of {other}"
            yield path, f'"{name}" is the name of {both} ({case.line(other_path)}): rename one'
        first.setdefault(name, (what, path))


def warp_namespace_free(case: Case) -> Found:
    policy = case.policy
    numbers = {hop.container_id for hop in sound_hops(case, "container_id")} | {
        socket.container_id for socket in sockets(policy)
    }
    for number in sorted(number for number in numbers if number is not None):
        if policy.warp.enabled and policy.warp.namespace == container_namespace(number):
            yield f"{ROOT}.warp.namespace", f'"{policy.warp.namespace}" is the namespace of container {number}'


def hops_have_their_sockets(case: Case) -> Found:
    """Gateways and Xrays are plugged in by a privacy socket of their own container, where sockets are listed."""
    listed = {socket.name: socket for socket in case.policy.socket_networking.privacy_sockets}
    for hop in sound_hops(case, "socket_port", "container_id"):
        if hop.container_id is None or not listed:
            continue
        socket = listed.get(hop.port)
        if socket is None:
            names = ", ".join(listed)
            yield hop.port_path, f'"{hop.port}" is no privacy socket; socket_networking.privacy_sockets has {names}'
        elif socket.container_id != hop.container_id:
            where = case.line(f"{socket.place.path}.container_id")
            message = f'socket "{hop.port}" belongs to container {socket.container_id} ({where})'
            yield hop.port_path, f"{message}, but the {hop.title} is container {hop.container_id}"


def containers_have_their_sockets(case: Case) -> Found:
    policy = case.policy
    sound = sound_hops(case, "socket_port", "interface", "container_id")
    complete = len(sound) == len(hops(policy)) and case.knows(*(f"{ROOT}.{path}" for path in (*_SOCKETS, *_FURTHER)))
    known: dict[str, tuple[int | None, NetworkType]] = {hop.port: (hop.container_id, "privacy") for hop in sound}
    known |= {socket.name: (socket.container_id, socket.port_type) for socket in sockets(policy)}
    for container in policy.containers:
        path = f"{container.place.path}.socket_port"
        if container.socket_port not in known:
            if complete:
                listed = ", ".join(known) or "none"
                yield path, f'"{container.socket_port}" is no socket; socket_networking lists {listed}'
            continue
        number, network = known[container.socket_port]
        if number != container.id:
            owner = f"container {number}" if number is not None else "the WARP hop"
            yield path, f'socket "{container.socket_port}" belongs to {owner}, not to container {container.id}'
        if network != container.network_type:
            message = f'socket "{container.socket_port}" is a {network} socket, but the container is in the'
            yield f"{container.place.path}.network_type", f"{message} {container.network_type} network"


def chain_is_possible(case: Case) -> Found:
    """A hop that is not enabled leaves the chain. What remains must have an entrance and a way out."""
    policy = case.policy
    gateway, xray = (any(hop.enabled for hop in kind) for kind in (policy.gateways, policy.xrays))
    if not gateway and (policy.warp.enabled or xray):
        yield (
            f"{ROOT}.wireguard.enabled",
            "without its gateway the chain has no entrance: enable it, or disable warp and xray too",
        )
    if xray and not policy.warp.enabled:
        yield (
            f"{ROOT}.warp.enabled",
            "Xray needs an uplink; without the WARP hop it has none: enable warp, or disable xray",
        )
    if gateway and not policy.warp.enabled and not xray:
        yield (
            f"{ROOT}.wireguard.enabled",
            "the gateway alone leads nowhere: enable warp, or disable the gateway too",
        )


def gateways_listen_apart(case: Case) -> Found:
    """Every gateway's UDP socket is in the node's namespace."""
    first: dict[int, str] = {}
    for gateway, path in gateway_paths(case.policy):
        port, here = gateway.listen_port, f"{path}.listen_port"
        if not gateway.enabled or not case.knows(here, f"{path}.enabled"):
            continue
        if port in first:
            yield here, f"UDP port {port} is another gateway's ({case.line(first[port])}): choose another"
        first.setdefault(port, here)


def sockets_are_on(case: Case) -> Found:
    """Hops and function routes are reached by sockets only."""
    policy = case.policy
    needed_by = [f"the {hop.title}" for hop in hops(policy)]
    if policy.openflow.enabled and policy.openflow.function_routing:
        needed_by.append("function routing")
    if not policy.socket_networking.enabled and needed_by:
        yield f"{ROOT}.socket_networking.enabled", f"sockets are off, but needed by {', '.join(needed_by)}"


RULES = (
    Rule(container_ranges, ()),
    Rule(container_ids_once, ()),
    Rule(gateways_listen_apart, ()),
    Rule(names_once, ()),
    Rule(warp_namespace_free, ("warp.namespace", "warp.enabled")),
    Rule(hops_have_their_sockets, ("socket_networking.privacy_sockets",)),
    Rule(containers_have_their_sockets, ()),
    Rule(chain_is_possible, _ENABLED),
    Rule(sockets_are_on, ("openflow.enabled", *_ENABLED)),
)
