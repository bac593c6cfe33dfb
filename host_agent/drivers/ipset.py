"""Sets of type hash:net, ipset(8), by messages of our own: built aside, put in place whole, read back.

A set is ours by a mark that the kernel keeps with it: the low 16 bits of its capacity (maxelem). It is there from the
set's first moment, survives flush, swap and rename, comes with the short answer of ``ipset list -t``, and lets our
sets have any name, a country's code too, without taking a stranger's. The digest of what we put into a set stands
beside it, as the start value of its hash (initval), so that count and digest can be compared without the entries.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable
from dataclasses import dataclass

from host_agent.drivers import ipset_wire as wire
from host_agent.drivers.memory import Memory
from host_agent.drivers.netlink_socket import NETFILTER, NetlinkSocket
from host_agent.errors import AgentError, Missing
from host_agent.prefixes import FAMILY_NAMES, Family, Prefixes, Seal, seal
from host_agent.state import IPSET_NAME, IpSet

MARK = 0x5052  # "PR", as in the cookies of our flow entries
ASIDE = "PRIVACY_ROUTER_ASIDE"  # sets are built under this name
READ_WHOLE = 4096  # sets with no more entries than this are always read with all of them, larger ones when doubted

PATIENCE = 0.5  # seconds to wait for another program's listing of a set to end
UNSUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
NO_TYPE, TOO_MANY_SETS, BUSY, NAME_TAKEN, OTHER_TYPE, FULL = 4098, 4099, 4100, 4101, 4102, 4352


@dataclass(frozen=True)
class Reading:
    ours: frozenset[IpSet]
    strangers: frozenset[str]  # names of those we want that a set of somebody else has


class Kernel(NetlinkSocket):
    """A conversation with the ipset part of the kernel, in the namespace the caller is in."""

    def __init__(self) -> None:
        super().__init__(NETFILTER)

    def order_patiently(self, message: bytes) -> None:
        """As ``order``, but wait a little if the set is just being listed by somebody."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.order(message)
            except OSError as error:
                if error.errno not in (errno.EBUSY, BUSY) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)


def look(wanted: Iterable[IpSet] = (), memory: Memory | None = None) -> Reading:
    """The sets of the namespace. Ours are judged by every entry; large ones by count and digest of what was put in,
    which does not show that somebody exchanged entries one for one, unless the memory doubts them.
    """
    wishes = {ipset.name: ipset for ipset in wanted}
    memory = memory or Memory()
    with Kernel() as kernel:
        headers = _headers(kernel)
        found = frozenset(
            _judged(kernel, header, wishes.get(header.name), memory) for header in headers if _is_ours(header)
        )
    strangers = frozenset(it.name for it in headers if it.name in wishes and not _is_ours(it))
    return Reading(found, strangers)


def read() -> frozenset[IpSet]:
    """Our sets, as ``look`` sees them."""
    return look().ours


def entries(name: str, family: Family) -> tuple[bytes, ...]:
    """The packed entries of a set, sorted; see ``Prefixes.packed``."""
    with Kernel() as kernel:
        found = b"".join(wire.entries(body, family) for body in _listed(kernel, name))
    return tuple(wire.sorted_entries(found, family))


def replace(wanted: Iterable[IpSet], found: Iterable[IpSet]) -> None:
    """Put each wanted set in place whole: a packet meets the old content or the new, never a part.

    Raises AgentError with all that could not be done, or Missing if this kernel cannot hold such sets.
    """
    there = {ipset.name for ipset in found}
    if ASIDE in there:  # an earlier run was killed
        _remove(ASIDE)
    problems: list[str] = []
    for ipset in sorted(wanted, key=lambda ipset: ipset.name):
        try:
            _build_aside(ipset)
            with Kernel() as kernel:
                if ipset.name in there:
                    kernel.order_patiently(wire.swap(ASIDE, ipset.name))
                    kernel.order_patiently(wire.destroy(ASIDE))
                else:
                    kernel.order_patiently(wire.rename(ASIDE, ipset.name))
        except OSError as error:
            problems.append(_words(ipset.name, error))
            _remove_aside()
    if problems:
        raise AgentError(*problems)


def remove(stale: Iterable[IpSet]) -> None:
    """Raises AgentError with the names of those that are still in use."""
    problems = []
    for ipset in sorted(stale, key=lambda ipset: ipset.name):
        try:
            _remove(ipset.name)
        except OSError as error:
            problems.append(_words(ipset.name, error))
    if problems:
        raise AgentError(*problems)


def capacity(count: int) -> int:
    """The least capacity with our mark that holds so many entries."""
    return ((count >> 16) + 1) << 16 | MARK


def _build_aside(ipset: IpSet) -> None:
    if not isinstance(ipset.prefixes, Prefixes):
        raise TypeError(f"the entries of {ipset} are not known")
    with Kernel() as kernel:
        try:
            (answer,) = kernel.ask(wire.type_question(ipset.family))
        except OSError as error:
            raise Missing(_no_type(ipset.family)) from error
        count, digest = ipset.seal.count, ipset.seal.digest
        kernel.order(
            wire.create(ASIDE, ipset.family, wire.revision(answer), count, capacity(count), digest),
        )
        for message in wire.additions(ASIDE, ipset.family, ipset.prefixes.packed):
            kernel.order(message)


def _remove(name: str) -> None:
    with Kernel() as kernel:
        try:
            kernel.order_patiently(wire.destroy(name))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


def _remove_aside() -> None:
    """After a failure, whose words count more than those of this."""
    with Kernel() as kernel:
        if any(header.name == ASIDE and _is_ours(header) for header in _headers(kernel)):
            kernel.order_patiently(wire.destroy(ASIDE))


def _headers(kernel: Kernel) -> list[wire.Header]:
    """The headers of all sets of the namespace; none if the kernel knows no sets. Entries of strangers' sets, whose
    types and versions need not be known here, are never asked for."""
    try:
        found = [wire.header(body) for body in kernel.ask(wire.headers())]
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return []
        raise
    return [header for header in found if header]


def _is_ours(header: wire.Header) -> bool:
    return (
        header.capacity & 0xFFFF == MARK
        and header.type_name == wire.TYPE
        and header.family in FAMILY_NAMES
        and IPSET_NAME.fullmatch(header.name) is not None
    )


def _judged(kernel: Kernel, header: wire.Header, wish: IpSet | None, memory: Memory) -> IpSet:
    if header.start_value is not None and header.count > READ_WHOLE:
        put_in = IpSet(header.name, FAMILY_NAMES[header.family], Seal(header.count, header.start_value))
        if header.name not in memory.doubted:
            return put_in
        found = _by_entry(header, _listed(kernel, header.name), wish)
        if found == put_in:
            memory.doubted.discard(header.name)
        return found
    listing = _listed(kernel, header.name)
    remembered, known = memory.sets.get(header.name, ([], None))
    if known is None or known.family != FAMILY_NAMES[header.family] or remembered != listing:
        known = _by_entry(header, listing, wish)
        memory.sets[header.name] = (listing, known)
    return known


def _by_entry(header: wire.Header, listing: list[bytes], wish: IpSet | None) -> IpSet:
    family = FAMILY_NAMES[header.family]
    found = b"".join(wire.entries(body, family) for body in listing)
    known = wish.prefixes if wish is not None and wish.family == family else None
    if isinstance(known, Prefixes) and wire.same_entries(found, known.packed, family):
        return IpSet(header.name, family, known.seal)  # without sorting them
    return IpSet(header.name, family, seal(b"".join(wire.sorted_entries(found, family)), family))


def _listed(kernel: Kernel, name: str) -> list[bytes]:
    return [*kernel.ask(wire.listing(name))]


def _no_type(family: Family) -> str:
    return (
        f"kernel: no set type hash:net for {family}: modprobe ip_set_hash_net"
        " (CONFIG_IP_SET_HASH_NET, in Debian's package linux-image-amd64)"
    )


def _words(name: str, error: OSError) -> str:
    """What the kernel's error number says, for the operator."""
    code = error.errno or 0
    meaning = {
        NO_TYPE: _no_type("ipv4"),
        TOO_MANY_SETS: "the kernel holds as many sets as it may: raise max_sets of the module ip_set",
        BUSY: "a rule uses it: remove the rule first (iptables-save and ip6tables-save show it, or doctor does)",
        errno.EBUSY: "another program keeps listing it",
        NAME_TAKEN: "a set of this name appeared meanwhile",
        errno.EEXIST: f"there is a set {ASIDE} that is not ours: ipset destroy {ASIDE}",
        OTHER_TYPE: "the set of this name has another family: remove what uses it, then the set",
        FULL: "it holds as many entries as it may",
        errno.EPERM: "the right CAP_NET_ADMIN is missing",
        errno.ENOMEM: "the kernel has no memory for it",
    }
    return f"ipset {name}: {meaning.get(code, f'the kernel refuses it: error {code}')}"
