"""Read of the node what ``explain`` has to know about others' addresses and routes. Writes nothing."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_network

from host_agent.drivers import netlink
from host_agent.drivers.namespaces import Namespaces
from host_agent.drivers.netlink import GivenAddress
from host_agent.explain.decide import Surroundings
from host_agent.state import NODE, Route


def surroundings() -> Surroundings:
    with Namespaces({}) as here:
        node = here.netlink(NODE)
        links = netlink.links(node)
        given = netlink.all_addresses(node)
        addresses = frozenset(it.address for it in given)
        return Surroundings(addresses, netlink.routes(node, links)[1] | _connected(given, links))


def _connected(given: list[GivenAddress], links: dict[str, netlink.FoundLink]) -> frozenset[Route]:
    """The routes that the kernel itself makes for each address."""
    names = {link.index: link.name for link in links.values()}
    found = set()
    for it in given:
        with suppress(KeyError):  # a link that came a moment ago
            net = ip_network((it.address.packed, it.length), strict=False)
            found.add(Route(net, link=names[it.link]))
    return frozenset(found)
