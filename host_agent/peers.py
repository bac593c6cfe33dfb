"""What to tell a WireGuard device so that it becomes as wanted. Pure; sessions of unchanged peers go on."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass

from host_agent.state import Peer, Secret, WireGuardDevice


@dataclass(frozen=True)
class WireGuardChange:
    private_key: Secret | None = None  # None: leave it
    listen_port: int | None = None
    peers: tuple[Peer, ...] = ()  # add or correct
    removed: tuple[str, ...] = ()  # public keys

    def __bool__(self) -> bool:
        return self != WireGuardChange()

    def __str__(self) -> str:
        words = ["private key"] if self.private_key else []
        words += [f"port {self.listen_port}"] if self.listen_port else []
        words += [f"peer {peer.public_key}" for peer in self.peers]
        words += [f"without peer {key}" for key in self.removed]
        return ", ".join(words)


def change(wanted: WireGuardDevice, found: WireGuardDevice | None) -> WireGuardChange:
    """The difference from what the device has; a new device has nothing."""
    there = {peer.public_key: peer for peer in found.peers} if found else {}
    keys = {peer.public_key for peer in wanted.peers}
    key_stays = _clamped(wanted.private_key) in (b"", _clamped(found.private_key) if found else b"")
    port_stays = wanted.listen_port is None or (found is not None and found.listen_port == wanted.listen_port)
    return WireGuardChange(
        None if key_stays else wanted.private_key,
        None if port_stays else wanted.listen_port,
        tuple(
            sorted((peer for peer in wanted.peers if not _same(peer, there.get(peer.public_key))), key=_public_key),
        ),
        tuple(sorted(key for key in there if key not in keys)),
    )


def _same(wanted: Peer, found: Peer | None) -> bool:
    """An endpoint may be any of the wanted ones: a name can have several addresses. None wanted: the peer roams."""
    return (
        found is not None
        and wanted.preshared_key == found.preshared_key
        and wanted.allowed_ips == found.allowed_ips
        and wanted.keepalive == found.keepalive
        and (not wanted.endpoints or (set(found.endpoints) <= set(wanted.endpoints) and bool(found.endpoints)))
    )


def _clamped(key: Secret) -> bytes:
    """The key as a device gives it back: RFC 7748, section 5, fixes five of its bits. A device may have none yet."""
    if not key.text:
        return b""
    first, *middle, last = b64decode(key.text)
    return bytes([first & 248, *middle, (last & 127) | 64])


def _public_key(peer: Peer) -> str:
    return peer.public_key
