"""Carry a plan out, then read again: only an empty second plan is success."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from host_agent import actual
from host_agent.drivers import daemon, files, ipset, netfilter, netlink, ovs, sysctl, wireguard
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError, Conflict, NotConverged
from host_agent.plan import plan
from host_agent.state import HostState
from host_agent.steps import (
    Add,
    ChangeBridge,
    ConfigureWireGuard,
    CreateNamespace,
    CreateWireGuard,
    MoveLink,
    Remove,
    RemoveBridge,
    RemoveChains,
    RemoveDeadLink,
    RemoveFile,
    RemoveNamespace,
    RemovePorts,
    RemoveSets,
    RemoveWireGuard,
    ReplaceChains,
    ReplaceRoute,
    ReplaceSets,
    Replug,
    SetLink,
    SetSysctl,
    StartDaemon,
    Step,
    StopDaemon,
    WriteFile,
)

ROUNDS = 2  # removing a stale address can take one of our routes with it; the second round puts it back
Progress = Callable[[Step, float], None]  # a step that was done, and the milliseconds it took


def apply(wanted: HostState, namespaces: Namespaces, state_dir: Path, done: Progress) -> int:
    """Make the host as wanted; returns the number of steps it took.

    Raises Conflict, before anything is touched, if a stranger's object is in the way, and NotConverged if a step
    fails or the host still differs in the end.
    """
    count = 0
    for _ in range(ROUNDS):
        found = actual.read(wanted, namespaces)
        if found.strangers:
            raise Conflict(*sorted(map(str, found.strangers)))
        steps = plan(wanted, found)
        for step in steps:
            carry_out(step, namespaces, state_dir, done)
        count += len(steps)
        if not steps:
            return count
    remaining = plan(wanted, actual.read(wanted, namespaces))
    if remaining:
        raise NotConverged("after all steps the host still differs:", *map(str, remaining))
    return count


def carry_out(step: Step, namespaces: Namespaces, state_dir: Path, done: Progress) -> None:
    """One step. Raises NotConverged with the step's words and what went wrong."""
    begin = time.perf_counter()
    try:
        _execute(step, namespaces, state_dir)
    except (AgentError, NetlinkError, OSError) as error:
        raise NotConverged(
            f"{step}: {error}", "what was done before stays; the next apply goes on from there"
        ) from error
    done(step, (time.perf_counter() - begin) * 1e3)


def _execute(step: Step, namespaces: Namespaces, state_dir: Path) -> None:
    match step:
        case WriteFile():
            files.write(step.file)
        case RemoveFile():
            files.remove(step.file)
        case CreateNamespace():
            namespaces.create(step.name)
        case RemoveNamespace():
            namespaces.remove(step.name)
        case SetSysctl():
            with namespaces.inside(step.namespace):
                sysctl.write(step.sysctl)
        case Add():
            netlink.add(namespaces.netlink(step.namespace), step.item)
        case ReplaceRoute():
            netlink.replace_route(namespaces.netlink(step.namespace), step.route)
        case Remove():
            netlink.remove(namespaces.netlink(step.namespace), step.item)
        case ReplaceSets():
            with namespaces.inside(step.namespace):
                ipset.replace(step.wanted, step.found)
        case RemoveSets():
            with namespaces.inside(step.namespace):
                ipset.remove(step.stale)
        case ReplaceChains():
            with namespaces.inside(step.namespace):
                netfilter.write(step.family, netfilter.replacement(step.wanted, step.found))
        case RemoveChains():
            with namespaces.inside(step.namespace):
                netfilter.write(step.family, netfilter.removal(step.stale))
                netfilter.remove_empty_tables(step.family)
        case ChangeBridge():
            ovs.change(step.bridge, step.ports, step.controller)
        case RemovePorts():
            ovs.remove_ports(step.bridge, step.ports)
        case RemoveBridge():
            ovs.remove_bridge(step.name)
        case Replug():
            ovs.replug(step.bridge, step.port)
        case MoveLink():
            netlink.move(namespaces.netlink(step.source), step.link.name, namespaces.path(step.namespace))
        case RemoveDeadLink():
            netlink.remove_link(namespaces.netlink(step.namespace), step.link.name)
        case SetLink():
            netlink.set_link(namespaces.netlink(step.namespace), step.link)
        case CreateWireGuard():
            log = state_dir / "log" / f"{wireguard.process_name(step.link.name)}.log"
            wireguard.create(namespaces, step.link, step.namespace, str(log))
        case ConfigureWireGuard():
            wireguard.configure(namespaces, step.device, step.namespace, step.change)
        case RemoveWireGuard():
            wireguard.remove(namespaces, step.device, step.namespace)
        case StartDaemon():
            with namespaces.inside(step.daemon.namespace):
                running = daemon.start(step.daemon)
            if step.daemon.port is not None:
                daemon.wait_for_port(step.daemon, running, step.daemon.port)
        case StopDaemon():
            daemon.stop(step.daemon.name)
