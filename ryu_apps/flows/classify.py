"""Table 0: which port may send what.

A packet is admitted by its in_port and by a source that belongs there; it leaves for the table of its side. What a
known port sends otherwise is dropped under the port's own name, so that its counter tells who sends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface
from itertools import permutations

from policies.model import PrivacyRouter
from policies.placement import NodeView
from policies.rules import all_hops
from ryu_apps.flows.backends import answered_entries
from ryu_apps.flows.flow import CLASSIFY, MESH, PRIVACY_CHAIN, Action, FlowEntry, GotoTable, Match, fields, form
from topology.plan import AddressPlan, Hop, subnet_address

IPV6_POLICY = 300
CLIENTS_APART = 250
ADMISSION = 200
ANTI_SPOOFING = 100

_OWNED = "a source it owns"
_TO: dict[int, tuple[Action, ...]] = {table: (GotoTable(table),) for table in (PRIVACY_CHAIN, MESH)}


def classify_entries(view: NodeView, plan: AddressPlan) -> Iterator[FlowEntry]:
    """All but what admits the mesh sockets' own addresses (``SocketAdmission``), of which there may be very many."""
    policy = view.policy
    for hop in plan.hops:
        yield from _privacy_port(hop.port, hop.title)
        yield from _hop(hop)
    yield from _clients_apart(plan)
    for port, address in _other_privacy_sockets(policy):
        yield from _privacy_port(port, "privacy socket")
        admission = SocketAdmission(port, PRIVACY_CHAIN)
        yield from (admission.of_ip(str(address.ip)), admission.of_arp(str(address.ip)))
    for socket in plan.mesh:
        yield _refused(socket.port, socket.function or "mesh socket")
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


def _hop(hop: Hop) -> Iterator[FlowEntry]:
    own = str(hop.address.ip)
    yield _admitted(hop.port, PRIVACY_CHAIN, arp="", arp_spa=own)
    match hop.kind:
        case "gateway":
            yield _admitted(hop.port, PRIVACY_CHAIN, ip="", nw_src=str(hop.clients))
            yield _admitted(hop.port, PRIVACY_CHAIN, ip="", nw_src=own)
        case "warp":
            # Clients' packets, and answers from the whole Internet, both ways: any source is right here.
            yield _admitted(hop.port, PRIVACY_CHAIN, ip="")
        case "xray":
            # A transparent proxy answers clients in the name of the address they called.
            for share in hop.shares:
                yield _admitted(hop.port, PRIVACY_CHAIN, ip="", nw_dst=str(share))
            yield _admitted(hop.port, PRIVACY_CHAIN, ip="", nw_src=own)


def _clients_apart(plan: AddressPlan) -> Iterator[FlowEntry]:
    """The WARP hop is behind every gateway, and so the one place where clients of two could meet."""
    for gateway, other in permutations(plan.of("gateway"), 2):
        for hub in plan.of("warp"):
            for called in (other.clients, other.address.ip):
                match = fields(in_port=hub.port, ip="", nw_src=str(gateway.clients), nw_dst=str(called))
                told = f"clients of {gateway.title} call {other.title}"
                yield FlowEntry(CLASSIFY, CLIENTS_APART, match, (), "clients apart", told)


def _other_privacy_sockets(policy: PrivacyRouter) -> Iterator[tuple[str, IPv4Interface]]:
    """Privacy sockets that belong to no hop; those of a disabled hop have left the chain and stay unknown."""
    hops = {hop.port for hop in all_hops(policy)}
    for socket in policy.socket_networking.privacy_sockets:
        if socket.name not in hops:
            yield socket.name, subnet_address(policy.chain.subnet, socket.container_id)


class SocketAdmission:
    """What admits the packets of one socket, by the address that it says them from."""

    def __init__(self, port: str, table: int) -> None:
        self._by_ip, self._by_arp = form("nw_src", in_port=port, ip=""), form("arp_spa", in_port=port, arp="")
        self._actions, self._item = _TO[table], f"admission {port}"

    def of_ip(self, address: str) -> FlowEntry:
        return self._entry(self._by_ip(address))

    def of_arp(self, address: str) -> FlowEntry:
        return self._entry(self._by_arp(address))

    def _entry(self, match: Match) -> FlowEntry:
        return FlowEntry(CLASSIFY, ADMISSION, match, self._actions, self._item, _OWNED)


def _admitted(port: str, table: int, **texts: str) -> FlowEntry:
    return FlowEntry(CLASSIFY, ADMISSION, fields(in_port=port, **texts), _TO[table], f"admission {port}", _OWNED)


def _refused(port: str, title: str) -> FlowEntry:
    return FlowEntry(
        CLASSIFY,
        ANTI_SPOOFING,
        fields(in_port=port),
        (),
        f"anti-spoofing {port}",
        f"{title}: a source or a protocol that is not its own",
    )
