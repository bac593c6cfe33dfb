"""The node's side of the mesh: joins Netmaker's device, which speaks IP only, to the switch port of the mesh.

What comes out of the switch by the port goes into the device, what comes from the device goes to the switch, and
nothing passes between these two and anything else. Which containers are here is the switch's business alone: when one
moves, no route of the node stands in its way. On the port the node answers ARP for everything behind the device
(proxy_arp). Where the interface itself is an Ethernet device, it is the port, and there is nothing to join.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from host_agent.facts.values import Facts
from host_agent.roles.mss import CLAMP
from host_agent.state import (
    EVERY_IPV4,
    FORWARDING_PREFERENCE,
    LAST_METRIC,
    NODE,
    Address,
    Chain,
    HostState,
    Link,
    NamespaceState,
    Route,
    Rule,
    Sysctl,
    filter_rule,
)
from policies.model import PrivacyRouter
from topology.plan import AddressPlan


def port(policy: PrivacyRouter, facts: Facts) -> str | None:
    """The switch port of the mesh, if it can be joined now."""
    netmaker = policy.netmaker
    if not netmaker.enabled or facts.mesh_device is None:
        return None
    return netmaker.interface if is_adopted(policy) or own_address(policy, facts) else None


def is_adopted(policy: PrivacyRouter) -> bool:
    """Whether somebody else's Ethernet device is the port itself."""
    return policy.netmaker.device == policy.netmaker.interface


def own_address(policy: PrivacyRouter, facts: Facts) -> IPv4Address | None:
    """The node's own address in the mesh."""
    if policy.netmaker.mesh_address is not None:
        return policy.netmaker.mesh_address
    return next((address for address in facts.mesh_device or () if address in policy.netmaker.subnet), None)


def mesh(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> HostState:
    netmaker, name = policy.netmaker, port(policy, facts)
    if not netmaker.enabled or (name is not None and is_adopted(policy)):
        return HostState()
    if facts.mesh_device is None:
        return HostState(
            waiting=(f"{netmaker.interface} waits for the device {netmaker.device}, which Netmaker makes",)
        )
    own = own_address(policy, facts)
    if name is None or own is None:
        where = f"{netmaker.device} has no address in {netmaker.subnet}, and netmaker.mesh_address is not set"
        return HostState(waiting=(f"{netmaker.interface} waits for this node's address: {where}",))
    routes, rules = _routing(policy, plan, name, facts.node_forwards)
    state = NamespaceState(
        links=frozenset({Link(name, "socket")}),
        addresses=frozenset({Address(name, IPv4Interface(own))}),
        routes=routes,
        rules=rules,
        sysctls=_sysctls(name, netmaker.device, facts),
        chains=_chains(name, netmaker.device, netmaker.subnet),
    )
    return HostState(namespaces={NODE: state})


def _routing(
    policy: PrivacyRouter, plan: AddressPlan, name: str, node_forwards: bool
) -> tuple[frozenset[Route], frozenset[Rule]]:
    """By the interface that a packet came in by. The node itself reaches the containers that are here by the port."""
    subnet, device = policy.netmaker.subnet, policy.netmaker.device
    routes = {Route(IPv4Network(it.address.ip), link=name) for it in plan.mesh if it.address is not None}
    rules = set()
    device_preference = FORWARDING_PREFERENCE + node_forwards  # the next one says nothing about forwarding
    for preference, table, incoming, outgoing in ((230, 1003, name, device), (device_preference, 1004, device, name)):
        rules.add(Rule(preference, table, incoming))
        routes |= {
            Route(subnet, link=outgoing, table=table),
            Route(EVERY_IPV4, "unreachable", table=table, metric=LAST_METRIC),
        }
    return frozenset(routes), frozenset(rules)


def _sysctls(name: str, device: str, facts: Facts) -> frozenset[Sysctl]:
    """Forwarding by interface, never that of the whole node. An answer to ARP must not wait its usual random time.

    The switch has checked the sources of what comes by the port; the filter would judge by where a container was.
    """
    settings = {
        Sysctl(f"net/ipv4/conf/{name}/forwarding", "1"),
        Sysctl(f"net/ipv4/conf/{name}/proxy_arp", "1"),
        Sysctl(f"net/ipv4/conf/{name}/send_redirects", "0"),
        Sysctl(f"net/ipv4/conf/{name}/rp_filter", "0"),
        Sysctl(f"net/ipv4/neigh/{name}/proxy_delay", "0"),
    }
    if not facts.node_forwards:
        settings.add(Sysctl(f"net/ipv4/conf/{device}/forwarding", "1"))
    if facts.ipv6:
        settings.add(Sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1"))  # the mesh speaks IPv4 only
    return frozenset(settings)


def _chains(name: str, device: str, subnet: IPv4Network) -> frozenset[Chain]:
    between = f"-s {subnet} -d {subnet} -j ACCEPT"
    return frozenset(
        {
            Chain(
                "ipv4",
                "filter",
                "FORWARD",
                (
                    filter_rule(f"-i {name} -o {device} {between}", "mesh"),
                    filter_rule(f"-i {device} -o {name} {between}", "mesh"),
                    filter_rule(f"-i {name} -j DROP", "mesh containers go nowhere else"),
                    filter_rule(f"-o {name} -j DROP", "nothing else goes to mesh containers"),
                    filter_rule(f"-i {device} -j DROP", "nor from the mesh to anywhere else"),
                ),
            ),
            Chain(
                "ipv4",
                "mangle",
                "FORWARD",
                (filter_rule(f"-i {name} -o {device} {CLAMP}"), filter_rule(f"-i {device} -o {name} {CLAMP}")),
            ),
        }
    )
