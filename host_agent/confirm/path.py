"""Whether a change touches the way by which the operator is connected to this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

from host_agent.drivers.command import run
from host_agent.errors import CommandFailed
from host_agent.state import MAIN_TABLE, NODE, Address, IPAddress, Route, Rule
from host_agent.steps import (
    Add,
    ChangeBridge,
    ConfigureWireGuard,
    MoveLink,
    Remove,
    RemoveBridge,
    RemoveDeadLink,
    RemovePorts,
    RemoveWireGuard,
    ReplaceChains,
    ReplaceRoute,
    SetLink,
    SetSysctl,
    Step,
)

VARIABLE = "SSH_CONNECTION"  # ssh(1): client's address and port, server's address and port


@dataclass(frozen=True)
class Connection:
    """The operator's way in."""

    peer: IPAddress
    here: IPAddress
    device: str  # by which this machine answers the peer


def warnings(steps: Iterable[Step]) -> tuple[str, ...]:
    """One line per step that may cut the operator's connection; none if he sits at the machine."""
    connection = operators_connection()
    if connection is None:
        return ()
    whom = f"your connection from {connection.peer} by {connection.device}"
    return tuple(f"may cut {whom}: {step}" for step in steps if touches(step, connection))


def operators_connection() -> Connection | None:
    """By this process's environment, or, as sudo(8) cleans it, by that of the processes it was started from."""
    text = os.environ.get(VARIABLE) or next(_parents_variables(), None)
    words = (text or "").split()
    with suppress(ValueError, IndexError, CommandFailed):
        peer, here = ip_address(words[0]), ip_address(words[2])
        found = re.search(r"\bdev (\S+)", run(["ip", "route", "get", str(peer), "from", str(here)]))
        return Connection(peer, here, found[1] if found else "")
    return None


def _parents_variables() -> Iterator[str]:
    pid = os.getppid()
    while pid > 1:
        with suppress(OSError):
            for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                if item.startswith(f"{VARIABLE}=".encode()):
                    yield item.partition(b"=")[2].decode(errors="replace")
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            return


def touches(step: Step, way: Connection) -> bool:
    """Whether the step can decide about the connection's packets. Pure; in doubt it does."""
    if getattr(step, "namespace", NODE) != NODE:
        return False  # the agent and the operator's connection are on the node
    match step:
        case Add(item=Route() as route) | Remove(item=Route() as route) | ReplaceRoute(route=route):
            return way.peer in route.destination and (route.table == MAIN_TABLE or route.kind == "local")
        case Add(item=Rule() as rule) | Remove(item=Rule() as rule):
            answers = rule.incoming in (None, "lo") and not rule.mask and rule.outgoing in (None, way.device)
            return answers and (rule.source is None or way.here in rule.source)
        case Remove(item=Address() as address):
            return address.interface.ip == way.here
        case ReplaceChains():
            return any(_takes(rule.arguments, way) for chain in step.wanted for rule in chain.rules if chain.shared)
        case SetSysctl():
            return re.search(rf"/conf/(all|{re.escape(way.device)})/(rp_filter|disable_)", step.sysctl.key) is not None
        case SetLink(link=link) | RemoveDeadLink(link=link) | MoveLink(link=link):
            return link.name == way.device
        case ConfigureWireGuard(device=name) | RemoveWireGuard(device=name):
            return name == way.device
        case ChangeBridge(bridge=bridge):
            return bridge.name == way.device
        case RemoveBridge(name=name):
            return name == way.device
        case RemovePorts(ports=ports):
            return way.device in ports
    return False


def _takes(arguments: str, way: Connection) -> bool:
    """Whether a rule in a built-in chain can meet the peer's packets; a jump counts as if it took all it gets."""
    incoming = re.search(r"(?<!! )-i (\S+)", arguments)
    source = re.search(r"(?<!! )-s (\S+)", arguments)
    if incoming and incoming[1] not in (way.device, f"{way.device}+"):
        return False
    if source and way.peer not in ip_network(source[1], strict=False):
        return False
    return not re.search(r"-j (RETURN|ACCEPT)\b", arguments)
