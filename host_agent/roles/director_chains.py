"""TUN_DIR and the jumps to it and to XRAY_TPROXY, and what other tables do for the marks these set. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from host_agent.roles.director_sides import SIDES, Side, active, macs, paused_parts, source
from host_agent.roles.director_tunnels import Slot, interfaces
from host_agent.roles.director_xray import DNS, QUIC
from host_agent.state import Chain, FilterRule, filter_rule
from policies.host_model import Client, Director, Treatment

CLAMP = "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"


def tunnel_chain(
    director: Director, side: Side, slots: tuple[Slot, ...], exclusions: Mapping[str, tuple[str, ...]]
) -> tuple[FilterRule, ...]:
    """The document's chain: in the file's order, RETURN for each exclusion, then the mark of each client.

    ``exclusions`` are the names of sets by tunnel.
    """
    return tuple(filter_rule(*it) for it in _arguments(director, side, slots, exclusions))


def _arguments(
    director: Director, side: Side, slots: tuple[Slot, ...], exclusions: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    """Each rule with the policy item it is for."""
    everybody = [client for slot in slots for client in slot.tunnel.clients]
    paused = (*paused_parts(everybody, director, side), *macs(director.paused_clients))
    yield from ((f"{source(client)} -j RETURN", "paused") for client in paused)
    for slot in slots:
        name = slot.tunnel.name
        for client in side.clients(active(slot.tunnel.clients, director)):
            for rule in _client(director, side, slot, source(client), exclusions[name]):
                yield rule, f"tunnel {name}"
    if side.version == 6:
        yield from ((rule, "nameless IPv6") for rule in _nameless(director, side, slots))


def _client(director: Director, side: Side, slot: Slot, who: str, exclusions: tuple[str, ...]) -> Iterator[str]:
    treatment, mask = slot.tunnel.treatment, director.advanced.tunnel_director.mark_mask
    refused = _mark(director, director.advanced.tunnel_director.refused)
    mark = _mark(director, slot.mark)
    unmarked = f"-m mark --mark 0x0/{mask:#x}"
    if slot.is_main:
        yield f"{who} {unmarked} {mark}"
        return
    if side.version == 6 and treatment.ipv6 == "bypass":
        yield f"{who} -j RETURN"
        return
    if treatment.dns == "bypass":
        yield from (f"{who} {port} -j RETURN" for port in DNS)
    if side.version == 6 and treatment.ipv6 == "block":
        yield f"{who} {unmarked} {refused}"
        return
    if treatment.dns != "bypass":  # before the exclusions: a query tells where one goes, wherever the server is
        yield from (f"{who} {port} {unmarked} {mark}" for port in DNS)
    yield from (f"{who} -m set --match-set {name} dst -j RETURN" for name in exclusions)
    yield from (f"{who} -d {it} -j RETURN" for it in slot.tunnel.exclude_ips if it.version == side.version)
    if treatment.quic == "reject":
        yield f"{who} {QUIC} {unmarked} {refused}"
    yield f"{who} {unmarked} {mark}"


def _mark(director: Director, mark: int) -> str:
    return f"-j MARK --set-xmark {mark:#x}/{director.advanced.tunnel_director.mark_mask:#x}"


def _groups(director: Director, slots: tuple[Slot, ...]) -> list[tuple[tuple[Client, ...], Treatment]]:
    """Clients and treatment of each group that is not an exemption."""
    groups = [(director.xray.clients, director.xray.treatment)]
    groups += [(slot.tunnel.clients, slot.tunnel.treatment) for slot in slots if not slot.is_main]
    found = [(active(clients, director), treatment) for clients, treatment in groups]
    return [(clients, treatment) for clients, treatment in found if clients and treatment.ipv6 != "bypass"]


def nameless_are_blocked(director: Director, slots: tuple[Slot, ...]) -> bool:
    """A host known by its IPv4 address alone has IPv6 addresses nobody can tell from other hosts'."""
    return director.advanced.lan.unnamed_ipv6 == "block" and any(
        treatment.kill_switch and SIDES[0].networks(clients) for clients, treatment in _groups(director, slots)
    )


def _nameless(director: Director, side: Side, slots: tuple[Slot, ...]) -> Iterator[str]:
    """IPv6 packets that say nothing of who sent them. Queries for names come from link-local addresses, too."""
    names = director.advanced.tunnel_director
    unmarked, refuse = f"-m mark --mark 0x0/{names.mark_mask:#x}", _mark(director, names.refused)
    blocked = nameless_are_blocked(director, slots)
    if blocked:
        named = (*side.networks(director.paused_clients), *side.clients(active(director.xray.clients, director)))
        yield from (f"{source(client)} -j RETURN" for client in named)
    if any(treatment.dns != "bypass" for _, treatment in _groups(director, slots)):
        whose = "" if blocked else "-s fe80::/10 "
        yield from (f"{whose}{port} {unmarked} {refuse}" for port in DNS)
    if blocked:
        yield from (f"-d {network} -j RETURN" for network in side.bypassed)
        yield f"{unmarked} {refuse}"


def jumps(director: Director, to_xray: bool, to_tunnels: bool) -> tuple[FilterRule, ...]:
    """Of mangle PREROUTING: XRAY_TPROXY first; TUN_DIR behind the system's interface marks, for what has no mark."""
    names = director.advanced.tunnel_director
    found = [filter_rule(f"-j {director.advanced.xray.chain}")] if to_xray else []
    if to_tunnels:
        found += [
            filter_rule(
                f"-i {link} -m mark --mark 0x0/{names.mark_mask:#x} -j {names.chain}", placement="after interface marks"
            )
            for link in director.advanced.lan.interfaces
        ]
    return tuple(found)


def support(director: Director, side: Side, slots: tuple[Slot, ...]) -> frozenset[Chain]:
    """Other tables: queries of the marked are sent to the resolver beyond the tunnel, and never answered here; what
    leaves by a tunnel's interface gets its address, and segments that fit."""
    mask = director.advanced.tunnel_director.mark_mask
    resolver = director.advanced.dns.server if side.version == 4 else director.advanced.dns.server6
    working = [slot for slot in slots if not slot.is_main and side.clients(active(slot.tunnel.clients, director))]
    hijack = [slot for slot in working if slot.tunnel.treatment.dns == "hijack"]
    guarded = [slot.mark for slot in working if slot.tunnel.treatment.dns != "bypass"]
    exits = [(link, slot.mark) for slot in working for link in interfaces(slot)]
    links = dict.fromkeys(link for link, _ in exits)
    redirect = [
        f"-m mark --mark {slot.mark:#x}/{mask:#x} {port} -j DNAT --to-destination {resolver}"
        for slot in hijack
        for port in DNS
    ]
    refuse = [
        f"-m mark --mark {mark:#x}/{mask:#x} {port} -j REJECT"
        for mark in (*guarded, director.advanced.tunnel_director.refused)
        for port in DNS
    ]
    leave = [f"-o {link} -m mark --mark {mark:#x}/{mask:#x} -j MASQUERADE" for link, mark in exits]
    clamp = [f"{way} {link} {CLAMP}" for link in links for way in ("-o", "-i")]
    wanted = {
        ("nat", "PREROUTING"): redirect,
        ("nat", "POSTROUTING"): leave,
        ("filter", "INPUT"): refuse,
        ("mangle", "FORWARD"): clamp,
    }
    return frozenset(
        Chain(side.family, table, name, tuple(map(filter_rule, rules)))
        for (table, name), rules in wanted.items()
        if rules
    )


def tunnelled(side: Side, director: Director, slots: tuple[Slot, ...]) -> tuple[Client, ...]:
    return tuple(it for slot in slots for it in side.clients(active(slot.tunnel.clients, director)))
