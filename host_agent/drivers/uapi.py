"""The text that userspace WireGuard speaks on its control socket. Pure.

Source: https://www.wireguard.com/xplatform/. Keys are in hexadecimal there, in base64 everywhere else.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from host_agent.peers import WireGuardChange
from host_agent.state import Endpoint, Peer, Secret, WireGuardDevice

NO_KEY = b64encode(bytes(32)).decode()  # how "no preshared key" is written


@dataclass(frozen=True)
class Traffic:
    """What a peer has done so far."""

    public_key: str
    endpoint: str | None
    handshake: int  # seconds since 1970; 0: never
    received: int  # bytes
    sent: int


@dataclass(frozen=True)
class Reading:
    device: WireGuardDevice
    traffic: tuple[Traffic, ...]


def render_set(change: WireGuardChange) -> str:
    lines = ["set=1"]
    if change.private_key:
        lines.append(f"private_key={_hex(change.private_key.text)}")
    if change.listen_port is not None:
        lines.append(f"listen_port={change.listen_port}")
    for peer in change.peers:
        preshared = peer.preshared_key.text if peer.preshared_key else NO_KEY
        lines += [f"public_key={_hex(peer.public_key)}", f"preshared_key={_hex(preshared)}"]
        lines += [f"endpoint={endpoint}" for endpoint in peer.endpoints[:1]]
        lines += [f"persistent_keepalive_interval={peer.keepalive}", "replace_allowed_ips=true"]
        lines += [f"allowed_ip={network}" for network in sorted(peer.allowed_ips, key=str)]
    for key in change.removed:
        lines += [f"public_key={_hex(key)}", "remove=true"]
    return "\n".join([*lines, "", ""])


def parse_get(name: str, text: str) -> Reading:
    """The answer to ``get=1``. Raises ValueError if it is an error, or breaks off as the process ends."""
    if "errno=0" not in text.splitlines():
        raise ValueError(f"{name}: the WireGuard process gives no whole answer")
    private, port = "", 0
    peers: list[Peer] = []
    traffic: list[Traffic] = []
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "private_key":
            private = _base64(value)
        elif key == "listen_port":
            port = int(value)
        elif key == "public_key":
            peers.append(Peer(_base64(value)))
            traffic.append(Traffic(_base64(value), None, 0, 0, 0))
        elif peers:
            peers[-1] = _peer(peers[-1], key, value)
            traffic[-1] = _traffic(traffic[-1], key, value)
    device = WireGuardDevice(name, Secret(private), port, frozenset(peers))
    return Reading(device, tuple(traffic))


def _peer(peer: Peer, key: str, value: str) -> Peer:
    match key:
        case "preshared_key":
            preshared = _base64(value)
            return replace(peer, preshared_key=None if preshared == NO_KEY else Secret(preshared))
        case "endpoint":
            return replace(peer, endpoints=(_endpoint(value),))
        case "persistent_keepalive_interval":
            return replace(peer, keepalive=int(value))
        case "allowed_ip":
            return replace(peer, allowed_ips=peer.allowed_ips | {ip_network(value)})
    return peer


def _traffic(traffic: Traffic, key: str, value: str) -> Traffic:
    match key:
        case "endpoint":
            return replace(traffic, endpoint=value)
        case "last_handshake_time_sec":
            return replace(traffic, handshake=int(value))
        case "rx_bytes":
            return replace(traffic, received=int(value))
        case "tx_bytes":
            return replace(traffic, sent=int(value))
    return traffic


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(ip_address(host.strip("[]")), int(port))


def _hex(key: str) -> str:
    return b64decode(key).hex()


def _base64(key: str) -> str:
    return b64encode(bytes.fromhex(key)).decode()
