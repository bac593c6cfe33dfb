"""Steps about addresses, routes, ip rules and IPsec policies."""

from __future__ import annotations

from dataclasses import dataclass

from host_agent.drivers import netlink_change, xfrm
from host_agent.drivers.netlink_socket import XFRM
from host_agent.state import FAMILY_OPTION, PROTOCOL, Address, Block, HostState, Route, Rule
from host_agent.steps.base import Machine, Step, at, ip

Item = Address | Route | Rule | Block


@dataclass(frozen=True)
class Add(Step):
    namespace: str
    item: Item

    def __str__(self) -> str:
        return f"{at(self.namespace)}: add {self.item}"

    def carry_out(self, machine: Machine) -> None:
        if isinstance(self.item, Block):
            xfrm.add(machine.namespaces.netlink(self.namespace, XFRM), self.item)
        else:
            netlink_change.add(machine.namespaces.netlink(self.namespace), self.item)

    def commands(self) -> list[str]:
        return [_command(self.namespace, "add", self.item)]

    @property
    def objects(self) -> tuple[str, ...]:
        return (f"{at(self.namespace)}: {self.item}",)

    def was(self, found: HostState) -> str:
        return f"{self.item} was gone"


@dataclass(frozen=True)
class Remove(Step):
    namespace: str
    item: Item

    def __str__(self) -> str:
        return f"{at(self.namespace)}: remove {self.item}"

    def carry_out(self, machine: Machine) -> None:
        if isinstance(self.item, Block):
            xfrm.remove(machine.namespaces.netlink(self.namespace, XFRM), self.item)
        else:
            netlink_change.remove(machine.namespaces.netlink(self.namespace), self.item)

    def commands(self) -> list[str]:
        if isinstance(self.item, Block):
            return _unblocked(self.namespace, self.item)
        lost = " || true  # if it went with its link" if isinstance(self.item, Address | Route) else ""
        return [f"{_command(self.namespace, 'del', self.item)}{lost}"]

    @property
    def objects(self) -> tuple[str, ...]:
        return (f"{at(self.namespace)}: {self.item}",)

    def was(self, found: HostState) -> str:
        return f"{self.item} was there, which nobody asked for"


@dataclass(frozen=True)
class ReplaceRoute(Step):
    namespace: str
    route: Route

    def __str__(self) -> str:
        return f"{at(self.namespace)}: replace {self.route}"

    def carry_out(self, machine: Machine) -> None:
        netlink_change.replace_route(machine.namespaces.netlink(self.namespace), self.route)

    def commands(self) -> list[str]:
        return [_command(self.namespace, "replace", self.route)]

    @property
    def objects(self) -> tuple[str, ...]:
        return (f"{at(self.namespace)}: {self.route}",)

    def was(self, found: HostState) -> str:
        others = [str(it) for it in found.namespace(self.namespace).routes if it.key == self.route.key]
        return f"{self.route} was {', '.join(others)}"


def _command(place: str, verb: str, item: Item) -> str:
    words = f"{verb} {item.words}"
    match item:
        case Address():
            return f"{ip(place)} address {words}"
        case Route():
            option = FAMILY_OPTION["ipv6" if item.destination.version == 6 else "ipv4"]
            return f"{ip(place, option)} route {words} proto {PROTOCOL}"
        case Rule():
            return f"{ip(place, FAMILY_OPTION[item.family])} rule {words} protocol {PROTOCOL}"
        case Block():
            return _policy(place, verb, item, xfrm.PRIORITY)


def _policy(place: str, verb: str, block: Block, priority: int) -> str:
    return f"{ip(place)} xfrm policy {verb} {block.words} mark 0 mask 0xffffffff priority {priority}"


def _unblocked(place: str, block: Block) -> list[str]:
    """To delete one, ip(8) does not ask for a mark of 0; its deleteall takes those of sources within this one's, too.
    So first it gets another priority."""
    aside = xfrm.PRIORITY - 1
    return [
        _policy(place, "update", block, aside),
        f"{ip(place)} xfrm policy deleteall {block.words} priority {aside}",
    ]
