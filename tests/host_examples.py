"""A machine for the host agent's unit tests, as values: the example document and facts that fit it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from host_agent.desired import desired
from host_agent.facts.identity import GatewayKeys, Identity, read
from host_agent.facts.profile import read_profile
from host_agent.facts.values import Facts, XrayProgram
from host_agent.state import HostState, Secret
from policies.load import load
from policies.model import PrivacyRouter

POLICY = load(Path(__file__).resolve().parents[1] / "policies" / "documents" / "privacy-router.json")
STATE = Path("/state")
VPS = IPv4Address("203.0.113.10")
ENDPOINT = IPv4Address("198.51.100.1")


def key(number: int) -> str:
    """A WireGuard key, told from others by its number."""
    return b64encode(bytes([number] * 32)).decode()


WGCF = f"""\
[Interface]
PrivateKey = {key(1)}
Address = 172.16.0.2/32
Address = 2606:4700:110:8a36::2/128
DNS = 1.1.1.1
MTU = 1280
PostUp = touch /tmp/pwned

[Peer]
PublicKey = {key(2)}
AllowedIPs = 0.0.0.0/0
AllowedIPs = ::/0
Endpoint = engage.example.net:2408
"""

KEYS = GatewayKeys("", Secret(key(3)), Secret(key(4)), Secret(key(5)))
(_MADE,) = read(Path("/nonexistent"), POLICY).servers.values()
SERVER = replace(_MADE, user_id=Secret("00000000-0000-4000-8000-000000000000"))
IDENTITY = Identity({100: KEYS}, {("vps.example.com", 443): SERVER})
FACTS = Facts(
    state_dir=STATE,
    datapath_type="netdev",
    namespaces={"ct200": "/run/netns/ct200", "ct201": "/run/netns/ct201"},
    addresses={"vps.example.com": (VPS,), "engage.example.net": (ENDPOINT,)},
    identity=IDENTITY,
    warp_profile=read_profile(WGCF, "wgcf-profile.conf"),
    gateway_profiles={},
    client_endpoint="192.0.2.7",
    xray=XrayProgram("/usr/bin/v2ray", "v2ray 4"),
    ipv6=True,
)


def wanted(policy: PrivacyRouter = POLICY, **facts: Any) -> HostState:
    return desired(policy, replace(FACTS, **facts))
