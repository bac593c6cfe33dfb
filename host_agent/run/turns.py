"""Which large set is read by every entry next: to read all of them at once would keep everything else waiting. Pure."""

from __future__ import annotations

from host_agent.drivers.ipset import READ_WHOLE
from host_agent.state import HostState

Turn = tuple[str, str]  # a namespace, and a set in it


def following(wanted: HostState, last: Turn | None) -> Turn | None:
    """The one after the last, the first after the very last; None if no set is large."""
    large = sorted(
        (name, ipset.name)
        for name, state in wanted.namespaces.items()
        for ipset in state.sets
        if ipset.seal.count > READ_WHOLE
    )
    return next((turn for turn in large if last is None or turn > last), large[0] if large else None)
