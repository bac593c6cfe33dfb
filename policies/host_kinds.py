"""What the values of the host document may be; see ``policies.kinds``."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network

from policies.country_codes import country_code
from policies.host_model import MAIN, Client, Mac, Network
from policies.kinds import Kind, Unfit, described, host, is_nobody, kernel_name, listed, one_of, target
from policies.model import Target

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_CHAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,27}")
_SET = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,22}")  # 31 bytes are allowed; ours add endings of up to eight
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,8}|[0-9]{1,10}")
_BUILT_IN = frozenset(("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"))
_TARGETS = frozenset(("ACCEPT", "DROP", "RETURN", "QUEUE", "REJECT", "MARK", "TPROXY", "DNAT"))
_RESERVED_TABLES = frozenset(("local", "default", "unspec", "all"))
_UNICAST_ONLY = "the address or subnet of hosts"


def switch(value: object) -> bool:
    """on or off; the booleans of JSON and YAML as well."""
    if isinstance(value, bool):
        return value
    return one_of("on", "off")(value) == "on"


def network(value: object) -> Network:
    """An address, or a subnet as address/length, of either family. What cannot be a set's entry is refused."""
    if not isinstance(value, str) or len(value) > 49 or "%" in value:
        raise Unfit(f"expected an address or a subnet, got {described(value)}")
    try:
        found = ip_network(value, strict=False)
    except ValueError:
        raise Unfit(f"expected an address or a subnet such as 192.168.50.0/24, got {described(value)}") from None
    if "/" in value and not value.rpartition("/")[2].isdigit():
        raise Unfit(f"expected the length of the prefix as a number: write {found}")
    if found.prefixlen == 0:
        raise Unfit(f"{value} is everything there is: name the hosts or subnets that are meant")
    if found.network_address != ip_network(value.partition("/")[0]).network_address:
        raise Unfit(f"{described(value)} has host bits set: write {found} for the subnet, or the address alone")
    if isinstance(found, IPv6Network) and found.network_address.ipv4_mapped is not None:
        raise Unfit(f"{described(value)} is an IPv4 address in IPv6 clothes: write {found.network_address.ipv4_mapped}")
    return found


def client(value: object) -> Client:
    """Who a rule is about: an IPv4 or IPv6 address or subnet, or the MAC address of a host of the LAN."""
    if isinstance(value, str) and _MAC.fullmatch(value.lower()):
        if int(value[:2], 16) & 1:
            raise Unfit(f"{described(value)} is the address of a group, not of one host")
        return Mac(value.lower())
    found = network(value)
    first = found.network_address
    if is_nobody(first):
        raise Unfit(f"expected {_UNICAST_ONLY} of the LAN, got {described(value)}")
    if isinstance(found, IPv4Network) and (int(first) >= 0xF0000000 or int(first) < 0x01000000):
        raise Unfit(f"expected {_UNICAST_ONLY} of the LAN, got {described(value)}")
    return found


def server(value: object) -> str:
    """A host name or an address of either family that a packet can be sent to."""
    try:
        address = IPv6Address(value if isinstance(value, str) and "%" not in value else "")
    except ValueError:
        return host(value)
    if is_nobody(address):
        raise Unfit(f"expected the address of one other machine, got {described(value)}")
    if address.ipv4_mapped is not None:
        raise Unfit(f"{described(value)} is an IPv4 address in IPv6 clothes: write {address.ipv4_mapped}")
    return str(address)


def server_address(version: int) -> Kind[str]:
    def read(value: object) -> str:
        found = network(value)
        first = found.network_address
        if found.version != version or found.num_addresses != 1:
            raise Unfit(f"expected one IPv{version} address, got {described(value)}")
        if is_nobody(first):
            raise Unfit(f"expected the IPv{version} address of another machine, got {described(value)}")
        return str(first)

    return read


def targets(value: object) -> tuple[Target, ...]:
    """Where a probe connects to: one target, or a list of one of each family."""
    found = listed(target)(value) if isinstance(value, list) else (target(value),)
    versions = [it.address.version for it in found]
    again = [place for place, version in enumerate(versions) if version in versions[:place]]
    if again:
        raise Unfit("", [(it, f"expected one target of each family: IPv{versions[it]} has one above") for it in again])
    return found


def country(value: object) -> str:
    """A country code of two letters, in any case; ``<code>_ext`` asks for the operator's extended ranges."""
    word = value.lower() if isinstance(value, str) else ""
    code = word.removesuffix("_ext")
    try:
        return country_code(code) + word[len(code) :]
    except ValueError:
        hint = "; the United Kingdom is gb" if code == "uk" else ""
        raise Unfit(f"expected a country code of ISO 3166-1 such as de or us, got {described(value)}{hint}") from None


def tunnel_name(value: object) -> str:
    """A routing table's name or number, or an interface."""
    if isinstance(value, str) and value.isdecimal() and value.isascii():
        if not 0 < int(value[:10]) < 0x7FFFFFFF or int(value) in (253, 254, 255):
            raise Unfit(f"table {value[:20]} is the kernel's own or none: choose another, or write {MAIN}")
        return value
    if isinstance(value, str) and value in _RESERVED_TABLES:
        raise Unfit(f"table {value} is the kernel's own: name a tunnel's table or interface, or {MAIN}")
    return kernel_name(value)


def chain_name(value: object) -> str:
    if not isinstance(value, str) or not _CHAIN.fullmatch(value) or value.upper() in _BUILT_IN | _TARGETS:
        raise Unfit(f"expected a chain's name of letters, digits and _- (at most 28), got {described(value)}")
    return value


def set_name(value: object) -> str:
    if not isinstance(value, str) or not _SET.fullmatch(value):
        raise Unfit(f"expected a set's name of letters, digits and _.- (at most 23), got {described(value)}")
    return value


def word32(value: object) -> int:
    """A mark or mask, as the document writes it ("0x00ff0000") or as a number."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value, 16 if value.startswith("0x") else 10)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 0xFFFFFFFF:
        raise Unfit(f'expected a number of 32 bits such as "0x100", not 0, got {described(value)}')
    return value


def absolute_path(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or len(value) > 255 or not value.isprintable():
        raise Unfit(f"expected an absolute path, got {described(value)}")
    if ".." in value.split("/"):
        raise Unfit(f"expected a path without .., got {described(value)}")
    return value


def zone_url(value: object) -> str:
    """Where a country's ranges are fetched: HTTPS only, ``{cc}`` for the code."""
    if not isinstance(value, str) or not re.fullmatch(r"https://[A-Za-z0-9.-]+(?::\d{1,5})?/[!-~]{1,300}", value):
        raise Unfit(f"expected an address that begins with https:// and holds {{cc}}, got {described(value)}")
    if "{cc}" not in value or re.search(r"[{}]", value.replace("{cc}", "")):
        raise Unfit(f"expected {{cc}} where the country code goes, got {described(value)}")
    return value
