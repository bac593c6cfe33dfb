"""Whether a tunnel carries anything: a TCP connection through it, to an address that the policy names."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from host_agent.drivers import netlink
from host_agent.drivers.namespaces import Namespaces
from host_agent.facts.values import NodeFacts
from host_agent.roles.director_tunnels import Way, way
from host_agent.state import NODE
from policies.addresses import address_plan
from policies.host_model import MAIN, Director, Policy

EVERYTHING = IPv4Network("0.0.0.0/0")


@dataclass(frozen=True)
class Probe:
    """``device``: what the connection is bound to; None: the namespace's own routes lead through the tunnel."""

    namespace: str
    address: str
    port: int
    device: str | None = None


Probes = Mapping[str, Probe | None]  # by device or tunnel; None: there is no way through this one to probe


def judged_tunnels(director: Director) -> tuple[str, ...]:
    """The names of tunnels that clients may be sent to."""
    names = dict.fromkeys(name for tunnel in director.tunnels for name in (tunnel.name, *tunnel.failover))
    return tuple(name for name in names if name != MAIN)


def probes(policy: Policy, facts: NodeFacts, namespaces: Namespaces) -> Probes:
    """Those that the policy asks for."""
    return {**dict(_of_warp(policy)), **dict(_of_tunnels(policy.director or Director(), facts, namespaces))}


def _of_warp(policy: Policy) -> Iterator[tuple[str, Probe]]:
    """Through the WARP tunnel goes what Xray's namespace sends."""
    chain = policy.privacy_router
    hop = next(iter(address_plan(chain).of("xray")), None) if chain else None
    if chain and hop and chain.warp.probe:
        yield chain.warp.device, Probe(hop.namespace, *_target(chain.warp.probe))


def _of_tunnels(director: Director, facts: NodeFacts, namespaces: Namespaces) -> Iterator[tuple[str, Probe | None]]:
    for tunnel in director.tunnels:
        if tunnel.probe:
            device = _device(way(tunnel.name, facts), namespaces)
            yield tunnel.name, Probe(NODE, *_target(tunnel.probe), device) if device else None


def _device(taken: Way, namespaces: Namespaces) -> str | None:
    """The interface that a tunnel is, or that its table's default route leads to."""
    if taken.link:
        return taken.link
    node = namespaces.netlink(NODE)
    routes = (route for found in netlink.routes(node, netlink.links(node)) for route in found)
    defaults = [it for it in routes if (it.table, it.destination) == (taken.table, EVERYTHING) and it.link]
    return min(defaults, key=lambda route: route.metric).link if defaults else None


def _target(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


def connects(probe: Probe, namespace_path: str, seconds: float) -> bool:
    """Whether the other side answers; a refusal is an answer, too. Moves the calling thread back afterwards.

    Bound to a device, a packet leaves by it even where no route leads there (ip(7), SO_BINDTODEVICE in socket(7)).
    """
    try:
        with Namespaces({probe.namespace: namespace_path}).inside(probe.namespace):
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with connection:
            if probe.device is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, probe.device.encode())
            connection.settimeout(seconds)
            connection.connect((probe.address, probe.port))
    except OSError as error:
        return error.errno == errno.ECONNREFUSED
    return True
