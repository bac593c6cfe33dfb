"""Packets that are worth a trace with the policy in force, for who does not know its ports by heart. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from policies.addresses import chain_hops
from ryu_apps.flows.flow import CLASSIFY, MESH, FlowEntry, GotoTable, Match
from ryu_apps.openflow.ofctl import match_text
from ryu_apps.openflow.oxm_fields import BY_NAME
from ryu_apps.packets.cubes import Cube
from ryu_apps.packets.headers import Space
from ryu_apps.policy.file import CompiledPolicy
from ryu_apps.rest.view import Json
from ryu_apps.rest.view_chain import function_of

_WEB_SERVER = "198.51.100.80"  # of nobody (RFC 5737)


def example_packets(compiled: CompiledPolicy) -> list[Json]:
    """Each with its title: a client's, and a call of a function."""
    found = [*_of_a_client(compiled), *_of_a_function(compiled.entries)]
    return [{"title": title, "packet": match_text(packet)} for title, packet in found]


def _of_a_client(compiled: CompiledPolicy) -> Iterator[tuple[str, Match]]:
    gateway = next((hop for hop in chain_hops(compiled.policy) if hop.kind == "gateway"), None)
    if gateway is None or gateway.clients is None:
        return
    first = gateway.clients.network_address + 2  # the first one is the gateway's own
    port = ("in_port", gateway.port)
    web = (port, ("nw_dst", _WEB_SERVER), ("nw_src", str(first)), ("tcp", ""), ("tp_dst", "443"))
    yield "a client's packet", web
    yield "its IPv6", (port, ("ipv6", ""))


def _of_a_function(entries: Collection[FlowEntry]) -> Iterator[tuple[str, Match]]:
    """A packet that a mesh port may send and that the first function takes, unless it goes back by that very port."""
    route = next((flow for flow in entries if flow.table == MESH and flow.place and flow.outputs), None)
    if route is None:
        return
    space = Space()
    wanted = space.cube(route.match)
    for flow in entries:
        if flow.table == CLASSIFY and GotoTable(MESH) in flow.actions and flow.in_port not in (None, *route.outputs):
            both = space.cube(flow.match).meet(wanted)
            if both:
                call = f"a call of {function_of(route.item)} from {flow.in_port}"
                yield call, space.match(_one_of(space, both))
                return


def _one_of(space: Space, cube: Cube) -> Cube:
    """One packet of many: the lowest addresses, but no network's own."""
    bits = space.fields_of(cube.mask)
    lowest = sum(1 << space.slot(BY_NAME[name].key).offset for name in ("nw_src", "nw_dst"))
    return Cube(bits, cube.value | lowest & bits & ~cube.mask)
