"""The chain's own objects of the document: gateway, WARP, Xray, VPS, addresses."""

from __future__ import annotations

from dataclasses import replace

from policies.kinds import (
    boolean,
    container_number,
    file_path,
    host,
    kernel_name,
    one_of,
    or_null,
    port_number,
    resolver,
    subnet,
    target_of_chain,
)
from policies.model import Chain, FurtherGateway, FurtherXray, Vps, Warp, WireGuard, Xray
from policies.reader import Section


def read_wireguard(section: Section) -> WireGuard:
    number = section.read("container_id", container_number, WireGuard.container_id)
    first = WireGuard(
        enabled=section.read("enabled", boolean, WireGuard.enabled),
        container_id=number,
        socket_port=section.read("socket_port", kernel_name, WireGuard.socket_port),
        zero_config=section.read("zero_config", boolean, WireGuard.zero_config),
        listen_port=section.read("listen_port", port_number, WireGuard.listen_port),
        device=section.read("device", kernel_name, f"wg{number}"),
        endpoint=section.read("endpoint", or_null(host), WireGuard.endpoint),
        dns=section.values("dns", resolver, WireGuard.dns),
    )
    further = (_further_gateway(entry, first) for entry in section.sections("further", FurtherGateway))
    return replace(first, further=tuple(gateway for gateway in further if gateway is not None))


def _further_gateway(section: Section, first: WireGuard) -> FurtherGateway | None:
    """Its port and its clients' subnet stand in profiles that are given away, so they never follow from its place."""
    number = section.require("container_id", container_number)
    listen_port = section.require("listen_port", port_number)
    clients = section.require("client_subnet", subnet)
    gateway = FurtherGateway(
        enabled=section.read("enabled", boolean, FurtherGateway.enabled),
        container_id=number or 0,
        socket_port=section.read("socket_port", kernel_name, f"internal_{number}"),
        zero_config=section.read("zero_config", boolean, first.zero_config),
        listen_port=listen_port or 0,
        device=section.read("device", kernel_name, f"wg{number}"),
        endpoint=section.read("endpoint", or_null(host), first.endpoint),
        dns=section.values("dns", resolver, first.dns),
        client_subnet=clients or Chain.client_subnet,
        place=section.place,
    )
    return gateway if number else None


def read_warp(section: Section) -> Warp:
    return Warp(
        enabled=section.read("enabled", boolean, Warp.enabled),
        interface=section.read("interface", kernel_name, Warp.interface),
        wgcf_config=section.read("wgcf_config", or_null(file_path), Warp.wgcf_config),
        device=section.read("device", kernel_name, Warp.device),
        namespace=section.read("namespace", kernel_name, Warp.namespace),
        ports=section.values("ports", port_number, Warp.ports),
        probe=section.read("probe", or_null(target_of_chain), Warp.probe),
    )


def read_xray_and_vps(xray: Section, vps: Section) -> tuple[Xray, Vps]:
    """Both name the VPS. What only one of them names holds for both."""
    client = Xray(
        enabled=xray.read("enabled", boolean, Xray.enabled),
        container_id=xray.read("container_id", container_number, Xray.container_id),
        socket_port=xray.read("socket_port", kernel_name, Xray.socket_port),
        socks_port=xray.read("socks_port", port_number, Xray.socks_port),
        tproxy_port=xray.read("tproxy_port", port_number, Xray.tproxy_port),
        vps_address=xray.read("vps_address", host, Xray.vps_address),
        vps_port=xray.read("vps_port", port_number, Xray.vps_port),
    )
    server = Vps(
        xray_server=vps.read("xray_server", host, client.vps_address),
        xray_port=vps.read("xray_port", port_number, client.vps_port),
    )
    if not xray.has("vps_address"):
        client = replace(client, vps_address=server.xray_server)
    if not xray.has("vps_port"):
        client = replace(client, vps_port=server.xray_port)
    further = (_further_xray(entry, client) for entry in xray.sections("further", FurtherXray))
    return replace(client, further=tuple(each for each in further if each is not None)), server


def _further_xray(section: Section, first: Xray) -> FurtherXray | None:
    number = section.require("container_id", container_number)
    client = FurtherXray(
        enabled=section.read("enabled", boolean, FurtherXray.enabled),
        container_id=number or 0,
        socket_port=section.read("socket_port", kernel_name, f"internal_{number}"),
        socks_port=section.read("socks_port", port_number, first.socks_port),
        tproxy_port=section.read("tproxy_port", port_number, first.tproxy_port),
        vps_address=section.read("vps_address", host, first.vps_address),
        vps_port=section.read("vps_port", port_number, first.vps_port),
        place=section.place,
    )
    return client if number else None


def read_chain(section: Section) -> Chain:
    return Chain(
        subnet=section.read("subnet", subnet, Chain.subnet),
        client_subnet=section.read("client_subnet", subnet, Chain.client_subnet),
        ipv6=section.read("ipv6", one_of("drop"), Chain.ipv6),
    )
