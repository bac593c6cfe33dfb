"""Whether tunnels carry traffic: by the age of their handshake and, if the policy asks for it, by a connection.

One bad look is not the end of a tunnel and one good look no recovery. A dead tunnel whose peer may listen on several
endpoints is turned to the next of them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from host_agent.drivers import files, wireguard
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError
from host_agent.peers import WireGuardChange
from host_agent.run.lock import running
from host_agent.run.log import Log
from host_agent.run.probe import NoWay, Probe, Probes, connects
from host_agent.state import NODE, Endpoint, File, HostState, Peer
from policies.model import Target

HEALTH = "health.json"


@dataclass(frozen=True)
class Thresholds:
    """WireGuard makes a new session after 120 s of use, our keepalive is at most 25 s late, a lost handshake is
    repeated after 5 s: a living tunnel's last handshake is never older than 155 s (wireguard.com/protocol)."""

    silent: float = 160.0  # seconds since the last handshake
    patience: float = 10.0  # seconds for the first handshake, and between turns to another endpoint
    bad: int = 2  # looks in a row that make a tunnel dead
    good: int = 2  # looks in a row that bring it back
    probe: float = 3.0  # seconds a connection may take; its first packet is repeated after one


@dataclass(frozen=True)
class Tunnel:
    """What is known of one tunnel. ``state`` changes only after several looks of one kind."""

    since: float  # when it was first seen, or last turned to another endpoint
    state: Literal["new", "up", "dead"] = "new"
    streak: int = 0  # looks in a row that contradict the state


@dataclass(frozen=True)
class TunnelRow:
    """For ``status``."""

    device: str
    state: str
    endpoint: str
    since: int  # seconds since 1970
    judged_by: str


def judged(tunnel: Tunnel, healthy: bool, now: float, limits: Thresholds) -> Tunnel:
    """After one more look. Pure."""
    if tunnel.state == "new" and not healthy and now - tunnel.since < limits.patience:
        return tunnel
    if tunnel.state != "new" and healthy == (tunnel.state == "up"):
        return replace(tunnel, streak=0)
    streak = tunnel.streak + 1
    needed = 1 if tunnel.state == "new" else limits.good if healthy else limits.bad
    if streak < needed:
        return replace(tunnel, streak=streak)
    return Tunnel(now, "up" if healthy else "dead")


def by_handshake(age: float | None, limits: Thresholds) -> tuple[bool, str]:
    """Whether a handshake of this age (seconds; None: never) is that of a living tunnel, and in words. Pure."""
    if age is None:
        return False, "no handshake yet"
    return age <= limits.silent, f"last handshake {age:.0f} s ago"


def next_endpoint(endpoints: tuple[Endpoint, ...], current: str | None) -> Endpoint | None:
    """The one after the current one, in turn; None if there is no other. Pure."""
    names = [str(endpoint) for endpoint in endpoints]
    if current not in names:
        return endpoints[0] if endpoints else None
    return endpoints[(names.index(current) + 1) % len(endpoints)] if len(endpoints) > 1 else None


class Health:
    """Looks at the tunnels of a host: WireGuard devices whose peer has an endpoint, and whatever has a probe."""

    def __init__(self, state_dir: Path, log: Log, limits: Thresholds | None = None) -> None:
        self._path, self._log, self._limits = state_dir / HEALTH, log, limits or Thresholds()
        self._tunnels: dict[str, Tunnel] = {}
        self._moments: dict[str, int] = {}  # when a tunnel got its state, seconds since 1970
        self._probed: dict[tuple[str, Target], bool] = {}  # by tunnel: results that nobody has looked at
        self._probing: set[tuple[str, Target]] = set()

    @property
    def dead(self) -> frozenset[str]:
        return frozenset(name for name, tunnel in self._tunnels.items() if tunnel.state == "dead")

    def look(
        self, wanted: HostState, namespaces: Namespaces, others: Iterable[str], probes: Probes, now: float
    ) -> None:
        """``others`` are tunnels on the node that somebody else made: devices, or names of routing tables."""
        rows = [self._look_at(NODE, other, None, namespaces, probes, now) for other in others]
        rows += [
            self._look_at(name, device.name, peer, namespaces, probes, now)
            for name, state in wanted.namespaces.items()
            for device in state.wireguard
            for peer in device.peers
            if peer.endpoints
        ]
        known = sorted((row for row in rows if row), key=lambda row: row.device)
        self._tunnels = {row.device: self._tunnels[row.device] for row in known}
        content = f"{json.dumps([asdict(row) for row in known])}\n".encode()
        with suppress(OSError):  # a full disk: the log says how the tunnels are
            if (self._path.read_bytes() if self._path.exists() else b"[]\n") != content:
                files.write(File(str(self._path), content))

    def _look_at(
        self, namespace: str, device: str, peer: Peer | None, namespaces: Namespaces, probes: Probes, now: float
    ) -> TunnelRow | None:
        """None: nothing can be said of this tunnel but what its link says."""
        reading = wireguard.read(namespaces, device, namespace)
        peers = [it for it in (reading.traffic if reading else ()) if peer is None or it.public_key == peer.public_key]
        if not peers and device not in probes:
            return None
        traffic = max(peers, key=lambda it: it.handshake, default=None)
        healthy: bool | None = True
        why = ""
        if traffic is not None:
            healthy, why = by_handshake(time.time() - traffic.handshake if traffic.handshake else None, self._limits)
        if healthy and device in probes:
            healthy, why = self._by_probes(device, probes[device], namespaces)
        before = self._tunnels.setdefault(device, Tunnel(now))
        after = before if healthy is None else judged(before, healthy, now, self._limits)
        endpoint = (traffic.endpoint if traffic else None) or "-"
        if after.state != before.state:
            self._log(
                "info" if after.state == "up" else "error",
                "tunnel",
                f"{device} is {after.state}: {why}; endpoint {endpoint}",
                device=device,
                state=after.state,
            )
        died = after.state == "dead" and before.state != "dead"
        if died or (after.state == "dead" and now - after.since >= self._limits.patience):
            after = replace(after, since=now)
            if peer is not None:
                self._turn(namespace, device, peer, endpoint, namespaces)
        self._tunnels[device] = after
        if after.state != before.state or device not in self._moments:
            self._moments[device] = int(time.time())
        by = [*(["handshake"] if traffic else []), *(["probe"] if device in probes else [])]
        return TunnelRow(device, after.state, endpoint, self._moments[device], ", ".join(by))

    def _turn(self, namespace: str, device: str, peer: Peer, current: str, namespaces: Namespaces) -> None:
        following = next_endpoint(peer.endpoints, current)
        if following is None:
            return
        self._log("warning", "tunnel", f"{device}: endpoint {current} is dead, trying {following}", device=device)
        with suppress(AgentError, OSError):  # the device is gone: the next round makes it anew
            wanted = replace(peer, endpoints=(following,))
            wireguard.configure(namespaces, device, namespace, WireGuardChange(peers=(wanted,)))

    def _by_probes(
        self, device: str, probes: Iterable[Probe | NoWay], namespaces: Namespaces
    ) -> tuple[bool | None, str]:
        """By the last finished connections, of which each counts once. None: one is still missing, and none was bad."""
        found = [self._by_probe(device, probe, namespaces) for probe in probes]
        bad = [why for good, why in found if good is False]
        verdict = False if bad else None if any(good is None for good, _ in found) else True
        return verdict, "; ".join(bad or [why for _, why in found])

    def _by_probe(self, device: str, probe: Probe | NoWay, namespaces: Namespaces) -> tuple[bool | None, str]:
        """By the last finished connection; the next one is begun. None: there is no new one."""
        if isinstance(probe, NoWay):
            return False, f"its table has no default route to {probe.target}"
        key = (device, probe.target)
        if key not in self._probing:
            self._probing.add(key)
            path = namespaces.path(probe.namespace)
            threading.Thread(target=self._probe, args=(key, probe, path), name="probe", daemon=True).start()
        good = self._probed.pop(key, None)
        return good, f"{'a' if good else 'no'} connection to {probe.target} through it"

    def _probe(self, key: tuple[str, Target], probe: Probe, path: str) -> None:
        try:
            self._probed[key] = connects(probe, path, self._limits.probe)
        finally:
            self._probing.discard(key)


def rows(state_dir: Path) -> tuple[TunnelRow, ...]:
    """What the ``run`` that is at work says; empty if there is none."""
    if running(state_dir) is None:
        return ()
    with suppress(OSError, ValueError, TypeError):
        return tuple(TunnelRow(**row) for row in json.loads((state_dir / HEALTH).read_text()))
    return ()


def known_dead(state_dir: Path) -> frozenset[str]:
    """The tunnels that ``run`` has found dead: every verb has to want the same as it does."""
    return frozenset(row.device for row in rows(state_dir) if row.state == "dead")
