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
        return [_command(self.namespace, "del", self.item)]

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
        case Block():  # to delete one, ip(8) does not ask for a mark of 0; deleteall knows it by the rest
            verb, mark = ("add", " mark 0 mask 0xffffffff") if verb == "add" else ("deleteall", "")
            return f"{ip(place)} xfrm policy {verb} {item.words}{mark} priority {xfrm.PRIORITY}"
