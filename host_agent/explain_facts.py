"""Read of the node what ``explain`` has to know about others' addresses and routes. Writes nothing."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any

from host_agent.drivers import netlink
from host_agent.drivers.namespaces import Namespaces
from host_agent.explain import Surroundings
from host_agent.state import NODE, Route


def surroundings() -> Surroundings:
    with Namespaces({}) as here:
        node = here.netlink(NODE)
        links = netlink.links(node)
        return Surroundings(netlink.all_addresses(node), netlink.routes(node, links)[1] | _connected(node, links))


def _connected(node: Any, links: dict[str, netlink.FoundLink]) -> frozenset[Route]:
    """The routes that the kernel itself makes for each address."""
    names = {link.index: link.name for link in links.values()}
    found = set()
    for message in node.get_addr():
        address = ip_address(message.get("local") or message.get("address"))
        with suppress(KeyError):  # a link that came a moment ago
            net = ip_network(f"{address}/{message['prefixlen']}", strict=False)
            found.add(Route(net, link=names[message["index"]]))
    return frozenset(found)
