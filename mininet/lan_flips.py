"""Changes under traffic: flips of the policy, SIGKILL at every step of an apply, links that flap.

The first process of a sandbox; takes the number of flips. Clients under policy send without a pause, all the while a
capture on the uplink looks for their packets. Reports a JSON object per test on its standard output.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import lan_router
from lan_lab import BASE, MANAGED, Document, LanLab, abroad, changed, leaks, uplink
from lan_probes import Probe, send_all
from lan_router import ABROAD, ABROAD6, address, ip
from namespace import inside

from host_agent import apply as engine
from host_agent.drivers.namespaces import Namespaces
from host_agent.steps import Step

W1, O3 = "tunnel_director__tunnels__wgc1", "tunnel_director__tunnels__ovpnc3"


def both(*clients: str) -> list[str]:
    return [address(client, version) for client in clients for version in (4, 6)]


TUNNELS = BASE["tunnel_director"]["tunnels"]
POLICIES: tuple[Document, ...] = (  # in each of them lan10, lan20 and lan30 are under some group's kill switch
    BASE,
    changed(BASE, tunnel_director__tunnels=dict(reversed(TUNNELS.items()))),  # marks change places
    changed(BASE, xray__clients=both("lan20"), **{f"{W1}__clients": both("lan10")}),  # clients change places
    changed(BASE, xray__clients=both("lan10", "lan20", "lan30"), tunnel_director=None),
    changed(BASE, xray=None, **{f"{O3}__clients": both("lan10", "lan30")}),
    changed(BASE, xray__exclude_sets=["ru", "by"], **{f"{W1}__exclude": [], f"{O3}__exclude": ["by"]}),
    changed(BASE, **{O3: None, f"{W1}__clients": both("lan20", "lan30"), f"{W1}__dns": "tunnel"}),
    changed(
        BASE, xray__clients=["192.168.50.0/27", "fd00:50::/64"], xray__quic="reject", xray__servers=["192.0.2.201"]
    ),
    changed(BASE, **{f"{W1}__failover": ["ovpnc3"], f"{W1}__dns": "bypass", "xray__ipv6": "block"}),
)


class Traffic:
    """Datagrams, connections, queries and echo requests of all clients, without a pause."""

    def __init__(self) -> None:
        self.sent = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        senders = [sender for client in lan_router.CLIENTS for sender in _senders(client)]
        while not self._done.is_set():
            for send in senders:
                with suppress(OSError):
                    send()
                self.sent += 1
            time.sleep(0.01)


def _senders(client: str) -> Iterator[Callable[[], object]]:
    for family, target in ((socket.AF_INET, ABROAD), (socket.AF_INET6, ABROAD6)):
        for port in (7, 443):
            yield _datagram(client, family, target, port)
        yield _connection(client, family, target)
        yield _echo(client, family, target)


def _datagram(client: str, family: int, target: str, port: int) -> Callable[[], object]:
    with inside(client):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    sender.setblocking(False)

    def send() -> None:
        with suppress(BlockingIOError):
            sender.recv(100)
        sender.sendto(b"x", (target, port))

    return send


def _connection(client: str, family: int, target: str) -> Callable[[], object]:
    """A new connection each time: the policy decides about its first packet, and about those that follow."""

    def send() -> None:
        with inside(client), socket.socket(family, socket.SOCK_STREAM) as opening:
            opening.setblocking(False)
            if opening.connect_ex((target, 80)) not in (0, errno.EINPROGRESS):
                return

    return send


def _echo(client: str, family: int, target: str) -> Callable[[], object]:
    protocol, message = (
        (1, b"\x08\x00\xf7\xfd\x00\x01\x00\x01") if family == socket.AF_INET else (58, b"\x80" + bytes(7))
    )
    with inside(client):
        sender = socket.socket(family, socket.SOCK_RAW, protocol)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    return lambda: sender.sendto(message, (target, 0))


def report(test: str, **values: object) -> None:
    print(json.dumps({"test": test, **values}), flush=True)


@contextmanager
def watched(test: str, **values: object) -> Iterator[dict[str, object]]:
    """Traffic and capture while the body runs, and a report of what leaked; the free client is the positive control."""
    more: dict[str, object] = dict(values)
    with uplink() as seen, Traffic() as traffic:
        yield more
    found = {str(it): count for it, count in leaks(seen, MANAGED).items()}
    report(test, leaks=found, control=abroad(seen, "lan99"), sent=traffic.sent, dropped=seen.dropped, **more)


def flips(lab: LanLab, count: int) -> None:
    lab.apply(POLICIES[0])
    with watched("flips", flips=count) as more:
        steps = 0
        for number in range(count):
            steps += lab.apply(POLICIES[(number * 5 + number // len(POLICIES)) % len(POLICIES)])
            if number % 10 == 9:
                lab.apply(POLICIES[0])
                assert lab.plan(POLICIES[0]) == (), lab.plan(POLICIES[0])
        more["steps"] = steps


def killed_at(lab: LanLab, document: Document, stop_before: int) -> bool:
    """Apply in a process that is killed before its n-th step; False if it had no so many steps."""
    child = os.fork()
    if not child:
        count = 0
        carry_out = engine.carry_out

        def counted(steps: Sequence[Step], namespaces: Namespaces, state_dir: Path, done: engine.Progress) -> None:
            nonlocal count
            for step in steps:
                if count == stop_before:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                carry_out((step,), namespaces, state_dir, done)

        engine.carry_out = counted
        try:
            lab.apply(document)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def kills(lab: LanLab, pairs: int, stride: int) -> None:
    """SIGKILL before every step of the plan, restart, and the policy holds at each moment."""
    for first, second in [(0, 2), (2, 1), (3, 4), (0, 6), (7, 5), (8, 0)][:pairs]:
        with watched(f"killed at every step from policy {first} to {second}") as more:
            number = 0
            while True:
                lab.apply(POLICIES[first])
                if not killed_at(lab, POLICIES[second], number):
                    break
                number += 1
                lab.apply(POLICIES[second])
                assert lab.plan(POLICIES[second]) == ()
            more["kills"] = number
    number = 0
    while True:  # here everybody is free before the first step, so there is nothing to watch
        lab.stop()
        if not killed_at(lab, BASE, number):
            break
        number += stride
        lab.apply(BASE)
        assert lab.plan(BASE) == ()
    report("killed at every step from nothing", leaks={}, kills=number)


def flaps(lab: LanLab, count: int) -> None:
    lab.apply(BASE)
    with watched("links that flap", flaps=count):
        for number in range(count):
            device = lan_router.EXITS["vpn1" if number % 2 else "vpn2"][0]
            ip("link", "set", device, "down")
            if number % 3 == 0:
                lab.apply(BASE)
            time.sleep(0.02)
            lan_router.raise_link("vpn1" if number % 2 else "vpn2")
            lab.apply(BASE)


def main() -> None:
    count = int(sys.argv[2])
    lab = LanLab(Path(sys.argv[1]))
    send_all([Probe(client, version, "tcp") for client in lan_router.CLIENTS for version in (4, 6)])
    flips(lab, count)
    kills(lab, *((1, 4) if count <= 30 else (6, 1)))
    flaps(lab, 6 if count <= 30 else 100)
    sys.stdout.flush()
    os._exit(0)  # the servers' thread has no end


if __name__ == "__main__":
    main()
