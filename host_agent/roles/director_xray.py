"""XRAY_TPROXY: the chain that hands the clients' TCP and UDP to Xray, rule by rule in the document's order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from host_agent.prefixes import Prefixes
from host_agent.roles.director_rulings import DNS, QUIC, Ruling
from host_agent.roles.director_sides import Side, active, carried, macs, source
from host_agent.state import FilterRule, filter_rule
from policies.host_model import Client, Director

LOCAL = "-m addrtype --dst-type LOCAL"


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


def blocked(director: Director, side: Side) -> bool:
    return side.version == 6 and director.xray.treatment.ipv6 == "block"


def rulings(
    director: Director, side: Side, exclusions: tuple[str, ...], tunnelled: tuple[Client, ...]
) -> tuple[Ruling, ...]:
    """What becomes of the packets of Xray's clients, in the document's order.

    ``exclusions``: names of sets. ``tunnelled``: clients of tunnels, who get what Xray cannot carry.
    """
    return tuple(_rulings(director, side, exclusions, tunnelled))


def _rulings(
    director: Director, side: Side, exclusions: tuple[str, ...], tunnelled: tuple[Client, ...]
) -> Iterator[Ruling]:
    group, treatment = director.xray, director.xray.treatment
    yield from (_past(source(mac)) for mac in macs(director.paused_clients))
    yield _past(f"-m set --match-set {director.advanced.xray.servers_ipset}{side.suffix} dst")
    if treatment.dns == "bypass":
        yield from map(_past, DNS)
    elif treatment.dns == "hijack" and not blocked(director, side):
        yield from map(_proxied, DNS)
    else:  # what goes to this machine itself would be asked onward outside the tunnel
        yield from (_refused(f"{LOCAL} {port}") for port in DNS)
    yield from (_past(f"-d {network}") for network in side.bypassed)
    yield _past(LOCAL)
    if blocked(director, side):
        yield _refused("")
        return
    if treatment.dns == "tunnel":
        yield from map(_proxied, DNS)
    yield from (_past(f"-m set --match-set {name} dst") for name in exclusions)
    yield from (_past(f"-d {network}") for network in group.exclude_ips if network.version == side.version)
    if treatment.quic == "reject":
        yield _refused(QUIC)
    yield from map(_proxied, ("-p tcp", "-p udp"))
    if treatment.kill_switch:
        yield from (_past(source(client)) for client in tunnelled)
        yield _refused("")


def _past(match: str) -> Ruling:
    return Ruling(match, "past", "xray")


def _proxied(match: str) -> Ruling:
    return Ruling(match, "proxied", "xray")


def _refused(match: str) -> Ruling:
    return Ruling(match, "refused", "xray")


def chain(director: Director, side: Side, ruled: Iterable[Ruling]) -> tuple[FilterRule, ...]:
    return tuple(filter_rule(it, "xray") for it in _arguments(director, side, ruled))


def _arguments(director: Director, side: Side, ruled: Iterable[Ruling]) -> Iterator[str]:
    names = director.advanced.xray
    others = "".join(f" -m mac ! --mac-source {mac}" for mac in macs(active(director.xray.clients, director)))
    yield f"-m set ! --match-set {names.clients_ipset}{side.suffix} src{others} -j RETURN"
    for ruling in ruled:
        match ruling.outcome:
            case "past":
                yield f"{ruling.match} -j RETURN"
            case "proxied":
                mark = f"{names.fwmark:#x}/{names.fwmark_mask:#x}"
                yield f"{ruling.match} -j TPROXY --on-port {names.tproxy_port} --tproxy-mark {mark}"
            case _:
                yield from _refusal(director, ruling.match)


def _refusal(director: Director, match: str) -> Iterator[str]:
    """Mark what is to be refused, and be done with it."""
    names = director.advanced.tunnel_director
    yield f"{match} -j MARK --set-xmark {names.refused:#x}/{names.mark_mask:#x}".lstrip()
    yield f"-m mark --mark {names.refused:#x}/{names.mark_mask:#x} -j RETURN"
