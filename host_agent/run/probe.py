"""Whether a tunnel carries anything: TCP connections through it, to addresses that the policy names."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from host_agent.drivers import netlink
from host_agent.drivers.namespaces import Namespaces
from host_agent.facts.values import NodeFacts
from host_agent.roles.director_tunnels import device, way
from host_agent.state import NODE
from policies.addresses import address_plan
from policies.host_model import MAIN, Director, Policy
from policies.model import Target


@dataclass(frozen=True)
class Probe:
    """``device``: what the connection is bound to; None: the namespace's own routes lead through the tunnel."""

    namespace: str
    target: Target
    device: str | None = None


@dataclass(frozen=True)
class NoWay:
    """What cannot be probed: the tunnel's table has no default route for the target."""

    target: Target


Probes = Mapping[str, tuple[Probe | NoWay, ...]]  # by device or tunnel; all of one have to succeed


def judged_tunnels(director: Director) -> tuple[str, ...]:
    """The names of tunnels that clients may be sent to."""
    names = dict.fromkeys(name for tunnel in director.tunnels for name in (tunnel.name, *tunnel.failover))
    return tuple(name for name in names if name != MAIN)


def probes(policy: Policy, facts: NodeFacts, namespaces: Namespaces) -> Probes:
    """Those that the policy asks for."""
    return {**dict(_of_warp(policy)), **dict(_of_tunnels(policy.director or Director(), facts, namespaces))}


def _of_warp(policy: Policy) -> Iterator[tuple[str, tuple[Probe, ...]]]:
    """Through the WARP tunnel goes what Xray's namespace sends."""
    chain = policy.privacy_router
    hop = next(iter(address_plan(chain).of("xray")), None) if chain else None
    if chain and hop and chain.warp.probe:
        yield chain.warp.device, (Probe(hop.namespace, chain.warp.probe),)


def _of_tunnels(
    director: Director, facts: NodeFacts, namespaces: Namespaces
) -> Iterator[tuple[str, tuple[Probe | NoWay, ...]]]:
    probed = [tunnel for tunnel in director.tunnels if tunnel.probe]
    if not probed:
        return
    node = namespaces.netlink(NODE)
    routes = [route for found in netlink.routes(node, netlink.links(node)) for route in found]
    for tunnel in probed:
        taken = way(tunnel.name, facts)
        devices = [(target, device(taken, target.address.version, routes)) for target in tunnel.probe]
        yield tunnel.name, tuple(Probe(NODE, target, link) if link else NoWay(target) for target, link in devices)


def connects(probe: Probe, namespace_path: str, seconds: float) -> bool:
    """Whether the other side answers; a refusal is an answer, too. Moves the calling thread back afterwards.

    Bound to a device, a packet leaves by it and by no other (SO_BINDTODEVICE in socket(7)).
    """
    address, port = probe.target
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with Namespaces({probe.namespace: namespace_path}).inside(probe.namespace):
            connection = socket.socket(family, socket.SOCK_STREAM)
        with connection:
            if probe.device is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, probe.device.encode())
            connection.settimeout(seconds)
            connection.connect((str(address), port))
    except OSError as error:
        return error.errno == errno.ECONNREFUSED
    return True
