"""Sharing callers out among several who serve them, by the lowest bits of the caller's address. Pure.

One caller so has always the same server, whichever connection it opens, and everybody who has to know works it out
alike: the switch in masked entries, the hosts in masked rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import product

from policies.model import PrivacyRouter
from topology.plan import Share

SPREAD = 8  # servers of a number that is no power of two have at least this many portions each, less one


def dealt(listed: Sequence[str], present: Collection[str]) -> Iterator[tuple[int, int, str]]:
    """(lowest bits, their mask, who serves the callers that have them). Every caller is in exactly one.

    The servers that are ``present`` get nearly as many each. What one of those that are not would have had goes to
    the others; nobody else's callers move.
    """
    count = len(listed)
    buckets = count if count & (count - 1) == 0 else 1 << (count * SPREAD - 1).bit_length()
    others = [server for server in listed if server in present]
    parts = 1 << (len(others) - 1).bit_length()
    for number in range(buckets):
        turn, place = divmod(number, count)
        if listed[place] in present:
            yield number, buckets - 1, listed[place]
        else:
            for part in range(parts):
                yield number + buckets * part, buckets * parts - 1, others[(turn + part) % len(others)]


def client_shares(policy: PrivacyRouter) -> dict[str, tuple[Share, ...]]:
    """The clients of each enabled Xray, by its port. Every client of every enabled gateway is in exactly one share."""
    present = [xray.socket_port for xray in policy.xrays if xray.enabled]
    paired = zip(policy.gateways, policy.client_subnets, strict=True)
    subnets = [subnet for gateway, subnet in paired if gateway.enabled]
    if len(present) < 2:
        return {port: tuple(Share(int(it.network_address), int(it.netmask)) for it in subnets) for port in present}
    shares: dict[str, tuple[Share, ...]] = dict.fromkeys(present, ())
    for subnet, (value, mask, port) in product(subnets, dealt([it.socket_port for it in policy.xrays], present)):
        network, netmask = int(subnet.network_address), int(subnet.netmask)
        if not (value ^ network) & mask & netmask:  # a small subnet has not all of the bits to itself
            shares[port] += (Share(network | value, netmask | mask),)
    return shares
