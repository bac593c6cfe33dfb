"""What the demo's checks look for in a policy, whatever else it has."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from privacy_chain import CLIENT_INNER, SOCKETS, VPS, VPS_NAME

from policies.addresses import address_plan
from policies.model import PrivacyRouter


def unmet(policy: PrivacyRouter) -> Iterator[str]:
    """What a policy lacks of it, in words."""
    plan = address_plan(policy)
    there = {hop.port: (hop.namespace, str(hop.address.ip)) for hop in plan.hops}
    there |= {socket.port: (socket.namespace, "".join(socket.addresses[:1])) for socket in plan.mesh}
    for port, (namespace, address) in SOCKETS.items():
        alone = address.partition("/")[0]
        if there.get(port) != (namespace, alone):
            yield f"{port} in namespace {namespace} with {alone}"
    if policy.xray.vps_address not in (VPS_NAME, VPS):
        yield f"the server {VPS_NAME}"
    if policy.warp.device != "wgcf":
        yield "the WARP device wgcf"
    if IPv4Address(CLIENT_INNER) not in policy.chain.client_subnet:
        yield f"a first client with {CLIENT_INNER}"
