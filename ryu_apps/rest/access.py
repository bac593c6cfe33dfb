"""Who may ask what of the REST interface. Pure: values in, verdicts out; time is given.

The interface listens on loopback, where every program and every browser of the machine can reach it. So a name that
an attacker's DNS points at loopback is refused (Host), another web site's page is refused (Origin), and a change
needs a token that only its file's reader has.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

SAFE_METHODS = frozenset({"GET", "HEAD"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PEERS = 1024  # of whom the rate is remembered


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def listening_refusal(host: str, has_tls: bool, has_token: bool) -> str | None:
    """Why the interface must not listen on ``host``; None if it may."""
    if is_loopback(host) or (has_tls and has_token):
        return None
    lacks = [name for name, there in (("rest_tls_cert and rest_tls_key", has_tls), ("a token", has_token)) if not there]
    return f"REST does not listen on {host}, which is not loopback, without {' and without '.join(lacks)}"


def host_name(host: str) -> str:
    """The name in a Host header, without its port; empty for what is no host."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def host_allowed(host: str, names: Collection[str]) -> bool:
    return host_name(host) in names


def origin_allowed(origin: str | None, scheme: str, host: str) -> bool:
    """A browser's page may ask only where it came from. Who is no browser sends no Origin."""
    return origin is None or origin == f"{scheme}://{host}"


def token_matches(authorization: str | None, token: str) -> bool:
    """Compared in constant time. An empty token matches nothing."""
    scheme, _, given = (authorization or "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(), token.encode())
    return bool(token) and scheme.lower() == "bearer" and same


@dataclass
class _Bucket:
    tokens: float
    time: float


class RequestRate:
    """A token bucket for each peer: so many requests a second on average, so many at once.

    Remembers the peers that asked last; who has been forgotten starts anew.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_seconds(self, peer: str, now: float) -> float:
        """0 if the peer may ask now, else how long it has to wait. ``now`` is a monotonic clock."""
        bucket = self._buckets.pop(peer, None) or _Bucket(float(self._burst), now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.time) * self._per_second)
        bucket.time = now
        self._buckets[peer] = bucket
        if len(self._buckets) > PEERS:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._per_second
        bucket.tokens -= 1
        return 0.0
