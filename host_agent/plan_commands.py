"""The commands an operator could type for each step of a plan. Pure.

The agent does not run these: it speaks netlink, so that nothing is half done and no key stands in an argument. What
a command cannot say without a key is said in a comment.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from host_agent.drivers import netfilter, ovs
from host_agent.drivers.ipset import capacity
from host_agent.peers import WireGuardChange
from host_agent.prefixes import Prefixes
from host_agent.state import MAIN_TABLE, NODE, OWNER, PROTOCOL, Address, Family, IpSet, Link, Route, Rule
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

ASIDE = "new"  # the ending of a set that is being built


def commands(step: Step) -> list[str]:
    """Lines for a shell."""
    match step:
        case CreateNamespace(name=name):
            return [f"ip netns add {name}", f"ip -n {name} link set lo up alias {OWNER}"]
        case RemoveNamespace(name=name):
            return [f"ip netns del {name}"]
        case SetSysctl(namespace=place, sysctl=setting):
            return [f"{_inside(place)}sysctl -w {setting.key}={setting.value}"]
        case Add(namespace=place, item=item):
            return [f"{_ip(place, item)} {_object(item)} add {_words(item)}"]
        case Remove(namespace=place, item=item):
            return [f"{_ip(place, item)} {_object(item)} del {_words(item)}"]
        case ReplaceRoute(namespace=place, route=route):
            return [f"{_ip(place, route)} route replace {_words(route)}"]
        case ReplaceSets():
            there = {ipset.name for ipset in step.found}
            return [line for it in sorted(step.wanted, key=str) for line in _set(step.namespace, it, it.name in there)]
        case RemoveSets():
            return [f"{_inside(step.namespace)}ipset destroy {it.name}" for it in sorted(step.stale, key=str)]
        case ReplaceChains():
            return _restore(step.namespace, step.family, netfilter.replacement(step.wanted, step.found))
        case RemoveChains():
            return _restore(step.namespace, step.family, netfilter.removal(step.stale))
        case ChangeBridge():
            return [shlex.join(["ovs-vsctl", *ovs.change_words(step.bridge, step.ports, step.controller)])]
        case RemovePorts():
            return [f"ovs-vsctl --if-exists del-port {step.bridge} {port}" for port in sorted(step.ports)]
        case RemoveBridge(name=name):
            return [f"ovs-vsctl --if-exists del-br {name}"]
        case Replug():
            again = f"add-port {step.bridge} {step.port} -- set Interface {step.port} type=internal"
            return [
                f"ovs-vsctl del-port {step.bridge} {step.port}",
                f"ovs-vsctl {again} -- set Port {step.port} {ovs.MARK}",
            ]
        case MoveLink():
            return _move(step.source, step.namespace, step.link)
        case RemoveDeadLink(namespace=place, link=link):
            return [f"{_ip(place)} link del {link.name}"]
        case SetLink(namespace=place, link=link):
            size = f" mtu {link.mtu}" if link.mtu else ""
            return [f"{_ip(place)} link set {link.name}{size} up"]
        case CreateWireGuard(namespace=place, link=link):
            made = f"ip link add {link.name} type wireguard || wireguard-go {link.name}"
            return [made, *_move(NODE, place, link)]
        case ConfigureWireGuard():
            return list(_wireguard(step.namespace, step.device, step.change))
        case RemoveWireGuard(namespace=place, device=name):
            return [f"{_ip(place)} link del {name}"]
        case StartDaemon(daemon=it):
            return [f"{_inside(it.namespace)}{shlex.join(it.argv)} &"]
        case StopDaemon(daemon=it):
            return [f"# end {it}"]
        case WriteFile(file=file):
            return [f"install -D -m {file.mode:o} /dev/stdin {shlex.quote(file.path)}  # content is not shown"]
        case RemoveFile(file=file):
            return [f"rm {shlex.quote(file.path)}"]


def script(steps: Iterable[Step]) -> list[str]:
    """All of them, each step's words as a comment above."""
    return [line for step in steps for line in (f"# {step}", *commands(step))]


def _inside(place: str) -> str:
    return "" if place == NODE else f"ip netns exec {place} "


def _ip(place: str, item: Address | Route | Rule | None = None) -> str:
    words = ["ip"] if place == NODE else ["ip", "-n", place]
    ipv6 = (isinstance(item, Route) and item.destination.version == 6) or (
        isinstance(item, Rule) and item.family == "ipv6"
    )
    return " ".join([*words, *(["-6"] if ipv6 else [])])


def _object(item: Address | Route | Rule) -> str:
    return {Address: "address", Route: "route", Rule: "rule"}[type(item)]


def _words(item: Address | Route | Rule) -> str:
    match item:
        case Address():
            return f"{item.interface} dev {item.link}"
        case Route():
            words: list[str] = [] if item.kind == "unicast" else [item.kind]
            words.append("default" if item.destination.prefixlen == 0 else str(item.destination))
            words += ["via", str(item.via)] if item.via else []
            words += ["dev", item.link] if item.link else []
            words += ["table", "main" if item.table == MAIN_TABLE else str(item.table)]
            words += ["metric", str(item.metric)] if item.metric else []
            return " ".join([*words, "proto", str(PROTOCOL)])
        case Rule():
            words = ["pref", str(item.priority)]
            words += ["iif", item.incoming] if item.incoming else []
            words += ["from", str(item.source)] if item.source else []
            words += ["fwmark", f"{item.mark:#x}/{item.mask:#x}"] if item.mask else []
            words += ["lookup", str(item.table)] if item.table else ["unreachable"]
            return " ".join([*words, "protocol", str(PROTOCOL)])


def _set(place: str, ipset: IpSet, there: bool) -> list[str]:
    """Built aside and swapped, as the agent does it. The odd capacity is the agent's mark."""
    name = f"{ipset.name}-{ASIDE}" if there else ipset.name
    family = "inet" if ipset.family == "ipv4" else "inet6"
    size = capacity(ipset.seal.count)
    lines = [f"create {name} hash:net family {family} maxelem {size}"]
    lines += [f"add {name} {prefix}" for prefix in ipset.prefixes] if isinstance(ipset.prefixes, Prefixes) else []
    lines += [f"swap {name} {ipset.name}", f"destroy {name}"] if there else []
    return _here(f"{_inside(place)}ipset restore", lines)


def _restore(place: str, family: Family, text: str) -> list[str]:
    tool = netfilter.TOOLS[family][1]
    return _here(f"{_inside(place)}{tool} --noflush --wait 10", text.splitlines())


def _here(command: str, lines: Sequence[str]) -> list[str]:
    return [f"{command} <<'END'", *lines, "END"]


def _move(source: str, place: str, link: Link) -> list[str]:
    marked = f"{_ip(source)} link set {link.name} alias {OWNER}"
    return [marked] if source == place else [marked, f"{_ip(source)} link set {link.name} netns {place or 1}"]


def _wireguard(place: str, device: str, change: WireGuardChange) -> Iterable[str]:
    tool = f"{_inside(place)}wg set {device}"
    if change.private_key:
        yield f"{tool} private-key /dev/stdin  # the key is not shown"
    if change.listen_port:
        yield f"{tool} listen-port {change.listen_port}"
    for peer in change.peers:
        words = ["peer", peer.public_key, "allowed-ips", ",".join(sorted(map(str, peer.allowed_ips)))]
        words += ["endpoint", str(peer.endpoints[0])] if peer.endpoints else []
        words += ["persistent-keepalive", str(peer.keepalive)] if peer.keepalive else []
        secret = " preshared-key /dev/stdin  # the key is not shown" if peer.preshared_key else ""
        yield f"{tool} {' '.join(words)}{secret}"
    for key in change.removed:
        yield f"{tool} peer {key} remove"
