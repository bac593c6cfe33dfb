"""Whether tunnels carry traffic: by the age of their handshake and, if the policy asks for it, by a connection.

One bad look is not the end of a tunnel and one good look no recovery. A dead tunnel whose peer may listen on several
endpoints is turned to the next of them.
"""

from __future__ import annotations

import errno
import json
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from host_agent.drivers import files, wireguard
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError
from host_agent.peers import WireGuardChange
from host_agent.run_lock import running
from host_agent.run_log import Log
from host_agent.state import NODE, Endpoint, File, HostState, Peer

HEALTH = "health.json"


@dataclass(frozen=True)
class Thresholds:
    """WireGuard makes a new session after 120 s of use, our keepalive is at most 25 s late, a lost handshake is
    repeated after 5 s: a living tunnel's last handshake is never older than 155 s (wireguard.com/protocol)."""

    silent: float = 160.0  # seconds since the last handshake
    patience: float = 10.0  # seconds for the first handshake, and between turns to another endpoint
    bad: int = 2  # looks in a row that make a tunnel dead
    good: int = 2  # looks in a row that bring it back
    probe: float = 5.0  # seconds a connection may take


@dataclass(frozen=True)
class Tunnel:
    """What is known of one tunnel. ``state`` changes only after several looks of one kind."""

    since: float  # when it was first seen, or last turned to another endpoint
    state: Literal["new", "up", "dead"] = "new"
    streak: int = 0  # looks in a row that contradict the state


@dataclass(frozen=True)
class Probe:
    """A TCP connection from a namespace whose traffic goes through the tunnel."""

    namespace: str
    address: str
    port: int


@dataclass(frozen=True)
class TunnelRow:
    """For ``status``."""

    device: str
    state: str
    endpoint: str
    since: int  # seconds since 1970


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
    """Looks at the tunnels of a host: WireGuard devices whose peer has an endpoint."""

    def __init__(self, state_dir: Path, log: Log, limits: Thresholds | None = None) -> None:
        self._path, self._log, self._limits = state_dir / HEALTH, log, limits or Thresholds()
        self._tunnels: dict[str, Tunnel] = {}
        self._moments: dict[str, int] = {}  # when a tunnel got its state, seconds since 1970
        self._probed: dict[str, bool] = {}
        self._probing: set[str] = set()

    @property
    def dead(self) -> frozenset[str]:
        return frozenset(name for name, tunnel in self._tunnels.items() if tunnel.state == "dead")

    def look(
        self,
        wanted: HostState,
        namespaces: Namespaces,
        others: Iterable[str],
        probes: Mapping[str, Probe],
        now: float,
    ) -> None:
        """``others`` are devices on the node that somebody else made; those that are no WireGuard are passed over."""
        rows = []
        for other in others:
            row = self._look_at(NODE, other, None, namespaces, probes.get(other), now)
            rows += [row] if row else []
        for name, state in wanted.namespaces.items():
            for device in state.wireguard:
                for peer in (it for it in device.peers if it.endpoints):
                    row = self._look_at(name, device.name, peer, namespaces, probes.get(device.name), now)
                    rows += [row] if row else []
        content = f"{json.dumps([asdict(row) for row in sorted(rows, key=lambda row: row.device)])}\n".encode()
        with suppress(OSError):  # a full disk: the log says how the tunnels are
            if rows and not (self._path.exists() and self._path.read_bytes() == content):
                files.write(File(str(self._path), content))

    def _look_at(
        self, namespace: str, device: str, peer: Peer | None, namespaces: Namespaces, probe: Probe | None, now: float
    ) -> TunnelRow | None:
        reading = wireguard.read(namespaces, device, namespace)
        peers = [it for it in (reading.traffic if reading else ()) if peer is None or it.public_key == peer.public_key]
        if not peers:
            return None
        traffic = max(peers, key=lambda it: it.handshake)
        before = self._tunnels.setdefault(device, Tunnel(now))
        healthy, why = by_handshake(time.time() - traffic.handshake if traffic.handshake else None, self._limits)
        if healthy and probe is not None:
            healthy, why = self._by_probe(device, probe, namespaces.path(probe.namespace), why)
        after = judged(before, healthy, now, self._limits)
        if after.state != before.state:
            self._log(
                "info" if after.state == "up" else "error",
                "tunnel",
                f"{device} is {after.state}: {why}; endpoint {traffic.endpoint}",
                device=device,
                state=after.state,
            )
        died = after.state == "dead" and before.state != "dead"
        if died or (after.state == "dead" and now - after.since >= self._limits.patience):
            after = replace(after, since=now)
            if peer is not None:
                self._turn(namespace, device, peer, traffic.endpoint, namespaces)
        self._tunnels[device] = after
        if after.state != before.state or device not in self._moments:
            self._moments[device] = int(time.time())
        return TunnelRow(device, after.state, traffic.endpoint or "-", self._moments[device])

    def _turn(self, namespace: str, device: str, peer: Peer, current: str | None, namespaces: Namespaces) -> None:
        following = next_endpoint(peer.endpoints, current)
        if following is None:
            return
        self._log("warning", "tunnel", f"{device}: endpoint {current} is dead, trying {following}", device=device)
        with suppress(AgentError, OSError):  # the device is gone: the next round makes it anew
            wanted = replace(peer, endpoints=(following,))
            wireguard.configure(namespaces, device, namespace, WireGuardChange(peers=(wanted,)))

    def _by_probe(self, device: str, probe: Probe, path: str, why: str) -> tuple[bool, str]:
        """By the last finished connection; the next one is begun."""
        if device not in self._probing:
            self._probing.add(device)
            threading.Thread(target=self._probe, args=(device, probe, path), name="probe", daemon=True).start()
        good = self._probed.get(device, True)
        return good, why if good else f"no connection to {probe.address}:{probe.port} through it"

    def _probe(self, device: str, probe: Probe, path: str) -> None:
        try:
            self._probed[device] = connects(probe, path, self._limits.probe)
        finally:
            self._probing.discard(device)


def connects(probe: Probe, namespace_path: str, seconds: float) -> bool:
    """Whether the other side answers; a refusal is an answer, too. Moves the calling thread back afterwards."""
    try:
        with Namespaces({probe.namespace: namespace_path}).inside(probe.namespace):
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with connection:
            connection.settimeout(seconds)
            connection.connect((probe.address, probe.port))
    except OSError as error:
        return error.errno == errno.ECONNREFUSED
    return True


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
