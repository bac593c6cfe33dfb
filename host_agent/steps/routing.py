"""Steps about addresses, routes and ip rules."""

from __future__ import annotations

from dataclasses import dataclass

from host_agent.drivers import netlink_change
from host_agent.state import FAMILY_OPTION, MAIN_TABLE, PROTOCOL, Address, HostState, Route, Rule
from host_agent.steps.base import Machine, Step, at, ip, there

Item = Address | Route | Rule
NAMES: dict[type[Item], str] = {Address: "address", Route: "route", Rule: "rule"}


@dataclass(frozen=True)
class Add(Step):
    namespace: str
    item: Item

    def __str__(self) -> str:
        return f"{at(self.namespace)}: add {self.item}"

    def carry_out(self, machine: Machine) -> None:
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
        others = [str(it) for it in there(self.namespace, found).routes if it.key == self.route.key]
        return f"{self.route} was {', '.join(others)}"


def _command(place: str, verb: str, item: Item) -> str:
    return f"{ip(place, _option(item))} {NAMES[type(item)]} {verb} {_words(item)}"


def _option(item: Item) -> str:
    match item:
        case Address():
            return ""
        case Route():
            return FAMILY_OPTION["ipv6" if item.destination.version == 6 else "ipv4"]
        case Rule():
            return FAMILY_OPTION[item.family]


def _words(item: Item) -> str:
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
            words += ["lookup", str(item.table)] if item.table else ["prohibit"]
            return " ".join([*words, "protocol", str(PROTOCOL)])
