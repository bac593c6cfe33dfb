"""The WARP hop, the hub of the chain: routing by source decides whether a packet goes on or into the tunnel.

Clients' packets go to Xray, Xray's own go into the WARP device, replies to clients go to the gateway. Behind each
of these stands ``unreachable``: when the device is gone, packets are refused and never take another way. Where there
are several Xrays, a mark says which of them has a client: its address does, by bits that no ip rule can ask for.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_address

from host_agent.errors import Refused
from host_agent.facts.profile import Profile
from host_agent.facts.values import Facts
from host_agent.roles.mss import CLAMP
from host_agent.roles.sockets import hop_sysctls
from host_agent.state import (
    EVERY_IPV4,
    LAST_METRIC,
    MAIN_TABLE,
    Address,
    Chain,
    Endpoint,
    HostState,
    Link,
    NamespaceState,
    Peer,
    Route,
    Rule,
    Sysctl,
    WireGuardDevice,
    filter_rule,
)
from policies.model import PrivacyRouter, Warp
from topology.plan import AddressPlan, Hop

CLIENTS_TABLE, TUNNEL_TABLE = 1001, 1002
SHARES_TABLE = 1100  # and the number of the Xray's container
SHARES_PREFERENCE, CLIENTS_PREFERENCE, TUNNEL_PREFERENCE = 205, 210, 220
SHARES_MASK = 0xFF  # holds the number of a privacy container
MTU = 1280  # what WARP carries, if the profile names no other
KEEPALIVE = 25  # seconds; a tunnel that was cut is tried again within this time


def warp_hop(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> HostState:
    hop, profile = plan.warp, facts.warp_profile
    if hop is None or profile is None:
        return HostState()
    warp = policy.warp
    wireguard = _device(warp, profile, facts)
    routes, rules = _routing(policy, plan)
    sysctls = {*hop_sysctls(forwarding=True), Sysctl(f"net/ipv4/conf/{warp.device}/rp_filter", "0")}
    if facts.ipv6:
        sysctls.add(Sysctl(f"net/ipv6/conf/{warp.device}/disable_ipv6", "1"))  # no router solicitations to WARP
    state = NamespaceState(
        created=True,
        links=frozenset({Link(warp.device, "wireguard", profile.mtu or MTU)}),
        addresses=frozenset(Address(warp.device, a) for a in profile.addresses if a.version == 4),
        routes=routes,
        rules=rules,
        sysctls=frozenset(sysctls),
        chains=_chains(warp.device) | _shares(policy, plan),
        wireguard=frozenset({wireguard}),
    )
    return HostState(namespaces={hop.namespace: state})


def _device(warp: Warp, profile: Profile, facts: Facts) -> WireGuardDevice:
    if len(profile.peers) != 1 or profile.peers[0].endpoint is None:
        raise Refused("the WARP profile must have exactly one [Peer], with an Endpoint; make it again: wgcf generate")
    if not any(address.version == 4 for address in profile.addresses):
        raise Refused("the WARP profile has no IPv4 Address; make it again: wgcf generate")
    (peer,) = profile.peers
    host, port = profile.peers[0].endpoint
    addresses = facts.addresses.get(host, ()) or (ip_address(host),)
    ports = dict.fromkeys((port, *warp.ports))
    endpoints = tuple(Endpoint(address, port) for port in ports for address in addresses)
    wanted = Peer(peer.public_key, peer.preshared_key, peer.allowed_ips, endpoints, KEEPALIVE)
    return WireGuardDevice(warp.device, profile.private_key, None, frozenset({wanted}))


def _routing(policy: PrivacyRouter, plan: AddressPlan) -> tuple[frozenset[Route], frozenset[Rule]]:
    port, device = policy.warp.interface, policy.warp.device
    gateways, xrays = plan.of("gateway"), plan.of("xray")
    routes = {Route(EVERY_IPV4, "unreachable", metric=LAST_METRIC)}
    rules = {Rule(TUNNEL_PREFERENCE, TUNNEL_TABLE, port, IPv4Network(xray.address.ip)) for xray in xrays}
    for gateway in gateways:
        assert gateway.clients is not None
        # The tunnel's table needs it too: what Xray itself tells a client must not go to WARP.
        tables = (MAIN_TABLE, TUNNEL_TABLE) if xrays else (MAIN_TABLE,)
        routes |= {Route(gateway.clients, link=port, via=gateway.address.ip, table=table) for table in tables}
        rules.add(Rule(CLIENTS_PREFERENCE, CLIENTS_TABLE, port, gateway.clients))
    onward = {xray: Route(EVERY_IPV4, link=port, via=xray.address.ip) for xray in xrays}
    into_tunnel = Route(EVERY_IPV4, link=device)
    if xrays:
        routes |= _table(TUNNEL_TABLE, into_tunnel)
    if gateways:
        routes |= _table(CLIENTS_TABLE, onward[xrays[0]] if xrays else into_tunnel)
    for xray, mark in _marks(policy, plan).items():
        routes |= _table(SHARES_TABLE + mark, onward[xray])
        rules |= {Rule(SHARES_PREFERENCE, SHARES_TABLE + mark, port, it.clients, mark, SHARES_MASK) for it in gateways}
    return frozenset(routes), frozenset(rules)


def _table(number: int, onward: Route) -> set[Route]:
    return {replace(onward, table=number), Route(EVERY_IPV4, "unreachable", table=number, metric=LAST_METRIC)}


def _marks(policy: PrivacyRouter, plan: AddressPlan) -> dict[Hop, int]:
    """What marks the clients of each Xray but the first, which has those that bear no mark: its container's number."""
    numbers = {xray.socket_port: xray.container_id for xray in policy.xrays}
    return {hop: numbers[hop.port] for hop in plan.of("xray")[1:]}


def _shares(policy: PrivacyRouter, plan: AddressPlan) -> frozenset[Chain]:
    rules = tuple(
        filter_rule(f"-i {policy.warp.interface} -s {share} -j MARK --set-xmark {mark:#x}/{SHARES_MASK:#x}", hop.title)
        for hop, mark in _marks(policy, plan).items()
        for share in hop.shares
    )
    return frozenset({Chain("ipv4", "mangle", "PREROUTING", rules)} if rules else ())


def _chains(device: str) -> frozenset[Chain]:
    closed = filter_rule(f"-i {device} -m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP", "nothing new from WARP")
    return frozenset(
        {
            Chain("ipv4", "nat", "POSTROUTING", (filter_rule(f"-o {device} -j MASQUERADE"),)),
            Chain(
                "ipv4",
                "mangle",
                "FORWARD",
                (filter_rule(f"-o {device} {CLAMP}"), filter_rule(f"-i {device} {CLAMP}")),
            ),
            Chain("ipv4", "filter", "FORWARD", (closed,)),
            Chain("ipv4", "filter", "INPUT", (closed,)),
        }
    )
