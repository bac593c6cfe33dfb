"""The gateway hops: WireGuard servers whose clients have one way on, the next hop of the chain."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_network

from host_agent.errors import Refused
from host_agent.facts.identity import GatewayKeys
from host_agent.facts.profile import Profile
from host_agent.facts.values import Facts, public_key
from host_agent.roles.sockets import hop_sysctls
from host_agent.state import (
    EVERY_IPV4,
    LAST_METRIC,
    Address,
    Chain,
    File,
    HostState,
    Link,
    NamespaceState,
    Peer,
    Route,
    Sysctl,
    WireGuardDevice,
    combine,
    filter_rule,
)
from policies.model import Gateway, PrivacyRouter
from topology.plan import AddressPlan, Hop, subnet_address

MTU = 1420
CLIENT_HOST_PART = 2  # the first client; the gateway is 1
IPV6_SUBNET = IPv6Network("fd00:100::/64")  # so that clients send their IPv6 into the tunnel, where it ends


def gateways(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> HostState:
    hops, next_hop = plan.of("gateway"), plan.warp
    if not hops:
        return HostState()
    if next_hop is None:
        raise Refused("warp.enabled: the gateway's clients leave by the WARP hop; without it there is no way on")
    settings = {gateway.socket_port: gateway for gateway in policy.gateways}
    return combine(_gateway(settings[hop.port], hop, next_hop, facts) for hop in hops)


def _gateway(settings: Gateway, hop: Hop, next_hop: Hop, facts: Facts) -> HostState:
    assert hop.clients is not None
    device = settings.device
    addresses = {Address(device, subnet_address(hop.clients, 1))}
    sysctls = {*hop_sysctls(forwarding=True), Sysctl(f"net/ipv4/conf/{device}/rp_filter", "0")}
    chains = set()
    if facts.ipv6:
        addresses.add(Address(device, IPv6Interface((IPV6_SUBNET[1], IPV6_SUBNET.prefixlen))))
        # Before routing: a packet that finds no route is refused without passing a chain, and is not counted.
        dropped = filter_rule(f"-i {device} -j DROP", "IPv6 of privacy clients")
        chains.add(Chain("ipv6", "mangle", "PREROUTING", (dropped,)))
    state = NamespaceState(
        created=True,
        links=frozenset({Link(device, "wireguard", MTU)}),
        addresses=frozenset(addresses),
        routes=frozenset(
            {
                Route(EVERY_IPV4, link=hop.port, via=next_hop.address.ip),
                Route(EVERY_IPV4, "unreachable", metric=LAST_METRIC),
            }
        ),
        sysctls=frozenset(sysctls),
        chains=frozenset(chains),
        wireguard=frozenset({_device(settings, hop.clients, facts)}),
    )
    files, waiting = _profile_file(settings, hop.clients, facts)
    return HostState(namespaces={hop.namespace: state}, files=files, waiting=waiting)


def _device(settings: Gateway, clients: IPv4Network, facts: Facts) -> WireGuardDevice:
    profile = facts.gateway_profiles.get(settings.container_id)
    if profile is not None:
        return WireGuardDevice(settings.device, profile.private_key, settings.listen_port, _peers(profile))
    keys = _keys(settings, facts)
    client = Peer(
        public_key(keys.client_key),
        keys.client_preshared_key,
        frozenset(ip_network(address.ip) for address in _client_addresses(clients)),
    )
    return WireGuardDevice(settings.device, keys.private_key, settings.listen_port, frozenset({client}))


def _keys(settings: Gateway, facts: Facts) -> GatewayKeys:
    assert facts.identity is not None
    return facts.identity.gateways[settings.container_id]


def _peers(profile: Profile) -> frozenset[Peer]:
    return frozenset(Peer(peer.public_key, peer.preshared_key, peer.allowed_ips) for peer in profile.peers)


def _client_addresses(clients: IPv4Network) -> tuple[IPv4Interface | IPv6Interface, ...]:
    return (
        subnet_address(clients, CLIENT_HOST_PART),
        IPv6Interface((IPV6_SUBNET[CLIENT_HOST_PART], IPV6_SUBNET.prefixlen)),
    )


def _profile_file(settings: Gateway, clients: IPv4Network, facts: Facts) -> tuple[frozenset[File], tuple[str, ...]]:
    """The first client's wg-quick file: what the user copies to the phone or laptop."""
    if settings.container_id in facts.gateway_profiles:
        return frozenset(), ()
    host, keys = settings.endpoint or facts.client_endpoint, _keys(settings, facts)
    path = facts.state_dir / "clients" / f"client{keys.name}-1.conf"
    if host is None:
        return frozenset(), (f"{path} waits for an address to dial: set wireguard.endpoint",)
    addresses = ", ".join(str(ip_network(address.ip)) for address in _client_addresses(clients))
    lines = [
        "[Interface]",
        f"PrivateKey = {keys.client_key.text}",
        f"Address = {addresses}",
        *([f"DNS = {', '.join(map(str, settings.dns))}"] if settings.dns else []),
        f"MTU = {MTU}",
        "",
        "[Peer]",
        f"PublicKey = {public_key(keys.private_key)}",
        f"PresharedKey = {keys.client_preshared_key.text}",
        "AllowedIPs = 0.0.0.0/0, ::/0",
        f"Endpoint = {host}:{settings.listen_port}",
        "PersistentKeepalive = 25",
        "",
    ]
    return frozenset({File(str(path), "\n".join(lines).encode())}), ()
