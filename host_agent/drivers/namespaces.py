"""Network namespaces: create, enter, remove, and netlink sockets in each."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from host_agent.drivers import netlink_change
from host_agent.drivers.memory import Memory
from host_agent.drivers.netlink_socket import ROUTE, NetlinkSocket
from host_agent.state import NODE, Link

DIRECTORY = Path("/run/netns")
LOOPBACK = Link("lo", "socket")
NETWORK = 0x40000000  # CLONE_NEWNET


class Namespaces:
    """Enters namespaces by name. ``paths`` says where those are that have no entry in /run/netns."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        self._sockets: dict[tuple[str, int], NetlinkSocket] = {}  # by name and protocol
        self._memories: dict[str, Memory] = {}

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(self, *_: object) -> None:
        for name in {*(name for name, _ in self._sockets), *self._memories}:
            self._forget(name)

    def path(self, name: str) -> str:
        if name == NODE:
            return "/proc/self/ns/net"
        return self._paths.get(name, str(DIRECTORY / name))

    def names(self) -> list[str]:
        """All namespaces that have a name, here or in ``paths``."""
        return sorted(name for name in {*named(), *self._paths} if self.exists(name))

    def exists(self, name: str) -> bool:
        return os.path.exists(self.path(name))

    def inode(self, name: str) -> int | None:
        """What tells a namespace from all others; None if there is none of this name."""
        with suppress(OSError):
            return os.stat(self.path(name)).st_ino
        return None

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Sockets opened, programs run and /proc/sys/net read within are those of the namespace."""
        if name == NODE:
            yield
            return
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            _enter(self.path(name))
            try:
                yield
            finally:
                _set_namespace(home)
        finally:
            os.close(home)

    def netlink(self, name: str, protocol: int = ROUTE) -> NetlinkSocket:
        """A socket of the namespace, of rtnetlink if nothing else is said."""
        if (name, protocol) not in self._sockets:
            with self.inside(name):
                self._sockets[name, protocol] = NetlinkSocket(protocol)
        return self._sockets[name, protocol]

    def memory(self, name: str) -> Memory:
        return self._memories.setdefault(name, Memory())

    def create(self, name: str) -> None:
        """A namespace with its loopback up, marked as ours."""
        from pyroute2 import netns  # takes long to load, and most runs create nothing

        netns.create(name)
        netlink_change.mark(self.netlink(name), LOOPBACK.name)
        netlink_change.set_link(self.netlink(name), LOOPBACK)

    def remove(self, name: str) -> None:
        from pyroute2 import netns

        self._forget(name)
        try:
            netns.remove(name)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def _forget(self, name: str) -> None:
        self._memories.pop(name, None)
        for place in [place for place in self._sockets if place[0] == name]:
            self._sockets.pop(place).close()


def _enter(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set_namespace(descriptor)
    finally:
        os.close(descriptor)


def _set_namespace(descriptor: int) -> None:
    """setns(2), which Python has only since 3.12."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, NETWORK):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def named() -> list[str]:
    """The namespaces of /run/netns."""
    return sorted(entry.name for entry in DIRECTORY.iterdir()) if DIRECTORY.exists() else []
