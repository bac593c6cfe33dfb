"""Where a client's packet comes into this machine, and where it goes on after a proxy. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address

from host_agent.errors import Refused
from host_agent.explain.decide import explain
from host_agent.explain.rules import Packet
from host_agent.explain.values import Explanation, Line, Surroundings
from host_agent.facts.values import Facts
from host_agent.roles.gateway import IPV6_SUBNET
from host_agent.state import NODE, HostState, IPAddress
from host_agent.steps import at
from policies.addresses import address_plan
from policies.host_model import Client, Director, Mac, Policy
from policies.model import PrivacyRouter

SERVICE = re.compile(r"(tcp|udp)(?:/([0-9]{1,5}))?|icmp")
USUAL_PORT = 443


def packet(client: str, destination: IPAddress, service: str) -> Packet:
    """From the words of the command line. Raises Refused."""
    problems = []
    try:
        source = ip_address(client)
    except ValueError:
        problems.append(f"CLIENT: expected an IP address, got {client!r}")
    found = SERVICE.fullmatch(service)
    if found is None or int(found[2] or 1) not in range(1, 65536):
        problems.append(f"expected tcp, udp, tcp/PORT, udp/PORT or icmp, got {service!r}")
    if problems or found is None:
        raise Refused(*problems)
    if source.version != destination.version:
        raise Refused(f"{source} and {destination} are of two families")
    if found[1] is None:
        return Packet(source, destination, "icmp")
    return Packet(source, destination, "tcp" if found[1] == "tcp" else "udp", int(found[2] or USUAL_PORT))


def way(
    policy: Policy, state: HostState, facts: Facts, sent: Packet, surroundings: Surroundings | None = None
) -> Explanation:
    """From the client to where the packet ends, and what a proxy makes of it. Raises Refused for no client of ours."""
    namespace, device = _entry(policy, sent.source)
    if namespace != NODE and not _has_peer(state, namespace, device, sent.source):
        words = f"WireGuard device {device}: no peer has the address {sent.source}, so nothing from there comes in"
        return Explanation((Line(at(namespace), words),), "dropped", namespace=namespace)
    first = explain(state, namespace, replace(sent, incoming=device), surroundings)
    if namespace == NODE and policy.director is not None:
        said = tuple(Line(at(NODE), words) for words in _unnamed(policy.director, sent.source))
        first = replace(first, lines=(*said, *first.lines))
    if first.port is None or policy.privacy_router is None:
        return first
    onward = _from_proxy(policy.privacy_router, facts, first)
    if onward is None:
        return first
    between = Line("", "what Xray sends for it, in VLESS over TLS:")
    second = explain(state, first.namespace, onward, surroundings)
    return replace(second, lines=(*first.lines, between, *second.lines), port=first.port)


def _entry(policy: Policy, client: IPAddress) -> tuple[str, str]:
    chain, director = policy.privacy_router, policy.director
    gateways = address_plan(chain).of("gateway") if chain else ()
    for hop in gateways:
        if chain and hop.clients and (client in hop.clients or client in IPV6_SUBNET):
            return hop.namespace, next(it.device for it in chain.gateways if it.socket_port == hop.port)
    if director is not None:
        return NODE, director.advanced.lan.interfaces[0]
    subnets = " and ".join(str(hop.clients) for hop in gateways) or "the policy"
    raise Refused(f"{client} is no client of the chain: those are in {subnets}")


def _has_peer(state: HostState, namespace: str, device: str, client: IPAddress) -> bool:
    """WireGuard takes a packet only from the peer whose AllowedIPs have its source."""
    peers = (peer for it in state.namespace(namespace).wireguard if it.name == device for peer in it.peers)
    return any(client in network for peer in peers for network in peer.allowed_ips)


def _unnamed(director: Director, client: IPAddress) -> Iterator[str]:
    """Why the policy leaves this host alone, if it does."""
    if _is_among(director.paused_clients, client):
        yield f"{client} is paused: the packet goes as if nobody had named it"
    elif not any(_is_among(it, client) for it in (director.xray.clients, *(it.clients for it in director.tunnels))):
        yield f"no item of the policy names {client} (its MAC address is not known here)"


def _is_among(clients: Iterable[Client], address: IPAddress) -> bool:
    return any(address in it for it in clients if not isinstance(it, Mac))


def _from_proxy(chain: PrivacyRouter, facts: Facts, first: Explanation) -> Packet | None:
    """Xray's own connection to the VPS, if it is the chain's Xray that was met."""
    settings = {xray.socket_port: xray for xray in chain.xrays}
    for hop in address_plan(chain).of("xray"):
        xray = settings[hop.port]
        servers = facts.addresses.get(xray.vps_address, ())
        if hop.namespace == first.namespace and servers:
            return Packet(hop.address.ip, servers[0], "tcp", xray.vps_port)
    return None
