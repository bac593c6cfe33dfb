"""Sets of ipset(8). Only our own are listed: another version's set types cannot break the reading."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from host_agent.command import run
from host_agent.state import Family, IpSet

OWN_SETS = ("XRAY_CLIENTS", "XRAY_SERVERS")
ASIDE = "_new"  # a set is built under this ending and swapped in
LEAST_CAPACITY = 65536
FAMILIES: dict[str, Family] = {"inet": "ipv4", "inet6": "ipv6"}


def read() -> frozenset[IpSet]:
    """Our sets in the namespace the caller is in."""
    there = set(run(["ipset", "list", "-name"]).split())
    return frozenset(parse(run(["ipset", "save", name])) for name in OWN_SETS if name in there)


def write(text: str) -> None:
    run(["ipset", "restore"], text)


def parse(text: str) -> IpSet:
    """One set from what ``ipset save`` prints."""
    create, *adds = (line.split() for line in text.splitlines())
    family = FAMILIES[create[create.index("family") + 1]]
    return IpSet(create[1], family, frozenset(ip_network(words[2]) for words in adds))


def replacement(wanted: Iterable[IpSet], found: Iterable[IpSet]) -> str:
    """Restore input that makes each set whole aside and puts it in place in one swap."""
    there = {found_set.name for found_set in found}
    lines: list[str] = []
    for ipset in sorted(wanted, key=lambda ipset: ipset.name):
        family = next(word for word, family in FAMILIES.items() if family == ipset.family)
        capacity = max(LEAST_CAPACITY, len(ipset.members))
        name = ipset.name + ASIDE if ipset.name in there else ipset.name
        lines.append(f"create {name} hash:net family {family} maxelem {capacity} -exist")
        lines += [f"flush {name}", *(f"add {name} {member}" for member in sorted(ipset.members, key=str))]
        if name != ipset.name:
            lines += [f"swap {name} {ipset.name}", f"destroy {name}"]
    return "\n".join([*lines, ""])


def removal(stale: Iterable[IpSet]) -> str:
    return "".join(f"destroy {ipset.name}\n" for ipset in sorted(stale, key=lambda ipset: ipset.name))
