"""The Xray hop: TPROXY takes the clients' TCP and UDP, Xray carries it to the VPS in VLESS over TLS.

Set names, chain, mark, preference and table are those of the packet flow document; what its list of bypassed
destinations left out (mesh, benchmark and reserved ranges) is added.
"""

from __future__ import annotations

from hashlib import sha256
from ipaddress import IPv4Network

from host_agent.errors import Refused
from host_agent.facts import Facts
from host_agent.prefixes import Prefixes
from host_agent.roles.bypass import BYPASSED
from host_agent.roles.sockets import hop_sysctls
from host_agent.state import (
    LAST_METRIC,
    Chain,
    Daemon,
    File,
    HostState,
    IpSet,
    NamespaceState,
    Route,
    Rule,
    filter_rule,
)
from host_agent.xray_config import Vless, client_config, server_config
from policies.model import PrivacyRouter
from topology.plan import AddressPlan, Hop

CLIENTS_SET, SERVERS_SET, CHAIN = "XRAY_CLIENTS", "XRAY_SERVERS", "XRAY_TPROXY"
MARK, MASK, TABLE, PREFERENCE = 0x100, 0x100, 100, 200
EVERYTHING = IPv4Network("0.0.0.0/0")


def xray(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> HostState:
    hop, next_hop = plan.hop("xray"), plan.hop("warp")
    if hop is None or facts.xray is None:
        return HostState()
    if next_hop is None:
        raise Refused("warp.enabled: Xray reaches the VPS through the WARP hop; without it there is no way on")
    servers = facts.addresses[policy.xray.vps_address]
    clients = policy.chain.client_subnet
    state = NamespaceState(
        created=True,
        routes=frozenset(
            {
                Route(EVERYTHING, "local", "lo", table=TABLE),
                Route(clients, link=hop.port, via=next_hop.address.ip),
                Route(EVERYTHING, link=hop.port, via=next_hop.address.ip),
                Route(EVERYTHING, "unreachable", metric=LAST_METRIC),
            }
        ),
        # "iif" keeps the mark out of the kernel's source check, which src_valid_mark=1 would turn against TPROXY.
        rules=frozenset({Rule(PREFERENCE, TABLE, hop.port, None, MARK, MASK)}),
        sysctls=hop_sysctls(forwarding=False),
        sets=frozenset(
            {
                IpSet(CLIENTS_SET, "ipv4", Prefixes.of("ipv4", [clients])),
                IpSet(SERVERS_SET, "ipv4", Prefixes.of("ipv4", map(IPv4Network, servers))),
            }
        ),
        chains=_chains(policy.xray.tproxy_port),
    )
    return _with_program(policy, facts, hop, state)


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


def _with_program(policy: PrivacyRouter, facts: Facts, hop: Hop, state: NamespaceState) -> HostState:
    """The hop's state with Xray itself. Its configuration's digest is in the file name and so in the command line."""
    assert facts.xray is not None and facts.identity is not None
    identity, settings = facts.identity, policy.xray
    vless = Vless(settings.vps_address, settings.vps_port, identity.user_id, identity.certificate)
    server = facts.addresses[settings.vps_address][0]
    client = client_config(vless, server, settings.tproxy_port, settings.socks_port)
    path = facts.state_dir / "xray" / f"client-{sha256(client).hexdigest()[:12]}.json"
    bundle = facts.state_dir / "vps" / "server.json"
    log = facts.state_dir / "log" / "xray.log"
    return HostState(
        namespaces={hop.namespace: state},
        files=frozenset({File(str(path), client), File(str(bundle), server_config(vless, identity.certificate_key))}),
        daemons=frozenset({Daemon("xray", facts.xray.argv(str(path)), hop.namespace, str(log), settings.tproxy_port)}),
    )
