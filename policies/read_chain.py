"""The chain's own objects of the document: gateway, WARP, Xray, VPS, addresses."""

from __future__ import annotations

from dataclasses import replace

from policies.kinds import (
    address_and_port,
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
)
from policies.model import Chain, Vps, Warp, WireGuard, Xray
from policies.reader import Section


def read_wireguard(section: Section) -> WireGuard:
    number = section.read("container_id", container_number, WireGuard.container_id)
    return WireGuard(
        enabled=section.read("enabled", boolean, WireGuard.enabled),
        container_id=number,
        socket_port=section.read("socket_port", kernel_name, WireGuard.socket_port),
        zero_config=section.read("zero_config", boolean, WireGuard.zero_config),
        listen_port=section.read("listen_port", port_number, WireGuard.listen_port),
        device=section.read("device", kernel_name, f"wg{number}"),
        endpoint=section.read("endpoint", or_null(host), WireGuard.endpoint),
        dns=section.values("dns", resolver, WireGuard.dns),
    )


def read_warp(section: Section) -> Warp:
    return Warp(
        enabled=section.read("enabled", boolean, Warp.enabled),
        interface=section.read("interface", kernel_name, Warp.interface),
        wgcf_config=section.read("wgcf_config", or_null(file_path), Warp.wgcf_config),
        device=section.read("device", kernel_name, Warp.device),
        namespace=section.read("namespace", kernel_name, Warp.namespace),
        ports=section.values("ports", port_number, Warp.ports),
        probe=section.read("probe", or_null(address_and_port), Warp.probe),
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
    return client, server


def read_chain(section: Section) -> Chain:
    return Chain(
        subnet=section.read("subnet", subnet, Chain.subnet),
        client_subnet=section.read("client_subnet", subnet, Chain.client_subnet),
        ipv6=section.read("ipv6", one_of("drop"), Chain.ipv6),
    )
