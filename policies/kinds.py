"""What a value may be. A kind takes a value of the document and returns it typed, or raises ``Unfit``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TypeVar

from policies.model import Target

T = TypeVar("T")
W = TypeVar("W", bound=str)
Kind = Callable[[object], T]

_TARGET = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\]):([0-9]{1,5})")
_HOST_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
KERNEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

_LINUX_NAMES = frozenset(("lo", "all", "default"))  # the last two are directories of /proc/sys/net/ipv4/conf
_OVS_PORTS = frozenset(("in_port", "table", "normal", "flood", "all", "controller", "local", "any", "none", "unset"))
_TAKEN = _LINUX_NAMES | _OVS_PORTS


class Unfit(Exception):
    """The value cannot be used; the text says what was expected.

    ``problems``: what is wrong, each with the key or index inside the value where it is, or "" for the value itself.
    """

    def __init__(self, message: str, problems: Sequence[tuple[str | int, str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (("", message),)


def described(value: object) -> str:
    """A value as an error names it: short, one line, plain ASCII."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]}..."


def _expected(what: str, value: object) -> Unfit:
    return Unfit(f"expected {what}, got {described(value)}")


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _expected(f"true or false{', without quotes' if value in ('true', 'false') else ''}", value)
    return value


def integer(low: int, high: int) -> Kind[int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            quoted = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value) and low <= int(value) <= high
            raise _expected(f"a whole number from {low} to {high}{', without quotes' if quoted else ''}", value)
        return value

    return read


port_number = integer(1, 65535)
container_number = integer(1, 999_999_999)


def text(value: object) -> str:
    """One line of text for people, up to 200 characters. Control characters could forge lines of a log."""
    if not isinstance(value, str) or not value:
        raise _expected("text", value)
    if len(value) > 200 or not value.isprintable():
        raise _expected("one line of printable text, at most 200 characters", value)
    return value


def identifier(value: object) -> str:
    """A name that this program uses for itself: functions, containers, mesh networks."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise _expected("a name of letters, digits and _.- (at most 63, a letter or digit first)", value)
    return value


def kernel_name(value: object) -> str:
    """A name of an interface, bridge or network namespace. Linux allows an interface 15 bytes (IFNAMSIZ)."""
    if not isinstance(value, str) or not KERNEL_NAME.fullmatch(value):
        raise _expected("an interface name: a letter, then letters, digits and _.-, at most 15 in all", value)
    if value.lower() in _TAKEN:
        raise Unfit(f"{described(value)} has a meaning of its own in Linux or Open vSwitch: choose another name")
    return value


def host(value: object) -> str:
    """A host name (RFC 1123) or an IPv4 address that a packet can be sent to."""
    if not isinstance(value, str) or not value or len(value) > 253:
        raise _expected("a host name or an IPv4 address", value)
    labels = value.split(".")
    if labels[-1].isdigit():
        try:
            address = IPv4Address(value)
        except ValueError:
            raise _expected("a host name or an IPv4 address", value) from None
        if address.is_unspecified or address.is_loopback or address.is_multicast or int(address) == 0xFFFFFFFF:
            raise _expected("the address of one other machine", value)
    elif not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise _expected("a host name or an IPv4 address (the chain carries no IPv6)", value)
    return value


def file_path(value: object) -> str:
    if not isinstance(value, str) or not value or len(value) > 4095 or not value.isprintable():
        raise _expected("the path of a file", value)
    return value


def _ipv4_address(what: str) -> Kind[IPv4Address]:
    def read(value: object) -> IPv4Address:
        try:
            return IPv4Address(value if isinstance(value, str) else "")
        except ValueError:
            raise _expected(what, value) from None

    return read


resolver = _ipv4_address("the IPv4 address of a DNS server")
host_address = _ipv4_address("an IPv4 address such as 100.104.70.10")  # of a container or node


def is_nobody(address: IPv4Address | IPv6Address) -> bool:
    """True for an address that no single other machine can be reached by."""
    return address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local


def target(value: object) -> Target:
    """ADDRESS:PORT; an IPv6 address stands in brackets (RFC 3986, 3.2.2)."""
    found = _TARGET.fullmatch(value) if isinstance(value, str) else None
    try:
        address, other, port = found.groups() if found else ("", "", "")
        made = Target(IPv6Address(other) if other else IPv4Address(address), port_number(int(port)))
    except (ValueError, Unfit):
        raise _expected('an address and a port such as "198.51.100.1:443" or "[2001:db8::1]:443"', value) from None
    if is_nobody(made.address) or getattr(made.address, "ipv4_mapped", None):
        raise _expected("the address of one other machine, and a port", value)
    return made


def target_of_chain(value: object) -> Target:
    made = target(value)
    if made.address.version != 4:
        raise _expected("an IPv4 address and a port such as 198.51.100.1:443 (the chain carries no IPv6)", value)
    return made


def controller(value: object) -> str:
    """Where a switch finds its controller: tcp:ADDRESS:PORT or ssl:ADDRESS:PORT, with an IPv4 address."""
    method, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    address, _, port = rest.partition(":")
    try:
        IPv4Address(address)
        fits = method in ("tcp", "ssl") and port.isascii() and port.isdigit() and 0 < int(port) < 65536
    except ValueError:
        fits = False
    if not fits:
        raise _expected("tcp:ADDRESS:PORT or ssl:ADDRESS:PORT, such as tcp:127.0.0.1:6653", value)
    return str(value)


def datapath_id(value: object) -> int:
    """16 hexadecimal digits, as ovs-vsctl and ovs-ofctl show it (quote it in YAML: it may look like a number)."""
    digits = value.removeprefix("0x").replace(":", "") if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-fA-F]{1,16}", digits) or not int(digits, 16):
        raise _expected('a datapath id of up to 16 hexadecimal digits, such as "0000020000000001"', value)
    return int(digits, 16)


def subnet(value: object) -> IPv4Network:
    """An IPv4 subnet of hosts, from /8 to /30, as address/length."""
    expected = "an IPv4 subnet such as 10.99.0.0/24, from /8 to /30"
    if not isinstance(value, str) or not re.fullmatch(r"[0-9.]+/[0-9]{1,2}", value):
        raise _expected(expected, value)
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        raise _expected(expected, value) from None
    if not 8 <= network.prefixlen <= 30:
        raise _expected(expected, value)
    if str(network) != value:
        raise Unfit(f"{described(value)} names an address in a subnet, not the subnet: write {network}")
    if network.is_loopback or network.is_link_local or network.is_multicast or network.is_reserved:
        raise _expected("a subnet that hosts can have addresses in", value)
    if network.network_address.packed[0] == 0:
        raise _expected("a subnet that hosts can have addresses in", value)
    return network


def listed(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """A list that has at least one entry."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise _expected("a list", value)
        found, problems = [], []
        for index, entry in enumerate(value):
            try:
                found.append(kind(entry))
            except Unfit as unfit:
                problems.append((index, str(unfit)))
        if problems:
            raise Unfit("the list has entries that cannot be used", problems)
        if not found:
            raise Unfit("expected at least one entry in this list")
        return tuple(found)

    return read


def or_null(kind: Kind[T]) -> Kind[T | None]:
    return lambda value: None if value is None else kind(value)


def one_of(*words: W) -> Kind[W]:
    """One of a few words."""

    def read(value: object) -> W:
        for word in words:
            if value == word:
                return word
        *others, last = map(described, words)
        raise _expected(f"{', '.join(others)} or {last}" if others else last, value)

    return read
