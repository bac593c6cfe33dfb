"""The gateway hop: a WireGuard server whose clients have one way on, the next hop of the chain."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_network

from host_agent.errors import Refused
from host_agent.facts import Facts, public_key
from host_agent.profile import Profile
from host_agent.roles.sockets import hop_sysctls
from host_agent.state import (
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
    filter_rule,
)
from policies.model import PrivacyRouter
from topology.plan import AddressPlan, subnet_address

MTU = 1420
CLIENT_HOST_PART = 2  # the first client; the gateway is 1
IPV6_SUBNET = IPv6Network("fd00:100::/64")  # so that clients send their IPv6 into the tunnel, where it ends
EVERYTHING = IPv4Network("0.0.0.0/0")


def gateway(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> HostState:
    hop, next_hop = plan.hop("gateway"), plan.hop("warp")
    if hop is None:
        return HostState()
    if next_hop is None:
        raise Refused("warp.enabled: the gateway's clients leave by the WARP hop; without it there is no way on")
    device = policy.wireguard.device
    addresses = {Address(device, plan.gateway_client_address)}
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
                Route(EVERYTHING, link=hop.port, via=next_hop.address.ip),
                Route(EVERYTHING, "unreachable", metric=LAST_METRIC),
            }
        ),
        sysctls=frozenset(sysctls),
        chains=frozenset(chains),
        wireguard=frozenset({_device(policy, facts)}),
    )
    files, waiting = _profile_file(policy, plan, facts)
    return HostState(namespaces={hop.namespace: state}, files=files, waiting=waiting)


def _device(policy: PrivacyRouter, facts: Facts) -> WireGuardDevice:
    settings, identity = policy.wireguard, facts.identity
    assert identity is not None
    if facts.gateway_profile is not None:
        return WireGuardDevice(
            settings.device, facts.gateway_profile.private_key, settings.listen_port, _peers(facts.gateway_profile)
        )
    client = Peer(
        public_key(identity.client_key),
        identity.client_preshared_key,
        frozenset(ip_network(address.ip) for address in _client_addresses(policy)),
    )
    return WireGuardDevice(settings.device, identity.gateway_key, settings.listen_port, frozenset({client}))


def _peers(profile: Profile) -> frozenset[Peer]:
    return frozenset(Peer(peer.public_key, peer.preshared_key, peer.allowed_ips) for peer in profile.peers)


def _client_addresses(policy: PrivacyRouter) -> tuple[IPv4Interface | IPv6Interface, ...]:
    return (
        subnet_address(policy.chain.client_subnet, CLIENT_HOST_PART),
        IPv6Interface((IPV6_SUBNET[CLIENT_HOST_PART], IPV6_SUBNET.prefixlen)),
    )


def _profile_file(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> tuple[frozenset[File], tuple[str, ...]]:
    """The first client's wg-quick file: what the user copies to the phone or laptop."""
    if facts.gateway_profile is not None:
        return frozenset(), ()
    host = policy.wireguard.endpoint or facts.client_endpoint
    path = facts.state_dir / "clients" / "client-1.conf"
    if host is None:
        return frozenset(), (f"{path} waits for an address to dial: set wireguard.endpoint",)
    identity = facts.identity
    assert identity is not None
    addresses = ", ".join(str(ip_network(address.ip)) for address in _client_addresses(policy))
    lines = [
        "[Interface]",
        f"PrivateKey = {identity.client_key.text}",
        f"Address = {addresses}",
        *([f"DNS = {', '.join(map(str, policy.wireguard.dns))}"] if policy.wireguard.dns else []),
        f"MTU = {MTU}",
        "",
        "[Peer]",
        f"PublicKey = {public_key(identity.gateway_key)}",
        f"PresharedKey = {identity.client_preshared_key.text}",
        "AllowedIPs = 0.0.0.0/0, ::/0",
        f"Endpoint = {host}:{policy.wireguard.listen_port}",
        "PersistentKeepalive = 25",
        "",
    ]
    return frozenset({File(str(path), "\n".join(lines).encode())}), ()
