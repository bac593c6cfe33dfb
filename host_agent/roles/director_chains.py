"""TUN_DIR and the jumps to it and to XRAY_TPROXY, and what other tables do for the marks these set. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from host_agent.roles.director_rulings import DNS, QUIC, Ruling
from host_agent.roles.director_sides import SIDES, Side, active, macs, paused_parts, source
from host_agent.roles.director_tunnels import Slot, interfaces
from host_agent.roles.mss import CLAMP
from host_agent.state import Chain, FilterRule, filter_rule
from policies.host_model import Client, Director, Treatment

EVERY_BIT = 0xFFFFFFFF


def tunnel_rulings(
    director: Director, side: Side, slots: tuple[Slot, ...], exclusions: Mapping[str, tuple[str, ...]]
) -> tuple[Ruling, ...]:
    """In the file's order: what is excluded, then each client's tunnel. ``exclusions``: names of sets by tunnel."""
    return tuple(_rulings(director, side, slots, exclusions))


def _rulings(
    director: Director, side: Side, slots: tuple[Slot, ...], exclusions: Mapping[str, tuple[str, ...]]
) -> Iterator[Ruling]:
    everybody = [client for slot in slots for client in slot.tunnel.clients]
    paused = (*paused_parts(everybody, director, side), *macs(director.paused_clients))
    yield from (Ruling(source(client), "past", "paused") for client in paused)
    for slot in slots:
        for client in side.clients(active(slot.tunnel.clients, director)):
            yield from _client(side, slot, source(client), exclusions[slot.tunnel.name])
    if side.version == 6:
        yield from _nameless(director, side, slots)


def _client(side: Side, slot: Slot, who: str, exclusions: tuple[str, ...]) -> Iterator[Ruling]:
    treatment, item = slot.tunnel.treatment, f"tunnel {slot.tunnel.name}"
    if slot.is_main:
        yield Ruling(who, slot, item)
        return
    if side.version == 6 and treatment.ipv6 == "bypass":
        yield Ruling(who, "past", item)
        return
    if treatment.dns == "bypass":
        yield from (Ruling(f"{who} {port}", "past", item) for port in DNS)
    if side.version == 6 and treatment.ipv6 == "block":
        yield Ruling(who, "refused", item)
        return
    if treatment.dns != "bypass":  # before the exclusions: a query tells where one goes, wherever the server is
        yield from (Ruling(f"{who} {port}", slot, item) for port in DNS)
    yield from (Ruling(f"{who} -m set --match-set {name} dst", "past", item) for name in exclusions)
    networks = (it for it in slot.tunnel.exclude_ips if it.version == side.version)
    yield from (Ruling(f"{who} -d {network}", "past", item) for network in networks)
    if treatment.quic == "reject":
        yield Ruling(f"{who} {QUIC}", "refused", item)
    yield Ruling(who, slot, item)


def tunnel_chain(director: Director, ruled: Iterable[Ruling]) -> tuple[FilterRule, ...]:
    """The document's chain: RETURN for each exclusion, then the mark, for what has none yet."""
    names = director.advanced.tunnel_director
    found = []
    for ruling in ruled:
        target = "-j RETURN"
        if ruling.outcome != "past":
            mark = ruling.outcome.mark if isinstance(ruling.outcome, Slot) else names.refused
            target = f"-m mark --mark 0x0/{names.mark_mask:#x} -j MARK --set-xmark {mark:#x}/{names.mark_mask:#x}"
        found.append(filter_rule(f"{ruling.match} {target}".lstrip(), ruling.item))
    return tuple(found)


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


def _nameless(director: Director, side: Side, slots: tuple[Slot, ...]) -> Iterator[Ruling]:
    """IPv6 packets that say nothing of who sent them. Queries for names come from link-local addresses, too."""
    item = "nameless IPv6"
    blocked = nameless_are_blocked(director, slots)
    if blocked:
        named = (*side.networks(director.paused_clients), *side.clients(active(director.xray.clients, director)))
        yield from (Ruling(source(client), "past", item) for client in named)
    if any(treatment.dns != "bypass" for _, treatment in _groups(director, slots)):
        whose = "" if blocked else "-s fe80::/10 "
        yield from (Ruling(f"{whose}{port}", "refused", item) for port in DNS)
    if blocked:
        yield from (Ruling(f"-d {network}", "past", item) for network in side.bypassed)
        yield Ruling("", "refused", item)


def jumps(director: Director, to_xray: bool, to_tunnels: bool) -> tuple[FilterRule, ...]:
    """Of mangle PREROUTING: XRAY_TPROXY first; TUN_DIR behind the system's interface marks, for what has no mark; then
    a mark for what has none at all, so that it is seen to have been judged."""
    names = director.advanced.tunnel_director
    found = [filter_rule(f"-j {director.advanced.xray.chain}")] if to_xray else []
    if to_tunnels:
        found += [
            filter_rule(
                f"-i {link} -m mark --mark 0x0/{names.mark_mask:#x} -j {names.chain}", placement="after interface marks"
            )
            for link in director.advanced.lan.interfaces
        ]
    if found:  # what has been let past until here
        mark = f"{names.judged_mark:#x}/{names.judged_mark:#x}"
        judged = f"-m mark --mark 0x0/{EVERY_BIT:#x} -j MARK --set-xmark {mark}"
        found.append(filter_rule(judged, placement="after interface marks"))
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
