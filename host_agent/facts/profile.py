"""Read a WireGuard configuration file, as ``wgcf generate`` and wg-quick(8) write it.

Taken are keys, addresses, MTU and peers. Never taken are DNS, Table and the hooks: a profile describes a tunnel, it
does not run commands or change routes of this machine.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from host_agent.errors import Refused
from host_agent.state import IPInterface, IPNetwork, Secret

MAX_SIZE = 65536  # characters
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?")
PASSED_OVER = {
    "interface": {"dns", "table", "preup", "postup", "predown", "postdown", "saveconfig", "fwmark", "listenport"},
    "peer": {"persistentkeepalive"},
}


@dataclass(frozen=True)
class ProfilePeer:
    public_key: str
    preshared_key: Secret | None = None
    allowed_ips: frozenset[IPNetwork] = frozenset()
    endpoint: tuple[str, int] | None = None  # host name or address, port


@dataclass(frozen=True)
class Profile:
    private_key: Secret
    addresses: tuple[IPInterface, ...]
    mtu: int | None
    peers: tuple[ProfilePeer, ...]


@dataclass
class _Section:
    name: str
    line: int
    values: dict[str, Any] = field(default_factory=dict)


def read_profile(text: str, file: str) -> Profile:
    """Raises Refused with every fault as ``file:line: what``; a value is never repeated, it may be a key."""
    problems: list[str] = []
    if len(text) > MAX_SIZE:
        raise Refused(f"{file}:1: larger than {MAX_SIZE} characters, no WireGuard profile")
    sections = _sections(text, file, problems)
    interfaces = [section for section in sections if section.name == "interface"]
    if len(interfaces) != 1:
        problems.append(f"{file}:1: expected one [Interface] section, found {len(interfaces)}")
    for section in sections:
        needed = "privatekey" if section.name == "interface" else "publickey"
        if needed not in section.values and not problems:
            problems.append(f"{file}:{section.line}: the section has no {TITLES[needed]}")
    if problems:
        raise Refused(*problems)
    values = interfaces[0].values
    return Profile(
        Secret(values["privatekey"]),
        tuple(values.get("address", ())),
        values.get("mtu"),
        tuple(_peer(section.values) for section in sections if section.name == "peer"),
    )


def _peer(values: dict[str, Any]) -> ProfilePeer:
    preshared = values.get("presharedkey")
    return ProfilePeer(
        values["publickey"],
        None if preshared is None else Secret(preshared),
        frozenset(values.get("allowedips", ())),
        values.get("endpoint"),
    )


def _sections(text: str, file: str, problems: list[str]) -> list[_Section]:
    sections: list[_Section] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        if line.lower() in ("[interface]", "[peer]"):
            sections.append(_Section(line[1:-1].lower(), number))
        elif not sections or "=" not in line:
            problems.append(f"{file}:{number}: expected [Interface], [Peer] or Name = value")
        else:
            problem = _take(sections[-1], line)
            if problem:
                problems.append(f"{file}:{number}: {problem}")
    return sections


def _take(section: _Section, line: str) -> str | None:
    """Put one ``Name = value`` into the section, or say what is wrong with it."""
    title, _, value = line.partition("=")
    name = title.strip().lower()
    if name in PASSED_OVER[section.name]:
        return None
    if name not in READERS[section.name]:
        return f"unknown name in [{section.name.capitalize()}]: {title.strip()[:40]!r}"
    what, reader = READERS[section.name][name]
    try:
        found = reader(value.strip())
    except ValueError:
        return f"{TITLES[name]}: expected {what}"
    if name in LISTS:
        found = section.values.get(name, ()) + found
    elif name in section.values:
        return f"{TITLES[name]} is given twice"
    section.values[name] = found
    return None


def wireguard_key(text: str) -> str:
    """A key in base64. Raises ValueError."""
    try:
        if len(text) == 44 and len(b64decode(text, validate=True)) == 32:
            return text
    except Base64Error:
        pass
    raise ValueError("not 32 bytes in base64")


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError("port")
    if host.startswith("[") and host.endswith("]"):
        return (str(ip_address(host[1:-1])), int(port))
    if not HOST_NAME.fullmatch(host) or len(host) > 253:
        raise ValueError("host")
    return (host, int(port))


def _mtu(text: str) -> int:
    if not re.fullmatch(r"[0-9]{3,5}", text) or not 576 <= int(text) <= 65535:
        raise ValueError("mtu")
    return int(text)


def _addresses(text: str) -> tuple[IPInterface, ...]:
    return tuple(ip_interface(item.strip()) for item in text.split(","))


def _networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(ip_network(item.strip(), strict=False) for item in text.split(",") if item.strip())


TITLES = {
    "privatekey": "PrivateKey",
    "address": "Address",
    "mtu": "MTU",
    "publickey": "PublicKey",
    "presharedkey": "PresharedKey",
    "allowedips": "AllowedIPs",
    "endpoint": "Endpoint",
}
LISTS = ("address", "allowedips")
READERS: dict[str, dict[str, tuple[str, Callable[[str], Any]]]] = {
    "interface": {
        "privatekey": ("a key, 32 bytes in base64", wireguard_key),
        "address": ("addresses with prefix length, separated by commas", _addresses),
        "mtu": ("a number of bytes from 576 to 65535", _mtu),
    },
    "peer": {
        "publickey": ("a key, 32 bytes in base64", wireguard_key),
        "presharedkey": ("a key, 32 bytes in base64", wireguard_key),
        "allowedips": ("networks, separated by commas", _networks),
        "endpoint": ("host:port", _endpoint),
    },
}
