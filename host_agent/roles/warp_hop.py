"""The WARP hop, the hub of the chain: routing by source decides whether a packet goes on or into the tunnel.

Clients' packets go to Xray, Xray's own go into the WARP device, replies to clients go to the gateway. Behind each
of these stands ``unreachable``: when the device is gone, packets are refused and never take another way.
"""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address

from host_agent.errors import Refused
from host_agent.facts import Facts
from host_agent.profile import Profile
from host_agent.roles.sockets import hop_sysctls
from host_agent.state import (
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
from topology.plan import AddressPlan

CLIENTS_TABLE, TUNNEL_TABLE = 1001, 1002
CLIENTS_PREFERENCE, TUNNEL_PREFERENCE = 210, 220
MTU = 1280  # what WARP carries, if the profile names no other
KEEPALIVE = 25  # seconds; a tunnel that was cut is tried again within this time
EVERYTHING = IPv4Network("0.0.0.0/0")


def warp_hop(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> HostState:
    hop, profile = plan.hop("warp"), facts.warp_profile
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
        chains=_chains(warp.device),
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
    port, device, clients = policy.warp.interface, policy.warp.device, policy.chain.client_subnet
    gateway, xray = plan.hop("gateway"), plan.hop("xray")
    routes = {Route(EVERYTHING, "unreachable", metric=LAST_METRIC)}
    rules = set()
    if xray:
        rules.add(Rule(TUNNEL_PREFERENCE, TUNNEL_TABLE, port, IPv4Network(xray.address.ip)))
        routes |= {
            Route(EVERYTHING, link=device, table=TUNNEL_TABLE),
            Route(EVERYTHING, "unreachable", table=TUNNEL_TABLE, metric=LAST_METRIC),
        }
    if gateway:
        # The tunnel's table needs it too: what Xray itself tells a client must not go to WARP.
        tables = (MAIN_TABLE, TUNNEL_TABLE) if xray else (MAIN_TABLE,)
        routes |= {Route(clients, link=port, via=gateway.address.ip, table=table) for table in tables}
        rules.add(Rule(CLIENTS_PREFERENCE, CLIENTS_TABLE, port, clients))
        onward = Route(EVERYTHING, link=port, via=xray.address.ip, table=CLIENTS_TABLE) if xray else None
        routes |= {
            onward or Route(EVERYTHING, link=device, table=CLIENTS_TABLE),
            Route(EVERYTHING, "unreachable", table=CLIENTS_TABLE, metric=LAST_METRIC),
        }
    return frozenset(routes), frozenset(rules)


def _chains(device: str) -> frozenset[Chain]:
    clamp = "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"
    closed = filter_rule(f"-i {device} -m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP", "nothing new from WARP")
    return frozenset(
        {
            Chain("ipv4", "nat", "POSTROUTING", (filter_rule(f"-o {device} -j MASQUERADE"),)),
            Chain(
                "ipv4",
                "mangle",
                "FORWARD",
                (filter_rule(f"-o {device} {clamp}"), filter_rule(f"-i {device} {clamp}")),
            ),
            Chain("ipv4", "filter", "FORWARD", (closed,)),
            Chain("ipv4", "filter", "INPUT", (closed,)),
        }
    )
