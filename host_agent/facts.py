"""What the roles have to know about this machine and cannot compute: values only, gathered by ``survey``."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from host_agent.identity import Identity
from host_agent.profile import Profile
from host_agent.state import Secret

XraySyntax = Literal["xray", "v2ray 4", "v2ray 5"]


@dataclass(frozen=True)
class XrayProgram:
    """The installed proxy program and how its command line starts it."""

    path: str
    syntax: XraySyntax

    def argv(self, config: str) -> tuple[str, ...]:
        return (self.path, "-config", config) if self.syntax == "v2ray 4" else (self.path, "run", "-c", config)


@dataclass(frozen=True)
class Facts:
    state_dir: Path
    datapath_type: Literal["system", "netdev"]
    namespaces: Mapping[str, str]  # network namespaces that exist: name -> path to enter them by
    addresses: Mapping[str, tuple[IPv4Address, ...]]  # host name -> its addresses, sorted
    identity: Identity
    warp_profile: Profile | None  # None: the policy has no WARP hop
    gateway_profile: Profile | None  # None: zero-config makes the keys
    client_endpoint: str | None  # the host clients dial if the policy names none
    xray: XrayProgram | None  # None: the policy has no Xray hop
    ipv6: bool  # the kernel has IPv6


def public_key(private: Secret) -> str:
    """The WireGuard public key of a private one, base64."""
    key = X25519PrivateKey.from_private_bytes(b64decode(private.text))
    return b64encode(key.public_key().public_bytes_raw()).decode()
