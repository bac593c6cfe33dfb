"""Steps about links: sockets of the switch, and WireGuard devices with their settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from host_agent.drivers import daemon, netlink_change, wireguard
from host_agent.peers import WireGuardChange
from host_agent.state import NODE, OWNER, HostState, Link, log_path
from host_agent.steps.base import ASKED, Machine, Step, at, inside, ip


@dataclass(frozen=True)
class MoveLink(Step):
    source: str
    namespace: str
    link: Link

    def __str__(self) -> str:
        return f"{at(self.namespace)}: move link {self.link.name} here from {at(self.source)}"

    def carry_out(self, machine: Machine) -> None:
        target = machine.namespaces.path(self.namespace)
        netlink_change.move(machine.namespaces.netlink(self.source), self.link.name, target)

    def commands(self) -> list[str]:
        return _move(self.source, self.namespace, self.link)

    def was(self, found: HostState) -> str:
        return f"link {self.link.name} was not in its namespace"


@dataclass(frozen=True)
class RemoveDeadLink(Step):
    namespace: str
    link: Link

    def __str__(self) -> str:
        return f"{at(self.namespace)}: remove link {self.link.name}, nothing is behind it any more"

    def carry_out(self, machine: Machine) -> None:
        netlink_change.remove_link(machine.namespaces.netlink(self.namespace), self.link.name)

    def commands(self) -> list[str]:
        return [f"{ip(self.namespace)} link del {self.link.name}"]


@dataclass(frozen=True)
class SetLink(Step):
    namespace: str
    link: Link

    def __str__(self) -> str:
        return f"{at(self.namespace)}: set {self.link}"

    def carry_out(self, machine: Machine) -> None:
        netlink_change.set_link(machine.namespaces.netlink(self.namespace), self.link)

    def commands(self) -> list[str]:
        size = f" mtu {self.link.mtu}" if self.link.mtu else ""
        return [f"{ip(self.namespace)} link set {self.link.name}{size} up"]

    def was(self, found: HostState) -> str:
        links = [str(link) for link in found.namespace(self.namespace).links if link.name == self.link.name]
        return f"{self.link} was {', '.join(links) or 'new'}"


@dataclass(frozen=True)
class CreateWireGuard(Step):
    namespace: str
    link: Link

    def __str__(self) -> str:
        return f"{at(self.namespace)}: create WireGuard device {self.link.name}, its socket on the node"

    def carry_out(self, machine: Machine) -> None:
        log = log_path(machine.state_dir, wireguard.process_name(self.link.name))
        wireguard.create(machine.namespaces, self.link, self.namespace, str(log))

    def commands(self) -> list[str]:
        name = self.link.name
        # wireguard-go returns before it has read its device, and ends if that has moved away by then; wg(8) waits.
        process = f"{daemon.marked(wireguard.process_name(name))} {wireguard.PROGRAM} {name}"
        made = f"ip link add {name} type wireguard || {{ {process} && wg show {name} >/dev/null; }}"
        return [made, *_move(NODE, self.namespace, self.link)]

    def was(self, found: HostState) -> str:
        return f"WireGuard device {self.link.name} was gone"


@dataclass(frozen=True)
class ConfigureWireGuard(Step):
    namespace: str
    device: str
    change: WireGuardChange

    def __str__(self) -> str:
        return f"{at(self.namespace)}: configure WireGuard device {self.device}: {self.change}"

    def carry_out(self, machine: Machine) -> None:
        wireguard.configure(machine.namespaces, self.device, self.namespace, self.change)

    def commands(self) -> list[str]:
        return list(_set(f"{inside(self.namespace)}wg set {self.device}", self.change))

    def was(self, found: HostState) -> str:
        return f"WireGuard device {self.device} had other settings"


@dataclass(frozen=True)
class RemoveWireGuard(Step):
    namespace: str
    device: str

    def __str__(self) -> str:
        return f"{at(self.namespace)}: remove WireGuard device {self.device}"

    def carry_out(self, machine: Machine) -> None:
        wireguard.remove(machine.namespaces, self.device, self.namespace)

    def commands(self) -> list[str]:
        return [f"{ip(self.namespace)} link del {self.device}"]


def _move(source: str, place: str, link: Link) -> list[str]:
    marked = f"{ip(source)} link set {link.name} alias {OWNER}"
    return [marked] if source == place else [marked, f"{ip(source)} link set {link.name} netns {place or '$$'}"]


def _set(tool: str, change: WireGuardChange) -> Iterator[str]:
    if change.private_key:
        yield f"{tool} private-key {ASKED}  # the key is not shown"
    if change.listen_port:
        yield f"{tool} listen-port {change.listen_port}"
    for peer in change.peers:
        words = ["peer", peer.public_key, "allowed-ips", ",".join(sorted(map(str, peer.allowed_ips)))]
        words += ["endpoint", str(peer.endpoints[0])] if peer.endpoints else []
        words += ["persistent-keepalive", str(peer.keepalive), "preshared-key"]
        secret = f"{ASKED}  # the key is not shown" if peer.preshared_key else "/dev/null"  # wg(8): none
        yield f"{tool} {shlex.join(words)} {secret}"
    for key in change.removed:
        yield f"{tool} peer {key} remove"
