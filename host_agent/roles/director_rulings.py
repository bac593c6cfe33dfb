"""What the policy says of each packet, once, for the chains that make it so and for those that check it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from host_agent.roles.director_tunnels import Slot

DNS = ("-p udp -m udp --dport 53", "-p tcp -m tcp --dport 53")
QUIC = "-p udp -m udp --dport 443"


@dataclass(frozen=True)
class Ruling:
    """``past``: the packet is not the group's business. A slot: its tunnel carries it. Of the rulings of one group the
    first decides whose match takes the packet."""

    match: str  # of iptables(8); empty: every packet
    outcome: Literal["past", "proxied", "refused"] | Slot
    item: str  # of the policy
