"""WireGuard devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from host_agent.state.routing import IPAddress, IPNetwork


@dataclass(frozen=True)
class Secret:
    """A key: never in a repr, a message or a diff."""

    text: str = field(repr=False)


@dataclass(frozen=True)
class Endpoint:
    address: IPAddress
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}" if self.address.version == 4 else f"[{self.address}]:{self.port}"


@dataclass(frozen=True)
class Peer:
    public_key: str
    preshared_key: Secret | None = None
    allowed_ips: frozenset[IPNetwork] = frozenset()
    endpoints: tuple[Endpoint, ...] = ()  # wanted: any of these will do, the first is set; none: let it roam
    keepalive: int = 0  # seconds; 0: off


@dataclass(frozen=True)
class WireGuardDevice:
    name: str
    private_key: Secret
    listen_port: int | None = None  # None: any
    peers: frozenset[Peer] = frozenset()
