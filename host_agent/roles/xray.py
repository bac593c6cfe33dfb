"""The Xray hops: TPROXY takes the clients' TCP and UDP, Xray carries it to the VPS in VLESS over TLS.

Set names, chain, mark, preference and table are those of the packet flow document; what its list of bypassed
destinations left out (mesh, benchmark and reserved ranges) is added. Where there are several Xrays, each takes any
client's packets: the WARP hop and the switch hand it none but those of its share.
"""

from __future__ import annotations

from collections.abc import Iterable
from glob import escape
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from host_agent.errors import Refused
from host_agent.facts.identity import server_of
from host_agent.facts.values import Facts
from host_agent.prefixes import Prefixes
from host_agent.roles.bypass import BYPASSED
from host_agent.roles.sockets import hop_sysctls
from host_agent.roles.xray_config import Vless, client_config, server_config
from host_agent.state import (
    EVERY_IPV4,
    LAST_METRIC,
    Chain,
    Daemon,
    File,
    HostState,
    IpSet,
    NamespaceState,
    Route,
    Rule,
    combine,
    filter_rule,
    log_path,
)
from policies.model import PrivacyRouter, XrayClient
from topology.plan import AddressPlan, Hop

CLIENTS_SET, SERVERS_SET, CHAIN = "XRAY_CLIENTS", "XRAY_SERVERS", "XRAY_TPROXY"
MARK, MASK, TABLE, PREFERENCE = 0x100, 0x100, 100, 200


def xrays(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> HostState:
    hops, next_hop = plan.of("xray"), plan.warp
    if not hops or facts.xray is None:
        return HostState()
    if next_hop is None:
        raise Refused("warp.enabled: Xray reaches the VPS through the WARP hop; without it there is no way on")
    settings = {xray.socket_port: xray for xray in policy.xrays}
    clients = [gateway.clients for gateway in plan.of("gateway") if gateway.clients]
    parts = []
    for hop in hops:
        xray = settings[hop.port]
        state = _namespace(xray, hop, next_hop.address.ip, clients, facts)
        parts += [HostState(namespaces={hop.namespace: state}), _program(xray, hop, facts, xray is policy.xray)]
    return combine(parts)


def _namespace(
    xray: XrayClient, hop: Hop, via: IPv4Address, clients: Iterable[IPv4Network], facts: Facts
) -> NamespaceState:
    servers = facts.addresses[xray.vps_address]
    return NamespaceState(
        created=True,
        routes=frozenset(
            {
                Route(EVERY_IPV4, "local", "lo", table=TABLE),
                *(Route(subnet, link=hop.port, via=via) for subnet in clients),
                Route(EVERY_IPV4, link=hop.port, via=via),
                Route(EVERY_IPV4, "unreachable", metric=LAST_METRIC),
            }
        ),
        # "iif" keeps the mark out of the kernel's source check, which src_valid_mark=1 would turn against TPROXY.
        rules=frozenset({Rule(PREFERENCE, TABLE, hop.port, None, MARK, MASK)}),
        sysctls=hop_sysctls(forwarding=False),
        sets=frozenset(
            {
                IpSet(CLIENTS_SET, "ipv4", Prefixes.of("ipv4", clients)),
                IpSet(SERVERS_SET, "ipv4", Prefixes.of("ipv4", map(IPv4Network, servers))),
            }
        ),
        chains=_chains(xray.tproxy_port),
    )


def _chains(port: int) -> frozenset[Chain]:
    tproxy = f"-j TPROXY --on-port {port} --tproxy-mark {MARK:#x}/{MASK:#x}"
    rules = (
        filter_rule(f"-m set ! --match-set {CLIENTS_SET} src -j RETURN"),
        filter_rule(f"-m set --match-set {SERVERS_SET} dst -j RETURN"),
        *(filter_rule(f"-d {network} -j RETURN") for network in BYPASSED),
        filter_rule(f"-p tcp {tproxy}"),
        filter_rule(f"-p udp {tproxy}"),
    )
    return frozenset(
        {
            Chain("ipv4", "mangle", CHAIN, rules),
            Chain("ipv4", "mangle", "PREROUTING", (filter_rule(f"-j {CHAIN}"),)),
        }
    )


def _configuration(state_dir: Path, digest: str) -> Path:
    return state_dir / "xray" / f"client-{digest}.json"


def all_configurations(state_dir: Path) -> str:
    """Which files are, or were, configurations of Xrays, as a pattern: one that nobody uses goes."""
    return str(_configuration(Path(escape(str(state_dir))), "*"))


def _program(xray: XrayClient, hop: Hop, facts: Facts, is_first: bool) -> HostState:
    """Xray itself. Its configuration's digest is in the file name and so in the command line."""
    assert facts.xray is not None and facts.identity is not None
    identity = facts.identity.servers[server_of(xray)]
    vless = Vless(xray.vps_address, xray.vps_port, identity.user_id, identity.certificate)
    server = facts.addresses[xray.vps_address][0]
    client = client_config(vless, server, xray.tproxy_port, xray.socks_port)
    path = _configuration(facts.state_dir, sha256(client).hexdigest()[:12])
    bundle = facts.state_dir / f"vps{identity.name}" / "server.json"
    name = "xray" if is_first else f"xray-{xray.container_id}"
    log = log_path(facts.state_dir, name)
    return HostState(
        files=frozenset({File(str(path), client), File(str(bundle), server_config(vless, identity.certificate_key))}),
        daemons=frozenset({Daemon(name, facts.xray.argv(str(path)), hop.namespace, str(log), xray.tproxy_port)}),
    )
