"""Table 0: which port may send what.

A packet is admitted by its in_port and by a source that belongs there; it leaves for the table of its side. What a
known port sends otherwise is dropped under the port's own name, so that its counter tells who sends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface

from policies.model import PrivacyRouter
from policies.placement import NodeView
from ryu_apps.backends import answered_entries
from ryu_apps.flow import CLASSIFY, MESH, PRIVACY_CHAIN, FlowEntry, GotoTable, fields
from topology.plan import AddressPlan, Hop, subnet_address

IPV6_POLICY = 300
ADMISSION = 200
ANTI_SPOOFING = 100


def classify_entries(view: NodeView, plan: AddressPlan) -> Iterator[FlowEntry]:
    policy = view.policy
    for hop in plan.hops:
        yield from _privacy_port(hop.port, hop.title)
        yield from _hop(policy, hop)
    for port, address in _other_privacy_sockets(policy):
        yield from _privacy_port(port, "privacy socket")
        yield from _own_address(port, address, PRIVACY_CHAIN)
    for socket in plan.mesh:
        yield _refused(socket.port, socket.function or "mesh socket")
        for interface in (socket.address, *socket.services):
            if interface is not None:
                yield from _own_address(socket.port, interface, MESH)
    yield from answered_entries(view)
    if policy.netmaker.enabled:
        port = policy.netmaker.interface
        yield _refused(port, "Netmaker mesh")
        yield _admitted(port, MESH, ip="", nw_src=str(policy.netmaker.subnet))
        # The node asks for containers with whatever address it has; who answers is decided in the mesh table.
        yield _admitted(port, MESH, arp="")


def _privacy_port(port: str, title: str) -> Iterator[FlowEntry]:
    yield FlowEntry(
        CLASSIFY, IPV6_POLICY, fields(in_port=port, ipv6=""), (), "ipv6 policy", f"IPv6 of {title} is dropped"
    )
    yield _refused(port, title)


def _hop(policy: PrivacyRouter, hop: Hop) -> Iterator[FlowEntry]:
    clients = str(policy.chain.client_subnet)
    own = str(hop.address.ip)
    yield _admitted(hop.port, PRIVACY_CHAIN, arp="", arp_spa=own)
    match hop.kind:
        case "gateway":
            yield _admitted(hop.port, PRIVACY_CHAIN, ip="", nw_src=clients)
            yield _admitted(hop.port, PRIVACY_CHAIN, ip="", nw_src=own)
        case "warp":
            # Clients' packets, and answers from the whole Internet, both ways: any source is right here.
            yield _admitted(hop.port, PRIVACY_CHAIN, ip="")
        case "xray":
            # A transparent proxy answers clients in the name of the address they called.
            yield _admitted(hop.port, PRIVACY_CHAIN, ip="", nw_dst=clients)
            yield _admitted(hop.port, PRIVACY_CHAIN, ip="", nw_src=own)


def _other_privacy_sockets(policy: PrivacyRouter) -> Iterator[tuple[str, IPv4Interface]]:
    """Privacy sockets that belong to no hop; those of a disabled hop have left the chain and stay unknown."""
    hops = {policy.wireguard.socket_port, policy.xray.socket_port, policy.warp.interface}
    for socket in policy.socket_networking.privacy_sockets:
        if socket.name not in hops:
            yield socket.name, subnet_address(policy.chain.subnet, socket.container_id)


def _own_address(port: str, address: IPv4Interface, table: int) -> Iterator[FlowEntry]:
    yield _admitted(port, table, ip="", nw_src=str(address.ip))
    yield _admitted(port, table, arp="", arp_spa=str(address.ip))


def _admitted(port: str, table: int, **texts: str) -> FlowEntry:
    return FlowEntry(
        CLASSIFY, ADMISSION, fields(in_port=port, **texts), (GotoTable(table),), f"admission {port}", "a source it owns"
    )


def _refused(port: str, title: str) -> FlowEntry:
    return FlowEntry(
        CLASSIFY,
        ANTI_SPOOFING,
        fields(in_port=port),
        (),
        f"anti-spoofing {port}",
        f"{title}: a source or a protocol that is not its own",
    )
