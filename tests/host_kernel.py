"""A small model of the kernel: it takes the agent's steps, commit by commit, and says where a packet would go.

It knows what the director uses: sets, the chains of iptables as restore input, ip rules and default routes. What it
is given is the very text that the drivers hand to iptables-restore.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from host_agent.drivers import chain_reading, netfilter
from host_agent.prefixes import Prefixes
from host_agent.state import NODE, SHARED, Block, Chain, Family, HostState, IpSet, NamespaceState, Route, Rule
from host_agent.steps import (
    Add,
    Remove,
    RemoveChains,
    RemoveFile,
    RemoveSets,
    ReplaceChains,
    ReplaceRoute,
    ReplaceSets,
    Step,
    WriteFile,
)

LOCAL = frozenset(map(ip_address, ("192.168.50.1", "fd00:50::1", "192.0.2.2")))
COMMENT = re.compile(r' -m comment --comment "[^"]*"')


@dataclass(frozen=True)
class Packet:
    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    protocol: str  # "tcp", "udp", "icmp"
    port: int = 0
    mac: str = ""
    link: str = "br0"
    out: str = ""
    asked: IPv4Address | IPv6Address | None = None  # the destination before DNAT

    @property
    def family(self) -> Family:
        return "ipv4" if self.source.version == 4 else "ipv6"


@dataclass(frozen=True)
class Match:
    kind: str
    value: object
    negated: bool


@dataclass(frozen=True)
class ParsedRule:
    matches: tuple[Match, ...]
    target: str
    options: str
    goes: bool  # goto: what is behind the rule is not asked any more

    @property
    def numbers(self) -> tuple[int, int]:
        """The value and mask of MARK."""
        value, mask = (int(word, 16) for word in self.options.split()[1].split("/"))
        return value, mask


@cache
def parsed(text: str) -> ParsedRule:
    words = iter(COMMENT.sub("", text).split())
    matches, negated = [], False
    for word in words:
        if word in ("-j", "-g"):
            target = next(words)
            return ParsedRule(tuple(matches), target, " ".join(words), word == "-g")
        if word == "!":
            negated = True
            continue
        value: object = next(words)
        match word:
            case "-m" if value != "!":
                continue
            case "-s" | "-d" | "--ctorigdst":
                value = ip_network(str(value))
            case "--dport":
                value = int(str(value))
            case "--mark":
                value = tuple(int(part, 16) for part in str(value).split("/"))
            case "--match-set":
                value = (value, next(words))
            case "--ctstate" | "-i" | "-o" | "-p" | "--mac-source" | "--dst-type":
                pass
            case _:
                raise AssertionError(f"unknown match {word} in {text}")
        matches.append(Match(word, value, negated))
        negated = False
    raise AssertionError(f"no target: {text}")


@dataclass
class Kernel:
    sets: dict[str, IpSet] = field(default_factory=dict)
    chains: dict[tuple[Family, str, str], list[str]] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    routes: dict[tuple[int, object, int], Route] = field(default_factory=dict)
    blocks: set[Block] = field(default_factory=set)

    def copy(self) -> Kernel:
        chains = {key: list(rules) for key, rules in self.chains.items()}
        return Kernel(dict(self.sets), chains, list(self.rules), dict(self.routes), set(self.blocks))

    # --- what the agent does

    def carry_out(self, steps: Iterable[Step]) -> Iterator[str]:
        """Yields after each thing that happens at one instant, with its words."""
        for step in steps:
            match step:
                case WriteFile() | RemoveFile():
                    continue
                case Add(item=Rule() as rule):
                    assert rule not in self.rules
                    self.rules.append(rule)
                case Remove(item=Rule() as rule):
                    self.rules.remove(rule)
                case Add(item=Block() as block):
                    assert block not in self.blocks
                    self.blocks.add(block)
                case Remove(item=Block() as block):
                    self.blocks.remove(block)
                case Add(item=Route() as route):
                    assert route.key not in self.routes, route
                    self.routes[route.key] = route
                case ReplaceRoute():
                    self.routes[step.route.key] = step.route
                case Remove(item=Route() as route):
                    del self.routes[route.key]
                case ReplaceSets():
                    for ipset in sorted(step.wanted, key=lambda ipset: ipset.name):
                        assert isinstance(ipset.prefixes, Prefixes)
                        self.sets[ipset.name] = ipset
                        yield f"{step}: {ipset.name}"
                    continue
                case RemoveSets():
                    for ipset in step.stale:
                        users = [rule for rules in self.chains.values() for rule in rules if f" {ipset.name} " in rule]
                        assert not users, f"{ipset.name} is in use: {users}"
                        del self.sets[ipset.name]
                case ReplaceChains():
                    yield from self._restore(step.family, netfilter.replacement(step.wanted, step.found), str(step))
                    continue
                case RemoveChains():
                    yield from self._restore(step.family, netfilter.removal(step.stale), str(step))
                    continue
                case _:
                    raise AssertionError(f"the director has no use for {step}")
            yield str(step)

    def _restore(self, family: Family, text: str, words: str) -> Iterator[str]:
        table = ""
        for line in text.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line == "COMMIT":
                self._check_references(family, table)
                yield f"{words}: {table}"
            else:
                self._restore_line(family, table, line)

    def _restore_line(self, family: Family, table: str, line: str) -> None:
        if line.startswith(":"):
            self.chains[family, table, line[1:].split()[0]] = []
            return
        verb, name, *rest = line.split(" ", 2)
        rules = self.chains.setdefault((family, table, name), []) if name in SHARED else None
        rules = self.chains[family, table, name] if rules is None else rules
        arguments = rest[0] if rest else ""
        match verb:
            case "-A":
                rules.append(arguments)
            case "-I":
                place, arguments = arguments.split(" ", 1)
                assert int(place) <= len(rules) + 1, line
                rules.insert(int(place) - 1, arguments)
            case "-D" if arguments.isdigit():
                del rules[int(arguments) - 1]
            case "-D":
                rules.remove(arguments)
            case "-F":
                rules.clear()
            case "-X":
                assert not rules
                del self.chains[family, table, name]

    def _check_references(self, family: Family, table: str) -> None:
        for (where, in_table, _), rules in self.chains.items():
            for rule in rules:
                for name in re.findall(r"--match-set (\S+)", rule):
                    assert name in self.sets, f"{rule}: there is no set {name}"
                target = re.search(r"-[jg] (\S+)", rule)
                if (where, in_table) == (family, table) and target and target[1].startswith(("XRAY_", "TUN_")):
                    assert (where, in_table, target[1]) in self.chains, rule

    def lose_links(self, left: Iterable[str]) -> None:
        """Routes go with their links, as the kernel has it."""
        there = {"lo", *left}
        self.routes = {key: it for key, it in self.routes.items() if it.link is None or it.link in there}

    # --- what the agent finds

    def state(self) -> HostState:
        chains: set[Chain] = set()
        for family in ("ipv4", "ipv6"):
            chains |= chain_reading.ours(family, chain_reading.saved(self._saved(family)), ())
        sets = frozenset(replace(ipset, prefixes=ipset.seal) for ipset in self.sets.values())
        node = NamespaceState(
            rules=frozenset(self.rules),
            blocks=frozenset(self.blocks),
            routes=frozenset(self.routes.values()),
            sets=sets,
            chains=frozenset(chains),
        )
        return HostState(namespaces={NODE: node} if node != NamespaceState() else {})

    def _saved(self, family: Family) -> str:
        tables: dict[str, list[str]] = {}
        for (where, table, name), rules in sorted(self.chains.items()):
            if where == family:
                lines = tables.setdefault(table, [])
                lines.insert(0, f":{name} - [0:0]")
                lines += [f"-A {name} {rule}" for rule in rules]
        return "".join("\n".join([f"*{table}", *lines, "COMMIT", ""]) for table, lines in tables.items())

    # --- what becomes of a packet

    def decide(self, packet: Packet) -> str:
        mark, target = self._traverse(packet, "mangle", "PREROUTING", 0)
        if target.startswith("TPROXY"):
            mark = int(target.split()[-1].split("/")[0], 16)
            found = "local" if packet.destination in LOCAL else self._route(packet, mark)
            if found in ("local", "refused"):
                return {"local": "xray"}.get(found, found)
            way = replace(packet, out=self._device(found))
            return "dropped" if self._guarded(way, "FORWARD", mark) else f"lost: TPROXY, but {found}"
        _, redirected = self._traverse(packet, "nat", "PREROUTING", mark)
        if redirected.startswith("DNAT"):
            packet = replace(packet, destination=ip_address(redirected.split()[-1]), asked=packet.destination)
        if packet.destination in LOCAL:
            _, verdict = self._traverse(packet, "filter", "INPUT", mark)
            if verdict.startswith("REJECT"):
                return "refused"
            stopped = self._guarded(packet, "INPUT", mark) or self._blocked(packet, mark, packet.protocol)
            return "dropped" if stopped else "router"
        way = self._route(packet, mark)
        if way != "refused" and (
            self._blocked(packet, mark, "") or self._guarded(replace(packet, out=self._device(way)), "FORWARD", mark)
        ):
            return "dropped"
        return f"{way} to {packet.destination}" if redirected and way != "refused" else way

    def _guarded(self, packet: Packet, chain: str, mark: int) -> bool:
        tables = ("filter", "security")
        return any(self._traverse(packet, table, chain, mark)[1].startswith("DROP") for table in tables)

    def _blocked(self, packet: Packet, mark: int, queries: str) -> bool:
        asked = not queries or packet.port == 53
        return not mark and asked and any(it.queries == queries and packet.source in it.source for it in self.blocks)

    @staticmethod
    def _device(way: str) -> str:
        return "wan0" if way == "wan" else way.removeprefix("by ")

    def _traverse(self, packet: Packet, table: str, chain: str, mark: int) -> tuple[int, str]:
        for text in self.chains.get((packet.family, table, chain), ()):
            rule = parsed(text)
            if not all(self._matches(packet, mark, it) for it in rule.matches):
                continue
            if rule.target == "MARK":
                value, mask = rule.numbers
                mark = mark & ~mask & 0xFFFFFFFF ^ value
            elif rule.target == "RETURN":
                return mark, ""
            elif (packet.family, table, rule.target) in self.chains:
                mark, verdict = self._traverse(packet, table, rule.target, mark)
                if verdict or rule.goes:
                    return mark, verdict
            else:
                return mark, f"{rule.target} {rule.options}"
        return mark, ""

    def _matches(self, packet: Packet, mark: int, match: Match) -> bool:
        value: Any = match.value
        match match.kind:
            case "-i":
                found = packet.link == value
            case "-o":
                found = packet.out == value
            case "--ctstate":
                assert value == "DNAT", value
                found = packet.asked is not None
            case "--ctorigdst":
                found = (packet.asked or packet.destination) in value
            case "-s":
                found = packet.source in value
            case "-d":
                found = packet.destination in value
            case "-p":
                found = packet.protocol == value
            case "--dport":
                found = packet.port == value
            case "--mac-source":
                found = packet.mac == value
            case "--dst-type":
                found = packet.destination in LOCAL
            case "--mark":
                found = mark & value[1] == value[0]
            case _:
                name, side = value
                found = (packet.source if side == "src" else packet.destination) in self.sets[name].prefixes  # type: ignore[operator]
        return found != match.negated

    def _route(self, packet: Packet, mark: int) -> str:
        for rule in sorted(self.rules, key=lambda rule: rule.priority):
            if rule.family != packet.family or mark & rule.mask != rule.mark:
                continue
            if rule.incoming not in (None, packet.link) or rule.outgoing:  # the latter: of sockets alone
                continue
            if not rule.table:
                return "refused"
            if rule.table == 254:
                break
            routes = [
                route
                for route in self.routes.values()
                if route.table == rule.table and packet.destination in route.destination
            ]
            if routes:
                best = min(routes, key=lambda route: route.metric)
                return {"local": "local", "unreachable": "refused"}.get(best.kind, f"by {best.link}")
        return "wan"
