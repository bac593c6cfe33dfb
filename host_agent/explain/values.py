"""What ``explain`` goes by beside the policy, and what it says, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from host_agent.explain.firewall import Firewall
from host_agent.state import NODE, IPAddress, Route

End = Literal["leaves", "dropped", "refused", "delivered", "unknown"]


@dataclass(frozen=True)
class Line:
    place: str  # the namespace
    words: str
    at_switch: str | None = None  # the packet there, as ``privacyctl trace`` takes it


@dataclass(frozen=True)
class Explanation:
    lines: tuple[Line, ...]
    end: End
    device: str | None = None  # by which it leaves
    port: int | None = None  # of the proxy that it was delivered to
    namespace: str = NODE  # where it ends
    mark: int = 0
    stranger: str | None = None  # what, of somebody else, dropped it


@dataclass(frozen=True)
class Surroundings:
    """What others made on the node, as far as it decides about packets, too."""

    addresses: frozenset[IPAddress] = frozenset()
    routes: frozenset[Route] = frozenset()
    firewall: Firewall = field(default_factory=Firewall)
