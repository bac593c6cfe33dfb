"""Read the host document: ``xray``, ``tunnel_director``, ``paused_clients`` and ``advanced``."""

from __future__ import annotations

from dataclasses import fields, make_dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from policies.document import Document
from policies.host_kinds import (
    absolute_path,
    chain_name,
    client,
    country,
    network,
    server,
    server_address,
    set_name,
    switch,
    targets,
    tunnel_name,
    word32,
    zone_url,
)
from policies.host_model import (
    Advanced,
    Director,
    Dns,
    Ipsets,
    Lan,
    Treatment,
    Tunnel,
    TunnelNames,
    XrayGroup,
    XrayNames,
)
from policies.kinds import Unfit, described, integer, kernel_name, one_of, or_null, port_number
from policies.reader import Findings, Section
from policies.tree import Node, child_path

KEYS = ("xray", "tunnel_director", "paused_clients", "advanced")
FOREIGN_KEYS = ("data_dir", "webui", "monitor")  # of the document's own web interface: read past


def _keys(*records: type[Any], extra: tuple[str, ...] = ()) -> type[Any]:
    """A record of the keys that a mapping of the document may have: the fields of the values it becomes."""
    names = {entry.name for record in records for entry in fields(record)} - {"treatment", "name", "place"}
    return make_dataclass("Keys", sorted({*names, *extra}))


preference = integer(1, 32765)
table_number = integer(1, 0x7FFFFFFF)


_XrayKeys = _keys(XrayGroup, Treatment)
_TunnelKeys = _keys(Tunnel, Treatment)
_DirectorKeys = make_dataclass("_DirectorKeys", ["tunnels", "order"])
_XrayNameKeys = _keys(XrayNames, extra=("bypass_ipset",))
_AdvancedKeys = _keys(Advanced, extra=("boot",))  # boot: of the document's own start script, read past


def is_host_document(document: Document) -> bool:
    root = document.root.value
    return isinstance(root, dict) and any(key in root for key in KEYS)


def read_director(findings: Findings, top: Section) -> Director:
    """The director of a document whose top level is ``top``; what is wrong goes to the findings."""
    return Director(
        xray=_xray(top.section("xray", _XrayKeys)),
        tunnels=_tunnels(findings, top.section("tunnel_director", _DirectorKeys)),
        paused_clients=top.several("paused_clients", client),
        advanced=_advanced(top.section("advanced", _AdvancedKeys)),
        source=findings.document.file,
    )


def _xray(section: Section) -> XrayGroup:
    return XrayGroup(
        clients=section.several("clients", client),
        servers=section.several("servers", server),
        exclude_sets=section.several("exclude_sets", country),
        exclude_ips=section.several("exclude_ips", network),
        treatment=_treatment(section),
    )


def _treatment(section: Section) -> Treatment:
    return Treatment(
        kill_switch=section.read("kill_switch", switch, Treatment.kill_switch),
        ipv6=section.read("ipv6", one_of("tunnel", "block", "bypass"), Treatment.ipv6),
        dns=section.read("dns", one_of("hijack", "tunnel", "bypass"), Treatment.dns),
        quic=section.read("quic", one_of("proxy", "reject"), Treatment.quic),
    )


def _tunnels(findings: Findings, section: Section) -> tuple[Tunnel, ...]:
    """In the order of ``order``, then of the file: a file that a program rewrote sorted keeps its precedence."""
    if not section.has("tunnels"):
        section.several("order", tunnel_name)
        return ()
    node = section.get("tunnels")
    if not isinstance(node.value, dict):
        section.lose("tunnels", f"expected a mapping from tunnels to their clients, got {described(node.value)}")
        return ()
    found = {}
    for name, child in node.value.items():
        try:
            tunnel_name(name)
        except Unfit as unfit:
            findings.lose(child.key_line, child_path(f"{section.path}.tunnels", name), str(unfit))
            continue
        found[name] = _tunnel(findings, name, child, child_path(f"{section.path}.tunnels", name))
    order = section.several("order", tunnel_name)
    for index, name in enumerate(order):
        if name not in node.value:
            section.lose("order", f"there is no tunnel {described(name)} in tunnels", index)
        elif name in order[:index]:
            section.lose("order", f"{described(name)} is named twice", index)
    ranked = [found[name] for name in dict.fromkeys(order) if name in found]
    return (*ranked, *(tunnel for name, tunnel in found.items() if name not in order))


def _tunnel(findings: Findings, name: str, node: Node, path: str) -> Tunnel:
    section = Section(findings, node, path, _TunnelKeys)
    probe = section.read("probe", or_null(targets), None)
    return Tunnel(
        name=name,
        clients=section.several("clients", client),
        exclude=section.several("exclude", country),
        exclude_ips=section.several("exclude_ips", network),
        failover=section.several("failover", tunnel_name),
        probe=probe or (),
        treatment=_treatment(section),
        place=section.place,
    )


def _advanced(section: Section) -> Advanced:
    return Advanced(
        xray=_xray_names(section.section("xray", _XrayNameKeys)),
        tunnel_director=_tunnel_names(section.section("tunnel_director", TunnelNames)),
        lan=_lan(section.section("lan", Lan)),
        dns=_dns(section.section("dns", Dns)),
        ipsets=_ipsets(section.section("ipsets", Ipsets)),
    )


def _xray_names(section: Section) -> XrayNames:
    later = section.read("bypass_ipset", set_name, XrayNames.servers_ipset)
    return XrayNames(
        tproxy_port=section.read("tproxy_port", port_number, XrayNames.tproxy_port),
        socks_port=section.read("socks_port", port_number, XrayNames.socks_port),
        route_table=section.read("route_table", table_number, XrayNames.route_table),
        rule_pref=section.read("rule_pref", preference, XrayNames.rule_pref),
        fwmark=section.read("fwmark", word32, XrayNames.fwmark),
        fwmark_mask=section.read("fwmark_mask", word32, XrayNames.fwmark_mask),
        chain=section.read("chain", chain_name, XrayNames.chain),
        guard=section.read("guard", chain_name, XrayNames.guard),
        clients_ipset=section.read("clients_ipset", set_name, XrayNames.clients_ipset),
        servers_ipset=section.read("servers_ipset", set_name, later),
    )


def _tunnel_names(section: Section) -> TunnelNames:
    base = section.read("pref_base", integer(2, 32765), TunnelNames.pref_base)
    return TunnelNames(
        chain=section.read("chain", chain_name, TunnelNames.chain),
        guard=section.read("guard", chain_name, TunnelNames.guard),
        guard_table=section.read("guard_table", one_of("security", "filter"), TunnelNames.guard_table),
        pref_base=base,
        mark_mask=section.read("mark_mask", word32, TunnelNames.mark_mask),
        mark_shift=section.read("mark_shift", integer(0, 31), TunnelNames.mark_shift),
        refuse_pref=section.read("refuse_pref", preference, base - 1),
        judged_mark=section.read("judged_mark", word32, TunnelNames.judged_mark),
        hash_file=section.read("hash_file", absolute_path, TunnelNames.hash_file),
    )


def _lan(section: Section) -> Lan:
    return Lan(
        interfaces=section.values("interfaces", kernel_name, Lan.interfaces),
        subnets=section.several("subnets", network),
        unnamed_ipv6=section.read("unnamed_ipv6", one_of("block", "bypass"), Lan.unnamed_ipv6),
    )


def _dns(section: Section) -> Dns:
    return Dns(
        server=IPv4Address(section.read("server", server_address(4), str(Dns.server))),
        server6=IPv6Address(section.read("server6", server_address(6), str(Dns.server6))),
    )


def _ipsets(section: Section) -> Ipsets:
    return Ipsets(
        zones_dir=section.read("zones_dir", absolute_path, Ipsets.zones_dir),
        urls=section.several("urls", zone_url),
        urls6=section.several("urls6", zone_url),
        refresh_hours=section.read("refresh_hours", integer(1, 24 * 365), Ipsets.refresh_hours),
    )
