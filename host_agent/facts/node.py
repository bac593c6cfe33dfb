"""Gather what the director has to know about the node's own network. Writes nothing."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

from host_agent.countries.gather import recall
from host_agent.countries.values import Country, Key, Settings, settings
from host_agent.drivers import netlink, ports, xfrm
from host_agent.drivers.namespaces import Namespaces
from host_agent.facts.names import Lookup
from host_agent.facts.values import NodeFacts, NodeLink
from host_agent.state import MAIN_TABLE, NODE, IPNetwork, Route
from policies.host_model import MAIN, Director

Countries = Callable[[Iterable[str], Settings, Path, float], Mapping[Key, Country]]
TABLES = ("/usr/share/iproute2/rt_tables", "/etc/iproute2/rt_tables")
TABLES_MORE = Path("/etc/iproute2/rt_tables.d")
TABLE_LINE = re.compile(r"\s*(0x[0-9a-fA-F]+|\d+)\s+([^\s#]+)")


def survey_node(
    director: Director, state_dir: Path, lookup: Lookup, missing: list[str], countries: Countries = recall
) -> NodeFacts:
    """A name that nobody ever answered for is ``missing``. A country that cannot be had is no reason to stop."""
    codes = [*director.xray.exclude_sets, *(code for tunnel in director.tunnels for code in tunnel.exclude)]
    known = countries(dict.fromkeys(codes), settings(director.advanced.ipsets), state_dir, time.time())
    tables = routing_tables()
    return NodeFacts(
        tables=tables,
        links=_links(),
        routes=_routes(director, tables),
        servers={name: lookup(name, missing).addresses for name in director.xray.servers},
        countries=known,
        obstacles=tuple(_obstacles(director)),
        blocks=xfrm.works(),
        hash_file=_is_safe(Path(director.advanced.tunnel_director.hash_file).parent),
    )


def _obstacles(director: Director) -> Iterator[str]:
    """They block, and do not leak; others own these settings, so they are said and not changed."""
    bridges = [link for link in director.advanced.lan.interfaces if Path("/sys/class/net", link, "bridge").exists()]
    if bridges and director.xray.clients and _setting("bridge/bridge-nf-call-iptables") == "1":
        yield (
            f"degraded: bridge-nf-call-iptables=1 makes the bridge {bridges[0]} forget what TPROXY chose, so Xray's"
            " clients get no answer; sysctl -w net.bridge.bridge-nf-call-iptables=0 (Docker sets it to 1)"
        )
    for tunnel in director.tunnels:
        values = [_setting(f"ipv4/conf/{link}/rp_filter") for link in (tunnel.name, "all")]
        if values[0] is not None and "1" in values and "2" not in values:
            yield (
                f"degraded: rp_filter=1 drops answers that come by {tunnel.name};"
                f" sysctl -w net.ipv4.conf.{tunnel.name}.rp_filter=2"
            )
    if _setting("ipv4/ip_forward") == "0":
        yield "degraded: this machine does not forward; sysctl -w net.ipv4.ip_forward=1"
    port = director.advanced.xray.tproxy_port
    deaf = [name for name, heard in (("TCP", ports.listening()), ("UDP", ports.bound())) if port not in heard]
    if deaf and {*director.xray.clients} - {*director.paused_clients}:
        yield (
            f"degraded: no Xray listens on {' and '.join(deaf)} port {port}, so what its clients send there is dropped;"
            " start it, or set advanced.xray.tproxy_port to where its TPROXY inbound listens"
        )


def _setting(key: str) -> str | None:
    with suppress(OSError):
        return Path("/proc/sys/net", key).read_text().strip()
    return None


def routing_tables() -> dict[str, int]:
    """Name -> number, of rt_tables (ip-route(8)) and its directory; later files win."""
    files = [Path(path) for path in TABLES]
    if TABLES_MORE.is_dir():
        files += sorted(TABLES_MORE.glob("*.conf"))
    found = {}
    for file in files:
        with suppress(OSError, UnicodeDecodeError):
            for line in file.read_text().splitlines():
                if entry := TABLE_LINE.match(line):
                    found[entry[2]] = int(entry[1], 0)
    return found


def _links() -> dict[str, NodeLink]:
    with Namespaces({}) as namespaces:
        rtnetlink = namespaces.netlink(NODE)
        found = netlink.links(rtnetlink)
        networks: dict[int, set[IPNetwork]] = {link.index: set() for link in found.values()}
        for it in netlink.all_addresses(rtnetlink):
            if not it.address.is_link_local:
                networks.setdefault(it.link, set()).add(ip_network((it.address, it.length), strict=False))
    return {link.name: NodeLink(link.up, frozenset(networks[link.index])) for link in found.values()}


def _routes(director: Director, tables: Mapping[str, int]) -> frozenset[Route]:
    """Others' routes in the tables that are tunnels. Nothing is asked if all tunnels are interfaces."""
    names = {name for tunnel in director.tunnels for name in (tunnel.name, *tunnel.failover)} - {MAIN}
    numbers = {int(name) if name.isdecimal() else tables.get(name) for name in names} - {None, MAIN_TABLE}
    if not numbers:
        return frozenset()
    with Namespaces({}) as namespaces:
        rtnetlink = namespaces.netlink(NODE)
        others = netlink.routes(rtnetlink, netlink.links(rtnetlink))[1]
    return frozenset(route for route in others if route.table in numbers and route.kind == "unicast" and route.link)


def _is_safe(directory: Path) -> bool:
    """Whether nobody but root can put something in our way there; the directory may be one that is yet to be made."""
    try:
        there = os.lstat(directory)
    except FileNotFoundError:
        return directory.parent.is_dir()
    return stat.S_ISDIR(there.st_mode) and there.st_uid == 0 and not there.st_mode & 0o022
