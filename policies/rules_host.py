"""What the host document says as a whole must be possible and free of contradiction. All problems come at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from itertools import count
from typing import TypeVar

from policies.errors import Problem
from policies.host_model import MAIN, Client, Director, Mac, Tunnel
from policies.model import NOWHERE, Place
from policies.rules import Found, touches
from policies.tree import child_path

T = TypeVar("T")
PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
TUNNELS = "tunnel_director.tunnels"


@dataclass(frozen=True)
class HostCase:
    director: Director
    place: Callable[[str], Place]
    unread: frozenset[str] = frozenset()

    def line(self, path: str) -> str:
        return f"line {self.place(path).line}"

    def entries(self, path: str, values: tuple[T, ...]) -> Iterator[tuple[str, T]]:
        """The values of a list, each with its path: those that could not be read have kept their numbers."""
        numbers = (number for number in count() if f"{path}[{number}]" not in self.unread)
        return ((f"{path}[{number}]", value) for number, value in zip(numbers, values, strict=False))


def check_host(
    director: Director,
    place: Callable[[str], Place] = lambda path: NOWHERE,
    unread: frozenset[str] = frozenset(),
) -> tuple[Problem, ...]:
    """The problems of a director's policy; ``place`` and ``unread`` as in ``policies.check``."""
    case = HostCase(director, place, unread)
    rules = [rule for rule, reads in RULES.items() if not any(touches(path, key) for path in unread for key in reads)]
    return tuple(Problem(place(path), message) for rule in rules for path, message in rule(case))


def _tunnel_path(tunnel: Tunnel, key: str = "") -> str:
    path = child_path(TUNNELS, tunnel.name)
    return f"{path}.{key}" if key else path


def _as_written(client: Client) -> str:
    return str(client) if isinstance(client, Mac) or client.num_addresses > 1 else str(client.network_address)


def _lists(director: Director) -> Iterator[tuple[str, tuple[Client, ...]]]:
    """Every list of clients that a group has, with its path."""
    yield "xray.clients", director.xray.clients
    for tunnel in director.tunnels:
        yield _tunnel_path(tunnel, "clients"), tunnel.clients


def clients_once(case: HostCase) -> Found:
    """A client is named once in ``xray`` and once among the tunnels; that Xray then wins is what the document says."""
    seen: dict[tuple[str, Client], str] = {}
    for path, clients in (*_lists(case.director), ("paused_clients", case.director.paused_clients)):
        for here, client in case.entries(path, clients):
            group = path if not path.startswith(TUNNELS) else TUNNELS
            first = seen.setdefault((group, client), here)
            if first != here:
                where = case.line(first)
                hint = "" if group != TUNNELS else "; for a second tunnel when the first is dead, use failover"
                yield here, f"{_as_written(client)} is named already, by {first} ({where}): remove one of them{hint}"


def clients_on_the_lan(case: HostCase) -> Found:
    subnets = case.director.advanced.lan.subnets
    for path, clients in _lists(case.director):
        for here, client in case.entries(path, clients):
            if isinstance(client, Mac):
                continue
            known = [subnet for subnet in subnets if subnet.version == client.version]
            if not known and isinstance(client, IPv4Network):
                known = list(PRIVATE)
            if known and not any(_within(client, subnet) for subnet in known):
                listed = ", ".join(map(str, known))
                yield here, f"{client} is outside the LAN ({listed}); see advanced.lan.subnets"


def _within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def tunnels_fit_their_marks(case: HostCase) -> Found:
    names = case.director.advanced.tunnel_director
    used = sum(bool(tunnel.clients) for tunnel in case.director.tunnels)
    if used > names.slots:
        yield TUNNELS, f"{used} tunnels, but the field of the mark holds {names.slots}: see advanced.tunnel_director"
    if names.pref_base + used - 1 > 32765:
        message = f"{used} tunnels need preferences up to {names.pref_base + used - 1}; 32766 is the kernel's own"
        yield "advanced.tunnel_director.pref_base", message


def mark_fields_are_sound(case: HostCase) -> Found:
    xray, names = case.director.advanced.xray, case.director.advanced.tunnel_director
    field = names.mark_mask >> names.mark_shift
    if field << names.mark_shift != names.mark_mask or field & (field + 1) or field < 3:
        message = f"{names.mark_mask:#x} is no field of at least two bits that begins at bit {names.mark_shift}"
        yield "advanced.tunnel_director.mark_mask", f"{message} (mark_shift)"
    if xray.fwmark & ~xray.fwmark_mask:
        message = f"{xray.fwmark:#x} has bits outside its mask {xray.fwmark_mask:#x}"
        yield "advanced.xray.fwmark", message
    if xray.fwmark_mask & names.mark_mask:
        message = f"{xray.fwmark_mask:#x} and tunnel_director.mark_mask {names.mark_mask:#x} share bits"
        yield "advanced.xray.fwmark_mask", f"{message}: each needs bits of its own"
    if names.judged_mark & (xray.fwmark_mask | names.mark_mask):
        message = f"{names.judged_mark:#x} needs bits of its own, outside xray.fwmark_mask {xray.fwmark_mask:#x}"
        yield "advanced.tunnel_director.judged_mark", f"{message} and mark_mask {names.mark_mask:#x}"


def preferences_apart(case: HostCase) -> Found:
    xray, names = case.director.advanced.xray, case.director.advanced.tunnel_director
    last = names.pref_base + max(1, sum(bool(tunnel.clients) for tunnel in case.director.tunnels)) - 1
    taken = f"the tunnels' preferences {names.pref_base} to {last}"
    if names.pref_base <= xray.rule_pref <= last:
        yield "advanced.xray.rule_pref", f"{xray.rule_pref} is one of {taken}"
    if names.pref_base <= names.refuse_pref <= last:
        yield "advanced.tunnel_director.refuse_pref", f"{names.refuse_pref} is one of {taken}"
    if names.refuse_pref == xray.rule_pref:
        yield "advanced.tunnel_director.refuse_pref", f"{names.refuse_pref} is xray.rule_pref as well"


def chains_apart(case: HostCase) -> Found:
    xray, names = case.director.advanced.xray, case.director.advanced.tunnel_director
    chains = {"xray.chain": xray.chain}
    for key, name in (
        ("tunnel_director.chain", names.chain),
        ("xray.guard", xray.guard),
        ("tunnel_director.guard", names.guard),
    ):
        for other in (it for it, taken in chains.items() if taken == name):
            yield f"advanced.{key}", f"{name} is {other} as well: each needs a chain of its own"
        chains[key] = name


def sets_apart(case: HostCase) -> Found:
    xray = case.director.advanced.xray
    if xray.clients_ipset == xray.servers_ipset:
        yield "advanced.xray.clients_ipset", f"{xray.clients_ipset} is the servers' set as well: each needs its own"
    for key in ("clients_ipset", "servers_ipset"):
        name = getattr(xray, key)
        base = name.removesuffix("6").removesuffix("_ext")
        if len(base) == 2 and base.islower():
            yield f"advanced.xray.{key}", f"{name} is the name of a country's set: choose another"


def xray_listens_apart(case: HostCase) -> Found:
    xray = case.director.advanced.xray
    if xray.tproxy_port == xray.socks_port:
        yield "advanced.xray.tproxy_port", f"{xray.tproxy_port} is socks_port as well: choose another port"


def tables_apart(case: HostCase) -> Found:
    table = str(case.director.advanced.xray.route_table)
    if table in ("253", "254", "255"):
        yield "advanced.xray.route_table", f"{table} is one of the kernel's own tables: choose another"
    for tunnel in case.director.tunnels:
        if tunnel.name == table:
            yield _tunnel_path(tunnel), f"table {table} is advanced.xray.route_table: what it holds is delivered here"


def failover_is_possible(case: HostCase) -> Found:
    for tunnel in case.director.tunnels:
        seen = {tunnel.name}
        for path, name in case.entries(_tunnel_path(tunnel, "failover"), tunnel.failover):
            if name in seen:
                yield path, f'"{name}" is in this order already: name each tunnel once'
            elif name == MAIN and tunnel.treatment.kill_switch:
                yield path, "main is no tunnel: to let clients out when all are dead, say kill_switch: off"
            seen.add(name)
        if tunnel.name == MAIN and tunnel.failover:
            yield _tunnel_path(tunnel, "failover"), "main is an exemption and has nothing to fail over from"
        if tunnel.name == MAIN and tunnel.probe:
            yield _tunnel_path(tunnel, "probe"), "main is an exemption: there is no tunnel to probe"


_MARKS = ("advanced.tunnel_director.mark_mask", "advanced.tunnel_director.mark_shift")
_PREFERENCES = ("advanced.tunnel_director.pref_base", "advanced.tunnel_director.refuse_pref", "advanced.xray.rule_pref")

# With the paths that each relies on: it is left out when one of them could not be read.
RULES: dict[Callable[[HostCase], Found], tuple[str, ...]] = {
    clients_once: (),
    clients_on_the_lan: (),
    failover_is_possible: (),
    tunnels_fit_their_marks: (*_MARKS, "advanced.tunnel_director.pref_base", TUNNELS),
    mark_fields_are_sound: (*_MARKS, "advanced.xray.fwmark", "advanced.xray.fwmark_mask"),
    preferences_apart: (*_PREFERENCES, TUNNELS),
    chains_apart: tuple(
        f"advanced.{group}.{key}" for group in ("xray", "tunnel_director") for key in ("chain", "guard")
    ),
    sets_apart: ("advanced.xray.clients_ipset", "advanced.xray.servers_ipset", "advanced.xray.bypass_ipset"),
    xray_listens_apart: ("advanced.xray.tproxy_port", "advanced.xray.socks_port"),
    tables_apart: ("advanced.xray.route_table",),
}
