"""The LAN router's lab with the product in it: policies to apply, packets to send, and what the uplink saw of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lan_router
import sandbox
from capture import Capture, Seen, capture
from lan_router import ABROAD, ABROAD6, CLIENTS, EXEMPT, EXEMPT6, address
from lan_servers import Servers

from host_agent import actual
from host_agent.apply import apply
from host_agent.desired import desired
from host_agent.drivers.namespaces import Namespaces
from host_agent.facts import survey
from host_agent.plan import plan
from host_agent.state import HostState
from host_agent.steps import Step
from policies.load import load_policy

Document = dict[str, Any]
MANAGED = ("lan10", "lan20", "lan30")


def both(client: str) -> list[str]:
    return [address(client, 4), address(client, 6)]


BASE: Document = {
    "xray": {"clients": both("lan10"), "servers": ["192.0.2.200"], "exclude_sets": ["ru"]},
    "tunnel_director": {
        "tunnels": {
            "wgc1": {"clients": both("lan20"), "exclude": ["RU"]},
            "ovpnc3": {"clients": both("lan30"), "exclude": ["ru"]},
        }
    },
}


def changed(document: Document, **values: object) -> Document:
    """A copy with other values; ``a__b`` is the key b in a."""
    other = copy.deepcopy(document)
    for path, value in values.items():
        *way, last = path.split("__")
        place = other
        for key in way:
            place = place.setdefault(key, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return other


class LanLab:
    """Everything but the directory dies with the sandbox."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.state = directory, directory / "state"
        self.steps: list[Step] = []
        sandbox.furnish(directory, {})
        lan_router.build(directory)
        self.servers = Servers()

    def write(self, document: Document) -> Path:
        own = {"advanced__ipsets__zones_dir": str(self.directory / "zones")}
        own["advanced__tunnel_director__hash_file"] = str(self.directory / "hash" / "tun_dir_rules.sha256")
        whole = changed(document, **own)
        path = self.directory / "policy.json"
        path.write_text(json.dumps(whole, indent=1))
        return path

    def wanted(self, document: Document) -> HostState:
        policy = load_policy(self.write(document))
        return desired(policy, survey.survey(policy, self.state, self.directory))

    def apply(self, document: Document) -> int:
        """The number of steps."""
        return self.put_in_force(self.wanted(document))

    def put_in_force(self, wanted: HostState) -> int:
        with Namespaces({}) as namespaces:
            return apply(wanted, namespaces, self.state, lambda step, _: self.steps.append(step))

    def stop(self) -> int:
        return self.put_in_force(HostState())

    def plan(self, document: Document) -> tuple[Step, ...]:
        wanted = self.wanted(document)
        with Namespaces({}) as namespaces:
            return plan(wanted, actual.read(wanted, namespaces))


@contextmanager
def uplink() -> Iterator[Capture]:
    with capture("node", lan_router.EXITS["wan"][0]) as seen:
        yield seen


def may_leave(seen: Seen) -> bool:
    """What the base policy lets a managed client send by the uplink: to the exempt country, all but queries."""
    return seen.destination in (EXEMPT, EXEMPT6) and seen.destination_port != 53


def leaks(seen: Capture, clients: tuple[str, ...] = MANAGED) -> dict[Seen, int]:
    """Packets of clients that the uplink should not have seen."""
    own = {address(client, version) for client in clients for version in (4, 6)}
    return {it: count for it, count in seen.packets.items() if it.source in own and not may_leave(it)}


def abroad(seen: Capture, client: str) -> int:
    """Packets of this client to the Internet on the uplink: a positive control."""
    own = {address(client, 4), address(client, 6)}
    return sum(n for it, n in seen.packets.items() if it.source in own and it.destination in (ABROAD, ABROAD6))


assert set(MANAGED) < set(CLIENTS)
