"""Prefixes against the standard library's own networks."""

from __future__ import annotations

import random
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)

import pytest

from host_agent.prefixes import BITS, BadPrefixes, Family, Prefixes, Seal, aggregated, from_ranges, parse
from host_agent.state import IpSet

FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")


def some_networks(family: Family, seed: int, count: int = 300) -> list[IPv4Network | IPv6Network]:
    """Crowded into a corner of the address space, so that they overlap, touch and complete each other."""
    chance, bits = random.Random(seed), BITS[family]
    kind = IPv4Network if family == "ipv4" else IPv6Network
    networks = []
    for _ in range(count):
        length = chance.randint(bits - 12, bits)
        networks.append(kind((chance.getrandbits(12) >> bits - length << bits - length, length)))
    return networks


def collapsed(networks: list[IPv4Network | IPv6Network]) -> list[str]:
    return [str(network) for network in collapse_addresses(networks)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(20))
def test_aggregates_as_the_standard_library_does(family: Family, seed: int) -> None:
    networks = some_networks(family, seed, 3 * seed)
    assert list(Prefixes.of(family, networks)) == collapsed(networks)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(5))
def test_membership_and_difference_are_those_of_sets_of_addresses(family: Family, seed: int) -> None:
    one, other = (some_networks(family, 100 * seed + n, 40) for n in (1, 2))
    a, b = Prefixes.of(family, one), Prefixes.of(family, other)
    kind = IPv4Address if family == "ipv4" else IPv6Address
    in_a = {n for n in range(1 << 12) if any(kind(n) in network for network in one)}
    in_b = {n for n in range(1 << 12) if any(kind(n) in network for network in other)}
    assert {n for n in range(1 << 12) if kind(n) in a} == in_a
    assert kind(1 << 12) not in a
    assert {n for n in range(1 << 12) if kind(n) in a - b} == in_a - in_b
    assert a - Prefixes(family) == a
    assert a - a == Prefixes(family)


def test_the_other_family_is_never_a_member() -> None:
    low = Prefixes.of("ipv4", [IPv4Network("0.0.0.0/8")])
    assert IPv4Address(1) in low and IPv6Address(1) not in low
    with pytest.raises(ValueError):
        Prefixes.of("ipv4", [IPv6Network("2001:db8::/32")])
    with pytest.raises(ValueError):
        low - Prefixes("ipv6")


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("192.0.2.0", "192.0.2.255", ["192.0.2.0/24"]),
        ("192.0.2.1", "192.0.2.6", ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.6/32"]),
        ("0.0.0.0", "255.255.255.255", ["0.0.0.0/1", "128.0.0.0/1"]),
        ("255.255.255.255", "255.255.255.255", ["255.255.255.255/32"]),
    ],
)
def test_ranges_become_prefixes(first: str, last: str, expected: list[str]) -> None:
    assert list(from_ranges("ipv4", [(int(ip_address(first)), int(ip_address(last)))])) == expected


@pytest.mark.parametrize("everything", ["0.0.0.0/0", "::/0"])
def test_all_addresses_are_two_halves(everything: str) -> None:
    """ipset's hash:net takes no /0."""
    network = ip_network(everything)
    family: Family = "ipv4" if network.version == 4 else "ipv6"
    halves = Prefixes.of(family, [network])
    assert list(halves) == [str(half) for half in network.subnets()]
    assert Prefixes.of(family, network.subnets()) == halves
    assert network[0] in halves and network[-1] in halves


def test_equal_addresses_are_equal_values() -> None:
    halves = Prefixes.of("ipv4", [IPv4Network("192.0.2.128/25"), IPv4Network("192.0.2.0/25")])
    whole = Prefixes.of("ipv4", [IPv4Network("192.0.2.0/24"), IPv4Network("192.0.2.7/32")])
    assert halves == whole and hash(halves) == hash(whole) and halves.seal == whole.seal
    other = Prefixes.of("ipv4", [IPv4Network("192.0.3.0/24")])
    assert whole.seal.count == other.seal.count == 1 and whole.seal != other.seal


def test_parsing_takes_comments_blanks_line_ends_and_single_addresses() -> None:
    text = b"# zone\n\n192.0.2.0/25\r\n  192.0.2.128/25 ; second half\n198.51.100.7\n198.51.100.8/32#x"
    assert list(parse(text, "ipv4")) == ["192.0.2.0/24", "198.51.100.7/32", "198.51.100.8/32"]
    assert list(parse(b"2001:DB8::/33\n2001:db8:8000::/33\n::1\n", "ipv6")) == ["::1/128", "2001:db8::/32"]
    assert parse(b"# nothing\n", "ipv4") == Prefixes("ipv4")


@pytest.mark.parametrize(
    ("text", "family", "problem"),
    [
        (
            b"192.0.2.0/24\n192.0.2.1/24\n",
            "ipv4",
            "line 2: '192.0.2.1/24' has bits set behind its length; 192.0.2.0/24 w",
        ),
        (b"2001:db8::1/32\n", "ipv6", "line 1: '2001:db8::1/32' has bits set behind its length; 2001:db8::/32 would"),
        (b"\n<!DOCTYPE html>\n<html>\n", "ipv4", "line 2: '<!DOCTYPE html>': a page of HTML, not a list of prefixes"),
        (b"2001:db8::/32\n", "ipv4", "line 1: '2001:db8::/32' is ipv6, and this is a list for ipv4"),
        (b"192.0.2.0/24\n", "ipv6", "line 1: '192.0.2.0/24' is ipv4, and this is a list for ipv6"),
        (b"192.0.2.0/33\n", "ipv4", "the length must be a number from 0 to 32"),
        (b"192.0.2.0/+4\n", "ipv4", "the length must be a number from 0 to 32"),
        (b"192.0.2.0/\n", "ipv4", "the length must be a number from 0 to 32"),
        (b"2001:db8::/129\n", "ipv6", "the length must be a number from 0 to 128"),
        (b"192.0.2.0-192.0.2.9\n", "ipv4", "is no ipv4 prefix"),
        (b"192.0.2/24\n", "ipv4", "is no ipv4 prefix"),
        (b"192.000.002.0/24\n", "ipv4", "is no ipv4 prefix"),
        (b"192.0.2.0/24 add X\n", "ipv4", "the length must be"),
        (b"192.0.2.0\0/24\n", "ipv4", "is no ipv4 prefix"),
        (b"0.0.0.0/0\n", "ipv4", "together cover every ipv4 address"),
        (b"0.0.0.0/1\n128.0.0.0/2\n192.0.0.0/2\n", "ipv4", "together cover every ipv4 address"),
        (b"::/0\n", "ipv6", "together cover every ipv6 address"),
        (b"192.0.2.0/24\n\xff\xfe\n", "ipv4", "line 2: not plain text"),
    ],
)
def test_what_is_no_list_of_prefixes_is_refused_with_its_line(text: bytes, family: Family, problem: str) -> None:
    with pytest.raises(BadPrefixes) as refusal:
        parse(text, family)
    assert problem in str(refusal.value)


def test_bad_lines_are_told_together_but_not_by_the_thousand() -> None:
    with pytest.raises(BadPrefixes) as refusal:
        parse(b"a\n192.0.2.0/24\nb\n" + b"x\n" * 1000, "ipv4")
    assert refusal.value.problems[:2] == ("line 1: 'a' is no ipv4 prefix", "line 3: 'b' is no ipv4 prefix")
    assert refusal.value.problems[-1] == "and 997 more lines" and len(refusal.value.problems) == 6
    with pytest.raises(BadPrefixes) as refusal:
        parse(b"x" * 100_000, "ipv4")
    assert len(str(refusal.value)) < 100


def test_aggregation_of_nothing() -> None:
    assert aggregated([], 32) == [] and len(Prefixes("ipv6")) == 0 and IPv6Address(0) not in Prefixes("ipv6")


def test_a_set_that_was_read_equals_the_wanted_one() -> None:
    prefixes = Prefixes.of("ipv4", [IPv4Network("192.0.2.0/24")])
    wanted = IpSet("ru", "ipv4", prefixes)
    assert wanted == IpSet("ru", "ipv4", prefixes.seal) and str(wanted) == "ipset ru (1 entry)"
    assert hash(wanted) == hash(IpSet("ru", "ipv4", prefixes.seal))
    others = [
        IpSet("de", "ipv4", prefixes),
        IpSet("ru", "ipv6", prefixes.seal),
        IpSet("ru", "ipv4", Seal(2, prefixes.seal.digest)),
        IpSet("ru", "ipv4", Seal(1, prefixes.seal.digest ^ 1)),
    ]
    assert wanted not in others
    with pytest.raises(ValueError):
        IpSet("ru", "ipv6", prefixes)
