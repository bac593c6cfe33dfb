"""The switch ports, each moved into its hop's or container's network namespace and addressed there."""

from __future__ import annotations

from ipaddress import IPv4Interface

from host_agent.facts.values import Facts
from host_agent.state import Address, HostState, Link, NamespaceState, Sysctl
from policies.model import PrivacyRouter
from topology.plan import AddressPlan, Hop, MeshSocket


def sockets(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> HostState:
    """A privacy namespace that no container has is ours to make; a mesh container's port waits for it."""
    namespaces = {hop.namespace: _hop(hop, facts) for hop in plan.hops}
    there = [socket for socket in plan.mesh if socket.namespace in facts.namespaces]
    namespaces |= {socket.namespace: _mesh(socket) for socket in there}
    waiting = tuple(
        f"{socket.port} waits for container {socket.container_id}" for socket in plan.mesh if socket not in there
    )
    return HostState(namespaces=namespaces, waiting=waiting)


def _hop(hop: Hop, facts: Facts) -> NamespaceState:
    settings = {Sysctl(f"net/ipv4/conf/{hop.port}/{key}", "0") for key in ("rp_filter", "send_redirects")}
    if facts.ipv6:
        settings.add(Sysctl(f"net/ipv6/conf/{hop.port}/disable_ipv6", "1"))  # the chain speaks IPv4 only
    return NamespaceState(
        created=True,
        links=frozenset({Link(hop.port, "socket")}),
        addresses=frozenset({Address(hop.port, hop.address)}),
        sysctls=frozenset(settings),
    )


def _mesh(socket: MeshSocket) -> NamespaceState:
    addresses = {Address(socket.port, socket.address)} if socket.address else set()
    addresses |= {Address(socket.port, IPv4Interface(service.ip)) for service in socket.services}
    return NamespaceState(links=frozenset({Link(socket.port, "socket")}), addresses=frozenset(addresses))


def hop_sysctls(forwarding: bool) -> frozenset[Sysctl]:
    """What a hop's namespace needs whatever its links are.

    The reverse path filter would drop what comes back by the chain's asymmetric paths; src_valid_mark=1, which VPN
    tools set, would drop what TPROXY marked; redirects would teach hops to leave the hub out.
    """
    off = ("rp_filter", "src_valid_mark", "send_redirects", "accept_redirects")
    return frozenset(
        {Sysctl("net/ipv4/ip_forward", "1" if forwarding else "0")}
        | {Sysctl(f"net/ipv4/conf/all/{key}", "0") for key in off}
    )
