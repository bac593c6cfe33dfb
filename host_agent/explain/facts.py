"""Read of the node what ``explain`` has to know about others' addresses, routes and firewalls. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network

from host_agent.drivers import netlink, nftables
from host_agent.drivers.chain_reading import saved
from host_agent.drivers.command import run
from host_agent.drivers.namespaces import Namespaces
from host_agent.drivers.netfilter import TOOLS
from host_agent.drivers.netlink import GivenAddress
from host_agent.errors import CommandFailed
from host_agent.explain.firewall import Chains, ClosedChain, Firewall
from host_agent.explain.values import Surroundings
from host_agent.state import FAMILIES, NODE, SHARED, Family, Route

HOOKS = {1: "INPUT", 2: "FORWARD"}  # NF_INET_*, those that are asked for
NFT_FAMILIES: dict[str, tuple[Family, ...]] = {"ip": ("ipv4",), "ip6": ("ipv6",), "inet": FAMILIES}


def surroundings() -> Surroundings:
    with Namespaces({}) as here:
        node = here.netlink(NODE)
        links = netlink.links(node)
        given = netlink.all_addresses(node)
        addresses = frozenset(it.address for it in given)
        return Surroundings(addresses, netlink.routes(node, links)[1] | _connected(given, links), _firewall())


def _connected(given: list[GivenAddress], links: dict[str, netlink.FoundLink]) -> frozenset[Route]:
    """The routes that the kernel itself makes for each address."""
    names = {link.index: link.name for link in links.values()}
    found = set()
    for it in given:
        with suppress(KeyError):  # a link that came a moment ago
            net = ip_network((it.address.packed, it.length), strict=False)
            found.add(Route(net, link=names[it.link]))
    return frozenset(found)


def _firewall() -> Firewall:
    """A family whose iptables does not work here has none, and nobody else's rules in it either."""
    chains = {}
    for family in FAMILIES:
        with suppress(CommandFailed):
            chains[family] = others_chains(
                TOOLS[family][0].removesuffix("-save"), run([TOOLS[family][0], "-t", "filter"])
            )
    return Firewall(chains, tuple(_closed()))


def others_chains(tool: str, text: str) -> Chains:
    """Of what iptables-save prints of the table filter. Pure."""
    policies = dict(line[1:].split()[:2] for line in text.splitlines() if line.startswith(":"))
    rules = {name: tuple(rule for rule in there if not rule.digest) for (_, name), there in saved(text).items()}
    return Chains(tool, policies, rules)


def _closed() -> Iterator[ClosedChain]:
    with suppress(OSError):  # a kernel without nf_tables
        for it in nftables.base_chains():
            family, _, table = it.table.partition(" ")
            shown = family != "inet" and table == "filter" and it.name in SHARED  # by iptables
            if it.drops and it.hook in HOOKS and family in NFT_FAMILIES and not shown:
                text = ""
                with suppress(CommandFailed):  # who made the table need not have used nft(8)
                    text = run(["nft", "list", "table", family, table])
                yield ClosedChain(f"{it.table} {it.name}", HOOKS[it.hook], NFT_FAMILIES[family], text)
