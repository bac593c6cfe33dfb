"""What was read of a network namespace, kept for as long as the kernel shows that it is still so.

Nothing in here is believed unasked: chains by the number of their ruleset's generation, which every commit raises;
a set by the very bytes of its listing; a large one by its header, unless it is doubted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from host_agent.drivers.chain_reading import Rules
from host_agent.state import Family, IpSet


@dataclass
class Memory:
    generation: int | None = None
    rules: dict[Family, Rules] = field(default_factory=dict)  # of that generation
    sets: dict[str, tuple[list[bytes], IpSet]] = field(default_factory=dict)  # by name: its listing, what it says
    doubted: set[str] = field(default_factory=set)  # large sets to be read by every entry until found as put in
