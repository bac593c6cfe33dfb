"""Words for the log of ``run``: which objects a step is about, and what was found of them. Pure."""

from __future__ import annotations

from host_agent.state import Chain, HostState, NamespaceState
from host_agent.steps import (
    Add,
    ChangeBridge,
    ConfigureWireGuard,
    CreateNamespace,
    CreateWireGuard,
    MoveLink,
    Remove,
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
    at,
)


def objects(step: Step) -> tuple[str, ...]:
    """What the step repairs, one name per object: a fight is counted by object."""
    match step:
        case Add() | Remove():
            return (f"{at(step.namespace)}: {step.item}",)
        case ReplaceRoute():
            return (f"{at(step.namespace)}: {step.route}",)
        case ReplaceSets():
            return tuple(f"{at(step.namespace)}: ipset {ipset.name}" for ipset in sorted(step.wanted, key=str))
        case ReplaceChains():
            return tuple(f"{at(step.namespace)}: {_title(chain)}" for chain in sorted(step.wanted, key=str))
    return (str(step),)


def changed(step: Step, found: HostState) -> str:
    """What was found instead of what was wanted, in one line."""
    state = found.namespaces.get(getattr(step, "namespace", ""), NamespaceState())
    match step:
        case Add():
            return f"{step.item} was gone"
        case Remove():
            return f"{step.item} was there, which nobody asked for"
        case ReplaceRoute():
            others = [str(route) for route in state.routes if route.key == step.route.key]
            return f"{step.route} was {', '.join(others)}"
        case SetSysctl():
            values = [it.value for it in state.sysctls if it.key == step.sysctl.key]
            return f"sysctl {step.sysctl.key} was {', '.join(values) or 'not there'}"
        case ReplaceSets():
            sets = {ipset.name: str(ipset) for ipset in step.found}
            return "; ".join(_set(str(ipset), sets.get(ipset.name)) for ipset in sorted(step.wanted, key=str))
        case ReplaceChains():
            chains = {chain.key: chain for chain in step.found}
            return "; ".join(_chain(chain, chains.get(chain.key)) for chain in sorted(step.wanted, key=str))
        case SetLink():
            links = [str(link) for link in state.links if link.name == step.link.name]
            return f"{step.link} was {', '.join(links) or 'new'}"
        case StartDaemon():
            running = [daemon for daemon in found.daemons if daemon.name == step.daemon.name]
            return f"{step.daemon} {'ran with another command line' if running else 'had ended'}"
        case CreateNamespace():
            return f"network namespace {step.name} was gone"
        case CreateWireGuard():
            return f"WireGuard device {step.link.name} was gone"
        case MoveLink():
            return f"link {step.link.name} was not in its namespace"
        case ChangeBridge():
            return f"bridge {step.bridge.name} differed: {step.words}"
        case Replug():
            return f"the device of port {step.port} was gone"
        case ConfigureWireGuard():
            return f"WireGuard device {step.device} had other settings"
        case StopDaemon():
            return f"{step.daemon} was not where it belongs"
        case WriteFile():
            return f"{step.file} was gone or had changed"
    return "it differed"


def _set(wanted: str, found: str | None) -> str:
    if found is None:
        return f"{wanted} was gone"
    return f"{wanted} had other entries" if found == wanted else f"{wanted} was {found}"


def _chain(wanted: Chain, found: Chain | None) -> str:
    there = [rule.digest for rule in found.rules] if found else []
    here = [rule.digest for rule in wanted.rules]
    lost = [str(place) for place, digest in enumerate(here, 1) if digest not in there]
    strange = [rule.arguments for rule in found.rules if rule.digest not in here] if found else []
    if len(lost) == len(here) and not strange:
        return f"{_title(wanted)} was gone"
    words = [f"lacked rule {', '.join(lost)}"] if lost else []
    words += [f"had the rule: {'; '.join(strange)}"] if strange else []
    return f"{_title(wanted)} {' and '.join(words) or 'had its rules in another order'}"


def _title(chain: Chain) -> str:
    return f"{'iptables' if chain.family == 'ipv4' else 'ip6tables'} {chain.table} {chain.name}"
