"""Names, numbers and marks by which objects of ours are known, and what a name may be made of."""

from __future__ import annotations

import re
from collections.abc import Container
from itertools import count
from pathlib import Path

from host_agent.prefixes import Family

OWNER = "privacy-router"  # alias of links, key of external ids, start of comments
PROTOCOL = 80  # "protocol" of our ip rules and routes, see /etc/iproute2/rt_protos
NODE = ""  # the namespace the agent runs in; a name of /run/netns is never empty
MAIN_TABLE = 254
LAST_PREFERENCE = 32766  # of the kernel's own ip rule, to the main table
DECIDING = "mangle"  # the table of iptables whose chains decide about packets; those of others check what they did
LAST_METRIC = 4278198272  # behind every other route, as wg-quick and systemd-networkd number a last resort

# An ip rule of the node with this preference says that we switched on forwarding for its incoming interface.
FORWARDING_PREFERENCE = 240

# Entries decide by IP address alone, so all mesh ports can have one Ethernet address. When a container moves to another
# node, what its callers have in their ARP tables stays true.
MESH_ETHERNET = "02:50:52:6d:65:73"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")  # a Linux link name, narrower than the kernel's rule
NAMESPACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")  # a file name in /run/netns
IPSET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}")

LOGS = "log"  # directory of the programs' logs, in the state directory

FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
FAMILY_OPTION: dict[Family, str] = {"ipv4": "", "ipv6": " -6"}  # of ip(8)


def checked(name: str, pattern: re.Pattern[str] = NAME) -> str:
    """The name, if the kernel and the tools' input formats can take it as nothing but a name."""
    if not pattern.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a kernel object")
    return name


def log_path(state_dir: Path, name: str) -> Path:
    """What the program of this name says goes there."""
    return state_dir / LOGS / f"{name}.log"


def free_name(name: str, taken: Container[str]) -> str:
    """Another name after this one. A policy's names leave room for a number: chains have 28 characters, sets 31."""
    return next(free for number in count(1) if (free := f"{name[:23]}_{number}") not in taken)
