"""nf_tables, in which iptables keeps its chains: its tables, and which chains and rules there are.

iptables-nft makes a table when it first needs it and never removes it, so that what iptables-save prints afterwards
would not be what it printed before. So tables that are not there yet are made here, with a mark, and removed when
empty again. The mark is the table's user data (NFTA_TABLE_USERDATA), as nft(8) keeps comments.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Mapping
from typing import NamedTuple

from host_agent.drivers import netlink_wire as wire
from host_agent.drivers.command import run
from host_agent.drivers.netlink_socket import NETFILTER, NetlinkSocket
from host_agent.drivers.netlink_wire import attribute, attributes, each_attribute, text_of
from host_agent.prefixes import ADDRESS_FAMILY
from host_agent.state import OWNER, Family

SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
NEW_TABLE, GET_TABLE, DELETE_TABLE, GET_CHAIN, GET_RULE, GET_GENERATION = 0, 1, 2, 4, 7, 16
BATCH_BEGIN, BATCH_END = 16, 17
GENERATION = 1  # NFTA_GEN_ID
NAME, USERDATA = 1, 6  # NFTA_TABLE_*
TABLE, CHAIN_NAME, RULE_CHAIN, EXPRESSIONS = 1, 3, 2, 4  # NFTA_CHAIN_*, NFTA_RULE_*
CHAIN_HOOK, CHAIN_POLICY, HOOK_NUMBER, DROP = 4, 5, 1, 0  # NFTA_CHAIN_*, NFTA_HOOK_HOOKNUM, NF_DROP
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2  # NFTA_EXPR_*
META_KEY, META_SOURCE, INCOMING_NAME = 2, 3, 6  # NFTA_META_*, NFT_META_IIFNAME
TARGET_NAME, MARKING = 1, ("MARK", "CONNMARK")  # NFTA_TARGET_NAME
HEAD = struct.Struct("!BBH")  # struct nfgenmsg: family, version, the ruleset's generation
WORDS = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}  # NFPROTO_*, as nft(8) calls them
COMMENT = bytes([0, len(OWNER) + 1]) + OWNER.encode() + b"\0"  # type "comment", length, text: what nft(8) shows
BACKENDS = {"xtables-nft-multi": True, "xtables-legacy-multi": False}  # the program behind iptables's names

Outline = Mapping[tuple[str, str], list[bytes]]  # table and chain -> its rules, as the kernel encodes them


def tables(family: Family) -> dict[str, bool]:
    """The tables of a family in the caller's namespace: name -> whether we made it.

    Raises OSError if the kernel has no nf_tables.
    """
    with NetlinkSocket(NETFILTER) as kernel:
        found = (attributes(body, HEAD.size) for body in kernel.list(_question(GET_TABLE, family)))
        return {text_of(table[NAME]): table.get(USERDATA) == COMMENT for table in found}


def generation() -> int:
    """A number that every commit to a table of the caller's namespace raises. Raises OSError as ``tables``."""
    question = wire.message(SUBSYSTEM << 8 | GET_GENERATION, wire.REQUEST | wire.ACK, HEAD.pack(0, 0, 0))
    with NetlinkSocket(NETFILTER) as kernel:
        (body,) = kernel.ask(question)
    return int.from_bytes(attributes(body, HEAD.size)[GENERATION])


def outline(family: Family, generation: int) -> Outline:
    """All chains and rules of a family, of this generation. Raises OSError if the kernel has no nf_tables, or if they
    have changed since."""
    found: dict[tuple[str, str], list[bytes]] = {}
    with NetlinkSocket(NETFILTER) as kernel:
        chains = kernel.list(_question(GET_CHAIN, family))
        rules = kernel.list(_question(GET_RULE, family))
    if {HEAD.unpack_from(body)[2] for body in (*chains, *rules)} - {generation & 0xFFFF}:
        raise OSError("the chains changed while they were read")
    for body in chains:
        chain = attributes(body, HEAD.size)
        found[text_of(chain[TABLE]), text_of(chain[CHAIN_NAME])] = []
    names: dict[bytes, list[bytes]] = {}  # by the first two attributes of a rule, which are the same for its neighbours
    for body in rules:
        head = _head(body)
        if head not in names:
            rule = attributes(head)
            names[head] = found[text_of(rule[TABLE]), text_of(rule[RULE_CHAIN])]
        names[head].append(body)
    return found


def _head(rule: bytes) -> bytes:
    """Its first two attributes, table and chain, as they are encoded."""
    end = HEAD.size
    for _ in range(2):
        end += wire.ATTRIBUTE.unpack_from(rule, end)[0] + 3 & ~3
    return rule[HEAD.size : end]


def marks_by_interface(rule: bytes) -> bool:
    """Whether a rule asks for the interface a packet came in by, and marks it (MARK, CONNMARK)."""
    by_interface = marking = False
    for _, expression in each_attribute(attributes(rule, HEAD.size).get(EXPRESSIONS, b"")):
        parts = attributes(expression)
        name, data = text_of(parts[EXPRESSION_NAME]), attributes(parts.get(EXPRESSION_DATA, b""))
        if name == "meta":
            by_interface |= int.from_bytes(data[META_KEY]) == INCOMING_NAME
            marking |= META_SOURCE in data
        elif name == "target":
            marking |= text_of(data[TARGET_NAME]) in MARKING
    return by_interface and marking


def create(family: Family, name: str) -> None:
    _change(NEW_TABLE, wire.CREATE, family, wire.text(NAME, name) + attribute(USERDATA, COMMENT))


def delete(family: Family, name: str) -> None:
    _change(DELETE_TABLE, 0, family, wire.text(NAME, name))


def works_behind(tool: str) -> bool:
    """Known by the program that is behind the name; if it is none of those we know, it is asked. Debian lets the two
    families' tools be chosen one by one (update-alternatives(1))."""
    program = os.path.basename(os.path.realpath(shutil.which(tool) or ""))
    return BACKENDS[program] if program in BACKENDS else "nf_tables" in run([tool, "--version"])


def rules() -> list[tuple[str, bytes]]:
    """Each rule of the caller's namespace: its table as nft(8) names it, and what the kernel says of the rule.

    Raises OSError as ``tables``.
    """
    with NetlinkSocket(NETFILTER) as kernel:
        bodies = kernel.list(wire.message(SUBSYSTEM << 8 | GET_RULE, wire.REQUEST | wire.DUMP, HEAD.pack(0, 0, 0)))
    return [(f"{WORDS.get(body[0], body[0])} {text_of(attributes(body, HEAD.size)[TABLE])}", body) for body in bodies]


class BaseChain(NamedTuple):
    """One that the kernel asks by itself."""

    table: str  # as nft(8) names it, with its family
    name: str
    hook: int  # NF_INET_*, or what its family calls so
    drops: bool  # what its rules let through: policy drop


def base_chains() -> list[BaseChain]:
    """Of the caller's namespace, of all families. Raises OSError as ``tables``."""
    with NetlinkSocket(NETFILTER) as kernel:
        bodies = kernel.list(wire.message(SUBSYSTEM << 8 | GET_CHAIN, wire.REQUEST | wire.DUMP, HEAD.pack(0, 0, 0)))
    found = []
    for body in bodies:
        chain = attributes(body, HEAD.size)
        if CHAIN_HOOK in chain:
            hook = int.from_bytes(attributes(chain[CHAIN_HOOK])[HOOK_NUMBER])
            drops = CHAIN_POLICY in chain and int.from_bytes(chain[CHAIN_POLICY]) == DROP
            table = f"{WORDS.get(body[0], body[0])} {text_of(chain[TABLE])}"
            found.append(BaseChain(table, text_of(chain[CHAIN_NAME]), hook, drops))
    return found


def _question(kind: int, family: Family) -> bytes:
    return wire.message(SUBSYSTEM << 8 | kind, wire.REQUEST | wire.DUMP, HEAD.pack(ADDRESS_FAMILY[family], 0, 0))


def _change(kind: int, flags: int, family: Family, what: bytes) -> None:
    edge = HEAD.pack(0, 0, SUBSYSTEM)
    body = HEAD.pack(ADDRESS_FAMILY[family], 0, 0) + what
    with NetlinkSocket(NETFILTER) as kernel:
        kernel.order(
            wire.message(BATCH_BEGIN, wire.REQUEST, edge),
            wire.message(SUBSYSTEM << 8 | kind, wire.REQUEST | wire.ACK | flags, body),
            wire.message(BATCH_END, wire.REQUEST, edge),
        )
