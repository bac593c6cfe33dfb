"""What the rules of ``policies.check`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from policies.model import Place, PrivacyRouter, Socket

ROOT = "privacy_router"
Found = Iterator[tuple[str, str]]  # (path of the offending value, message)


@dataclass(frozen=True)
class Case:
    """A policy, and where its values stand."""

    policy: PrivacyRouter
    place: Callable[[str], Place]

    def line(self, path: str) -> str:
        """For messages that name a second place: "line 12"."""
        return f"line {self.place(path).line}"


@dataclass(frozen=True)
class Rule:
    """``reads``: the paths inside ``privacy_router`` whose values the rule relies on."""

    judge: Callable[[Case], Found]
    reads: tuple[str, ...]


@dataclass(frozen=True)
class HopFacts:
    """What the document says about one hop. ``port_path`` and ``container_path`` are where it says so."""

    title: str
    enabled: bool
    port: str
    port_path: str
    container_id: int | None
    container_path: str


def all_hops(policy: PrivacyRouter) -> tuple[HopFacts, ...]:
    """The three hops of the chain in its order, enabled or not."""
    gateway, warp, xray = policy.wireguard, policy.warp, policy.xray
    return (
        HopFacts(
            "WireGuard gateway",
            gateway.enabled,
            gateway.socket_port,
            f"{ROOT}.wireguard.socket_port",
            gateway.container_id,
            f"{ROOT}.wireguard.container_id",
        ),
        HopFacts("WARP hop", warp.enabled, warp.interface, f"{ROOT}.warp.interface", None, ""),
        HopFacts(
            "Xray client",
            xray.enabled,
            xray.socket_port,
            f"{ROOT}.xray.socket_port",
            xray.container_id,
            f"{ROOT}.xray.container_id",
        ),
    )


def hops(policy: PrivacyRouter) -> tuple[HopFacts, ...]:
    """The hops that are enabled."""
    return tuple(hop for hop in all_hops(policy) if hop.enabled)


def sockets(policy: PrivacyRouter) -> tuple[Socket, ...]:
    return policy.socket_networking.privacy_sockets + policy.socket_networking.mesh_sockets


def privacy_ports(policy: PrivacyRouter) -> frozenset[str]:
    """Every port of the privacy network, of disabled hops too."""
    listed = {socket.name for socket in policy.socket_networking.privacy_sockets}
    return frozenset(listed | {hop.port for hop in all_hops(policy)})


def mesh_ports(policy: PrivacyRouter) -> frozenset[str]:
    """Every port of the mesh, its uplink included."""
    listed = {socket.name for socket in policy.socket_networking.mesh_sockets}
    return frozenset(listed | ({policy.netmaker.interface} if policy.netmaker.enabled else set()))
