"""What the roles have to know about this machine and cannot compute: values only, gathered by ``survey``."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from host_agent.countries.values import Country, Key
from host_agent.facts.identity import Identity
from host_agent.facts.names import Answer
from host_agent.facts.profile import Profile
from host_agent.state import IPNetwork, Route, Secret

XraySyntax = Literal["xray", "v2ray 4", "v2ray 5"]


@dataclass(frozen=True)
class XrayProgram:
    """The installed proxy program and how its command line starts it."""

    path: str
    syntax: XraySyntax

    def argv(self, config: str) -> tuple[str, ...]:
        return (self.path, "-config", config) if self.syntax == "v2ray 4" else (self.path, "run", "-c", config)


@dataclass(frozen=True)
class NodeLink:
    """An interface of the node, whoever made it."""

    up: bool
    networks: frozenset[IPNetwork]  # of its addresses, but the link-local ones

    @property
    def ipv6(self) -> bool:
        return any(network.version == 6 for network in self.networks)


@dataclass(frozen=True)
class NodeFacts:
    """What the director has to know about the node's own network."""

    tables: Mapping[str, int] = field(default_factory=dict)  # of rt_tables: name -> number
    links: Mapping[str, NodeLink] = field(default_factory=dict)
    servers: Mapping[str, tuple[IPv4Address | IPv6Address, ...]] = field(default_factory=dict)  # by name, sorted
    countries: Mapping[Key, Country] = field(default_factory=dict)
    routes: frozenset[Route] = frozenset()  # others', in the tables that are tunnels
    dead: frozenset[str] = frozenset()  # tunnels whose health probe fails
    obstacles: tuple[str, ...] = ()  # settings of this machine that keep the policy from working, with the cure
    blocks: bool = True  # the kernel has IPsec policies
    hash_file: bool = True  # the directory of the hash file is root's, or can be made


@dataclass(frozen=True)
class Facts:
    state_dir: Path
    datapath_type: Literal["system", "netdev"]
    namespaces: Mapping[str, str]  # network namespaces that exist: name -> path to enter them by
    addresses: Mapping[str, tuple[IPv4Address, ...]]  # host name -> its addresses, sorted
    identity: Identity | None  # None: the policy has no chain
    warp_profile: Profile | None  # None: the policy has no WARP hop
    gateway_profiles: Mapping[int, Profile]  # by container id; zero-config makes the keys of the other gateways
    client_endpoint: str | None  # the host clients dial if the policy names none
    xray: XrayProgram | None  # None: the policy has no Xray hop
    ipv6: bool  # the kernel has IPv6
    node: NodeFacts = NodeFacts()
    mesh_device: tuple[IPv4Address, ...] | None = None  # addresses of netmaker.device; None: it is not there
    node_forwards: bool = False  # between all of its interfaces, by somebody else's will
    answers: Mapping[str, Answer] = field(default_factory=dict)  # of name servers, for all host names of the policy
    remarks: tuple[str, ...] = ()  # what the operator is to be told of them


def public_key(private: Secret) -> str:
    """The WireGuard public key of a private one, base64."""
    key = X25519PrivateKey.from_private_bytes(b64decode(private.text))
    return b64encode(key.public_key().public_bytes_raw()).decode()
