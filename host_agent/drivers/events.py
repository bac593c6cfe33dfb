"""Sockets that hear of changes in a network namespace: rtnetlink(7) and nfnetlink multicast. What is said is not
read: a message only means that it is time to look."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

from host_agent.drivers.netlink_socket import NETFILTER, XFRM

# Group numbers of linux/rtnetlink.h: links, addresses, routes, rules and per-link settings of both families.
ROUTE_GROUPS = (1, 5, 7, 8, 9, 11, 19, 24, 25)
NFTABLES_GROUP = 7  # NFNLGRP_NFTABLES: what iptables-nft commits, too
POLICY_GROUP = 4  # XFRMNLGRP_POLICY


def route_events() -> socket.socket:
    """A socket of the namespace the caller is in."""
    return _listening(socket.NETLINK_ROUTE, ROUTE_GROUPS)


def netfilter_events() -> socket.socket | None:
    """The same for chains; None where the kernel has no nftables. Legacy iptables says nothing here."""
    with suppress(OSError):
        return _listening(NETFILTER, (NFTABLES_GROUP,))
    return None


def policy_events() -> socket.socket | None:
    """The same for IPsec policies; None where the kernel has none."""
    with suppress(OSError):
        return _listening(XFRM, (POLICY_GROUP,))
    return None


def drain(heard: socket.socket) -> None:
    """Empty the socket. One that overflowed (ENOBUFS) has told all it has to tell: look."""
    while True:
        try:
            heard.recv(65536)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                return


def process_end(pid: int) -> int | None:
    """A descriptor that gets readable when the process ends (pidfd_open(2)); None if it has."""
    with suppress(OSError):
        return os.pidfd_open(pid)
    return None


def _listening(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        made.bind((0, sum(1 << (group - 1) for group in groups)))
    except OSError:
        made.close()
        raise
    return made
