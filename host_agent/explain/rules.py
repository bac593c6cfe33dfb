"""What a rule does with a packet: the part of iptables-extensions(8) that our roles use, and what firewalls commonly
have beside. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_network
from typing import Literal

from host_agent.prefixes import Prefixes
from host_agent.state import FilterRule, IPAddress, IpSet

Protocol = Literal["tcp", "udp", "icmp"]
PASSED_OVER = {"-m": 1, "--comment": 1, "--tcp-flags": 2}  # with how many words; the SYN of a connection is meant


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection."""

    source: IPAddress
    destination: IPAddress
    protocol: Protocol
    port: int | None = None  # destination port
    incoming: str | None = None  # None: sent by the namespace itself
    outgoing: str | None = None
    mark: int = 0
    asked: IPAddress | None = None  # the destination before DNAT

    def __str__(self) -> str:
        port = f" port {self.port}" if self.port else ""
        return f"{self.protocol}{port} from {self.source} to {self.destination}"

    def at_switch(self, port: str) -> str:
        """As ovs-ofctl(8) writes it, coming in by a switch port."""
        six = self.destination.version == 6
        protocol, address = (f"{self.protocol}6", "ipv6") if six else (self.protocol, "nw")
        words = [f"in_port={port}", protocol, f"{address}_src={self.source}", f"{address}_dst={self.destination}"]
        return ",".join([*words, *([f"tp_dst={self.port}"] if self.port else [])])


@dataclass(frozen=True)
class Place:
    """What a match can ask of the namespace."""

    sets: Mapping[str, IpSet]
    is_local: Callable[[IPAddress], bool]


class Unknown(Exception):
    """A match or target that this module does not know: nothing can be said."""


@dataclass(frozen=True)
class Meeting:
    """How a rule and a packet met."""

    target: str  # RETURN, DROP, TPROXY, ..., or a chain
    words: tuple[str, ...]  # of the target
    packet: Packet  # as it is afterwards
    why: tuple[str, ...]  # what of the rule's matches is worth saying


def meet(rule: FilterRule, packet: Packet, place: Place) -> Meeting | None:
    """None if the rule does not match. Raises Unknown."""
    words = shlex.split(rule.arguments)
    why: list[str] = []
    negated, at = False, 0
    while at < len(words):
        word = words[at]
        if word == "!":
            negated, at = True, at + 1
            continue
        if word == "-j":
            target, rest = words[at + 1], tuple(words[at + 2 :])
            rest = rest[: rest.index("-m")] if "-m" in rest else rest
            return Meeting(target, rest, _changed(target, rest, packet), tuple(why))
        if word in PASSED_OVER:
            at += 1 + PASSED_OVER[word]
            continue
        count = 2 if word == "--match-set" else 1
        values = tuple(words[at + 1 : at + 1 + count])
        if word not in MATCHES:
            raise Unknown(f"{word} {' '.join(values)}")
        if MATCHES[word](values, packet, place) == negated:
            return None
        why.append(" ".join([*(["not"] if negated else []), word.lstrip("-"), *values]))
        negated, at = False, at + 1 + count
    raise Unknown("a rule without a target")


def _changed(target: str, words: tuple[str, ...], packet: Packet) -> Packet:
    if target == "MARK" and words[0] == "--set-xmark":
        value, mask = (int(it, 16) for it in words[1].split("/"))
        return replace(packet, mark=packet.mark & ~mask ^ value)
    if target == "TPROXY":
        value, mask = (int(it, 16) for it in words[words.index("--tproxy-mark") + 1].split("/"))
        return replace(packet, mark=packet.mark & ~mask ^ value)
    return packet


def _covers(text: str, address: IPAddress) -> bool:
    """Whether an address has the bits of ADDRESS/LENGTH or, in IPv4, ADDRESS/MASK, where the mask may have gaps."""
    base, _, mask = text.partition("/")
    if "." not in mask:
        return address in ip_network(text)
    return address.version == 4 and not (int(address) ^ int(IPv4Address(base))) & int(IPv4Address(mask))


def _in_set(values: tuple[str, ...], packet: Packet, place: Place) -> bool:
    name, direction = values
    address = packet.source if direction == "src" else packet.destination
    found = place.sets.get(name)
    if found is None or not isinstance(found.prefixes, Prefixes):
        raise Unknown(f"the entries of the set {name}")
    return address in found.prefixes


def _marked(values: tuple[str, ...], packet: Packet, place: Place) -> bool:
    value, _, mask = values[0].partition("/")
    return packet.mark & int(mask or "0xffffffff", 16) == int(value, 16)


def _is_device(name: str | None, pattern: str) -> bool:
    """``br+`` is any whose name begins so."""
    return (name or "").startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _to_port(values: tuple[str, ...], packet: Packet, place: Place) -> bool:
    """One port, or FIRST:LAST, or several of both with commas between."""
    ranges = [each.partition(":") for each in values[0].split(",")]
    return any(int(first) <= (packet.port or 0) <= int(last or first) for first, _, last in ranges)


def _in_state(values: tuple[str, ...], packet: Packet, place: Place) -> bool:
    """The first packet of a connection is new, whatever else it is."""
    return bool({"NEW", *(["DNAT"] if packet.asked else [])} & {*values[0].split(",")})


def _is_of_mac(values: tuple[str, ...], packet: Packet, place: Place) -> bool:
    return False  # a client is named by its address here


MATCHES: Mapping[str, Callable[[tuple[str, ...], Packet, Place], bool]] = {
    "-i": lambda values, packet, place: _is_device(packet.incoming, values[0]),
    "-o": lambda values, packet, place: _is_device(packet.outgoing, values[0]),
    "-s": lambda values, packet, place: _covers(values[0], packet.source),
    "-d": lambda values, packet, place: _covers(values[0], packet.destination),
    "-p": lambda values, packet, place: packet.protocol == values[0].removeprefix("ipv6-"),
    "--dport": _to_port,
    "--dports": _to_port,
    "--mark": _marked,
    "--match-set": _in_set,
    "--mac-source": _is_of_mac,
    "--dst-type": lambda values, packet, place: values[0] == "LOCAL" and place.is_local(packet.destination),
    "--ctstate": _in_state,
    "--state": _in_state,
    "--ctorigdst": lambda values, packet, place: (packet.asked or packet.destination) in ip_network(values[0]),
}
