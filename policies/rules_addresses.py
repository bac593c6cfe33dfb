"""Rules about subnets, addresses and the VPS."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from itertools import combinations

from policies.model import PrivacyRouter
from policies.rules import ROOT, Case, Found, Rule, all_hops, hops, sound_hops, xray_paths

_VPS = ("xray.vps_address", "vps.xray_server")


def _subnets(case: Case) -> list[tuple[str, IPv4Network]]:
    """Every subnet of the document that could be read, and its path without the root."""
    return [(path, subnet) for path, subnet in _all_subnets(case.policy) if case.knows(f"{ROOT}.{path}")]


def _all_subnets(policy: PrivacyRouter) -> tuple[tuple[str, IPv4Network], ...]:
    further = ((f"{it.place.path}.client_subnet".removeprefix(f"{ROOT}."), it) for it in policy.wireguard.further)
    return (
        ("chain.subnet", policy.chain.subnet),
        ("chain.client_subnet", policy.chain.client_subnet),
        ("netmaker.subnet", policy.netmaker.subnet),
        *((path, gateway.client_subnet) for path, gateway in further),
    )


def subnets_apart(case: Case) -> Found:
    """Whether their hops are enabled or not: what is switched on later must not come as a surprise."""
    for (name, subnet), (other, second) in combinations(_subnets(case), 2):
        if subnet.overlaps(second):
            where = case.line(f"{ROOT}.{name}")
            yield f"{ROOT}.{other}", f"{second} overlaps {name}, which is {subnet} ({where}): choose another subnet"


def containers_fit_the_chain(case: Case) -> Found:
    """In the chain's subnet the host part of a container's address is its id; .1 is the WARP hop."""
    subnet = case.policy.chain.subnet
    hop_ports = {hop.port for hop in hops(case.policy)}
    known = case.knows(
        *(hop.port_path for hop in all_hops(case.policy))
    )  # or a hop's socket would not be told from others
    sound = sound_hops(case, "container_id")
    placed = [(hop.container_id, hop.container_path) for hop in sound if hop.container_id is not None]
    for socket in case.policy.socket_networking.privacy_sockets:
        if known and socket.name not in hop_ports:
            placed.append((socket.container_id, f"{socket.place.path}.container_id"))
    for number, path in placed:
        if not 1 < number < subnet.num_addresses - 1:
            message = f"container {number} has no address in chain.subnet {subnet}, where the host part"
            yield path, f"{message} is the container id (2 to {subnet.num_addresses - 2})"


def vps_is_known(case: Case) -> Found:
    for xray, path in xray_paths(case.policy):
        if xray.enabled and not xray.vps_address and case.knows(f"{path}.enabled", f"{path}.vps_address"):
            yield f"{path}.vps_address", "missing: Xray needs the name or IPv4 address of its server"


def vps_addresses_agree(case: Case) -> Found:
    """The VPS is named twice; both must say the same."""
    xray, vps = case.policy.xray, case.policy.vps
    if xray.vps_address.lower() != vps.xray_server.lower():
        where = case.line(f"{ROOT}.xray.vps_address")
        message = f'"{vps.xray_server}" is not what xray.vps_address says: "{xray.vps_address}" ({where})'
        yield f"{ROOT}.vps.xray_server", message


def vps_ports_agree(case: Case) -> Found:
    xray, vps = case.policy.xray, case.policy.vps
    if xray.vps_port != vps.xray_port:
        where = case.line(f"{ROOT}.xray.vps_port")
        yield f"{ROOT}.vps.xray_port", f"{vps.xray_port} is not what xray.vps_port says: {xray.vps_port} ({where})"


def vps_is_elsewhere(case: Case) -> Found:
    for xray, path in xray_paths(case.policy):
        if not case.knows(f"{path}.vps_address"):
            continue
        try:
            address = IPv4Address(xray.vps_address)
        except ValueError:  # a name, or none
            continue
        for name, subnet in _subnets(case):
            if address in subnet:
                message = f"{address} lies in {name} ({subnet}): the server is a machine elsewhere"
                yield f"{path}.vps_address", message


def xray_listens_apart(case: Case) -> Found:
    for xray, path in xray_paths(case.policy):
        asked = (f"{base}.{key}" for base in (path, f"{ROOT}.xray") for key in ("socks_port", "tproxy_port"))
        if xray.enabled and xray.socks_port == xray.tproxy_port and case.knows(f"{path}.enabled", *asked):
            where = case.line(f"{path}.socks_port")
            yield f"{path}.tproxy_port", f"{xray.tproxy_port} is socks_port as well ({where}): choose another port"


RULES = (
    Rule(subnets_apart, ()),
    Rule(containers_fit_the_chain, ("chain.subnet",)),
    Rule(vps_is_known, _VPS),
    Rule(vps_addresses_agree, _VPS),
    Rule(vps_ports_agree, ("xray.vps_port", "vps.xray_port")),
    Rule(vps_is_elsewhere, _VPS),
    Rule(xray_listens_apart, ()),
)
