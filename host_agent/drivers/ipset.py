"""Sets of type hash:net, ipset(8), by messages of our own: built aside, put in place whole, read back.

A set is ours by a mark that the kernel keeps with it: the low 16 bits of its capacity (maxelem). It is there from the
set's first moment, survives flush, swap and rename, comes with the short answer of ``ipset list -t``, and lets our
sets have any name, a country's code too, without taking a stranger's. The digest of what we put into a set stands
beside it, as the start value of its hash (initval), so that count and digest can be compared without the entries.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterable, Iterator

from host_agent.drivers import ipset_wire as wire
from host_agent.errors import AgentError, Missing
from host_agent.prefixes import Family, Prefixes, Seal, seal
from host_agent.state import IPSET_NAME, IpSet

MARK = 0x5052  # "PR", as in the cookies of our flow entries
ASIDE = "PRIVACY_ROUTER_ASIDE"  # sets are built under this name
READ_WHOLE = 4096  # sets with no more entries than this are always read with all of them

NETLINK_NETFILTER = 12
TIMEOUT = 20.0  # seconds for an answer
BUFFER = 1 << 17  # bytes; the kernel's datagrams are smaller
PATIENCE = 0.5  # seconds to wait for another program's listing of a set to end
UNSUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
NO_TYPE, TOO_MANY_SETS, BUSY, NAME_TAKEN, OTHER_TYPE, FULL = 4098, 4099, 4100, 4101, 4102, 4352


class Kernel:
    """A conversation with the ipset part of the kernel, in the namespace the caller is in."""

    def __enter__(self) -> Kernel:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.settimeout(TIMEOUT)
        self._socket.bind((0, 0))
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, message: bytes) -> Iterator[bytes]:
        """The bodies of the answer's messages. Raises OSError with the kernel's error number."""
        self._socket.send(message)
        while True:
            for kind, body in wire.messages(self._socket.recv(BUFFER)):
                if kind == wire.ERROR and wire.errno_of(body):
                    raise OSError(wire.errno_of(body), "refused by the kernel")
                if kind in (wire.ERROR, wire.DONE):
                    return
                yield body

    def order(self, message: bytes) -> None:
        for _ in self.ask(message):
            pass

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


def read() -> frozenset[IpSet]:
    """Our sets, the large ones by count and digest of what was put in.

    What this cannot see: that somebody exchanged entries of a set with more than READ_WHOLE of them one for one.
    ``read_whole`` does.
    """
    with Kernel() as kernel:
        return frozenset(_judged(kernel, header, READ_WHOLE) for header in _headers(kernel) if _is_ours(header))


def read_whole() -> frozenset[IpSet]:
    """Our sets, by every entry."""
    with Kernel() as kernel:
        return frozenset(_judged(kernel, header, header.capacity) for header in _headers(kernel) if _is_ours(header))


def strangers(names: Iterable[str]) -> frozenset[str]:
    """Those of the names that a set of somebody else has."""
    asked = frozenset(names)
    if not asked:
        return asked
    with Kernel() as kernel:
        return asked & {header.name for header in _headers(kernel) if not _is_ours(header)}


def entries(name: str, family: Family) -> tuple[bytes, ...]:
    """The packed entries of a set, sorted; see ``Prefixes.packed``."""
    with Kernel() as kernel:
        return _entries(kernel, name, family)


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
        and header.family in wire.FAMILY_NAMES
        and IPSET_NAME.fullmatch(header.name) is not None
    )


def _judged(kernel: Kernel, header: wire.Header, whole: int) -> IpSet:
    family = wire.FAMILY_NAMES[header.family]
    if header.start_value is not None and header.count > whole:
        return IpSet(header.name, family, Seal(header.count, header.start_value))
    return IpSet(header.name, family, seal(b"".join(_entries(kernel, header.name, family)), family))


def _entries(kernel: Kernel, name: str, family: Family) -> tuple[bytes, ...]:
    return tuple(sorted(entry for body in kernel.ask(wire.listing(name)) for entry in wire.entries(body, family)))


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
        BUSY: "a rule uses it: remove the rule first (iptables-save and ip6tables-save show it)",
        errno.EBUSY: "another program keeps listing it",
        NAME_TAKEN: "a set of this name appeared meanwhile",
        errno.EEXIST: f"there is a set {ASIDE} that is not ours: ipset destroy {ASIDE}",
        OTHER_TYPE: "the set of this name has another family: remove what uses it, then the set",
        FULL: "it holds as many entries as it may",
        errno.EPERM: "the right CAP_NET_ADMIN is missing",
        errno.ENOMEM: "the kernel has no memory for it",
    }
    return f"ipset {name}: {meaning.get(code, f'the kernel refuses it: error {code}')}"
