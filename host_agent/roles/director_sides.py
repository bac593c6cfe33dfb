"""What the two address families have each of its own, for the director: names, ranges, who is named in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from host_agent.prefixes import Prefixes
from host_agent.roles.bypass import BYPASSED, BYPASSED6
from host_agent.state import EVERY_IPV4, EVERY_IPV6, Family, IPNetwork
from policies.host_model import Client, Director, Mac, Network, Treatment


@dataclass(frozen=True)
class Side:
    """One family of addresses."""

    family: Family
    version: int
    suffix: str  # of names of sets
    bypassed: tuple[str, ...]
    metric: int  # of routes; an IPv6 route without one reads back as 1024

    @property
    def everything(self) -> IPNetwork:
        return EVERY_IPV4 if self.version == 4 else EVERY_IPV6

    def clients(self, clients: Iterable[Client]) -> tuple[Client, ...]:
        """Those that can send packets of this family under their name."""
        return tuple(it for it in clients if isinstance(it, Mac) or it.version == self.version)

    def networks(self, clients: Iterable[Client]) -> tuple[Network, ...]:
        return tuple(it for it in clients if not isinstance(it, Mac) and it.version == self.version)

    def prefixes(self, clients: Iterable[Client]) -> Prefixes:
        return Prefixes.of(self.family, self.networks(clients))


SIDES = (Side("ipv4", 4, "", BYPASSED, 0), Side("ipv6", 6, "6", BYPASSED6, 1024))


def carried(side: Side, treatment: Treatment) -> bool:
    """Whether a group's packets of this family are the group's business."""
    return side.version == 4 or treatment.ipv6 != "bypass"


def macs(clients: Iterable[Client]) -> tuple[Mac, ...]:
    return tuple(it for it in clients if isinstance(it, Mac))


def source(client: Client) -> str:
    """The match of a rule about this client."""
    return f"-m mac --mac-source {client.text}" if isinstance(client, Mac) else f"-s {client}"


def active(clients: Iterable[Client], director: Director) -> tuple[Client, ...]:
    """Without those that are paused as they stand; a part of a subnet that is paused is taken out elsewhere."""
    paused = set(director.paused_clients)
    return tuple(client for client in clients if client not in paused)


def paused_parts(clients: Iterable[Client], director: Director, side: Side) -> tuple[Client, ...]:
    """Paused hosts and subnets that lie inside an active client, or overlap with one."""
    there = side.networks(active(clients, director))
    return tuple(it for it in side.networks(director.paused_clients) if any(_overlap(it, other) for other in there))


def _overlap(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)
