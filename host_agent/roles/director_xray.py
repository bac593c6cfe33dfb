"""XRAY_TPROXY: the chain that hands the clients' TCP and UDP to Xray, rule by rule in the document's order. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from host_agent.prefixes import Prefixes
from host_agent.roles.director_sides import Side, active, carried, macs, source
from host_agent.state import FilterRule, filter_rule
from policies.host_model import Client, Director

DNS = ("-p udp -m udp --dport 53", "-p tcp -m tcp --dport 53")
QUIC = "-p udp -m udp --dport 443"


def clients_set(director: Director, side: Side) -> Prefixes:
    """What XRAY_CLIENTS holds: the group's clients without what is paused."""
    group = director.xray
    if not carried(side, group.treatment):
        return Prefixes(side.family)
    return side.prefixes(active(group.clients, director)) - side.prefixes(director.paused_clients)


def has_clients(director: Director, side: Side) -> bool:
    group = director.xray
    named = macs(active(group.clients, director)) if carried(side, group.treatment) else ()
    return bool(named) or len(clients_set(director, side)) > 0


def chain(
    director: Director, side: Side, exclusions: tuple[str, ...], tunnelled: tuple[Client, ...]
) -> tuple[FilterRule, ...]:
    """``exclusions``: names of sets. ``tunnelled``: clients of tunnels, who get what Xray cannot carry."""
    return tuple(filter_rule(it, "xray") for it in _arguments(director, side, exclusions, tunnelled))


def _arguments(
    director: Director, side: Side, exclusions: tuple[str, ...], tunnelled: tuple[Client, ...]
) -> Iterator[str]:
    names, group = director.advanced.xray, director.xray
    treatment = group.treatment
    tproxy = f"-j TPROXY --on-port {names.tproxy_port} --tproxy-mark {names.fwmark:#x}/{names.fwmark_mask:#x}"
    others = "".join(f" -m mac ! --mac-source {mac}" for mac in macs(active(group.clients, director)))
    yield f"-m set ! --match-set {names.clients_ipset}{side.suffix} src{others} -j RETURN"
    yield from (f"{source(mac)} -j RETURN" for mac in macs(director.paused_clients))
    yield f"-m set --match-set {names.servers_ipset}{side.suffix} dst -j RETURN"
    blocked = side.version == 6 and treatment.ipv6 == "block"
    if treatment.dns == "bypass":
        yield from (f"{port} -j RETURN" for port in DNS)
    elif treatment.dns == "hijack" and not blocked:
        yield from (f"{port} {tproxy}" for port in DNS)
    else:  # what goes to this machine itself would be asked onward outside the tunnel
        for port in DNS:
            yield from refused(director, f"-m addrtype --dst-type LOCAL {port}")
    yield from (f"-d {network} -j RETURN" for network in side.bypassed)
    yield "-m addrtype --dst-type LOCAL -j RETURN"
    if blocked:
        yield from refused(director, "")
        return
    if treatment.dns == "tunnel":
        yield from (f"{port} {tproxy}" for port in DNS)
    yield from (f"-m set --match-set {name} dst -j RETURN" for name in exclusions)
    yield from (f"-d {network} -j RETURN" for network in group.exclude_ips if network.version == side.version)
    if treatment.quic == "reject":
        yield from refused(director, QUIC)
    yield f"-p tcp {tproxy}"
    yield f"-p udp {tproxy}"
    if treatment.kill_switch:
        yield from (f"{source(client)} -j RETURN" for client in tunnelled)
        yield from refused(director, "")


def refused(director: Director, match: str) -> Iterator[str]:
    """Mark what is to be refused, and be done with it."""
    names = director.advanced.tunnel_director
    yield f"{match} -j MARK --set-xmark {names.refused:#x}/{names.mark_mask:#x}".lstrip()
    yield f"-m mark --mark {names.refused:#x}/{names.mark_mask:#x} -j RETURN"
