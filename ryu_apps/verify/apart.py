"""Clients are kept apart: what one says reaches the Xray that has its share and no other, and no other's gateway.

The proof of safety allows the WARP hop to say anything to all of its neighbours. That is enough as long as there is one
gateway and one Xray; where there are more, this is what is said about which of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ryu_apps.flows.flow import fields
from ryu_apps.verify.arriving import arriving
from ryu_apps.verify.finding import Finding, Kind, named
from ryu_apps.verify.flight import Flight, leaving
from ryu_apps.verify.tables import Bridge
from topology.plan import AddressPlan, Hop


def strayed(bridge: Bridge, plan: AddressPlan) -> Iterator[Finding]:
    """Clients' packets that the WARP hop says, and that leave for the wrong Xray or gateway."""
    for hub in plan.of("warp"):
        for clients, target in _not_for(plan):
            yield from _arriving(bridge, hub, clients, target)


def _not_for(plan: AddressPlan) -> Iterator[tuple[str, Hop]]:
    """Clients, as a match on the source, and a hop that their packets must never come to."""
    for kind in ("gateway", "xray"):
        for hop in plan.of(kind):
            for other in plan.of(kind):
                if other is not hop:
                    whose = other.shares or (other.clients,)
                    yield from ((str(clients), hop) for clients in whose)


def _arriving(bridge: Bridge, hub: Hop, clients: str, target: Hop) -> Iterator[Finding]:
    said = bridge.space.cube(fields(ip="", nw_src=clients)).meet(arriving(bridge, hub.port))
    assert said is not None
    for flight in leaving(bridge, Flight(hub.port, 0, said, bridge.space.impossible()), target.port):
        example = flight.example(bridge.budget, bridge.space)
        if example is not None:
            by = named(flight.path[-1])
            happens = f"a packet of clients {clients} leaves {hub.title} for {target.title} ({target.port}) by {by}"
            yield Finding(Kind.APART, bridge.node, happens, example, flight.path)
            return
