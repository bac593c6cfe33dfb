"""Network namespaces: create, enter, remove, and one netlink socket in each."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, netns

from host_agent.state import NODE, OWNER

DIRECTORY = Path("/run/netns")
LOOPBACK = 1  # the loopback link has this index in every namespace


class Namespaces:
    """Enters namespaces by name. ``paths`` says where those are that have no entry in /run/netns."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        self._sockets: dict[str, Any] = {}

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._sockets):
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
            netns.setns(self.path(name), flags=0)
            try:
                yield
            finally:
                netns.setns(home, flags=0)
        finally:
            os.close(home)

    def netlink(self, name: str) -> Any:
        """A pyroute2 IPRoute of the namespace."""
        if name not in self._sockets:
            with self.inside(name):
                self._sockets[name] = IPRoute()
        return self._sockets[name]

    def create(self, name: str) -> None:
        """A namespace with its loopback up, marked as ours."""
        netns.create(name)
        self.netlink(name).link("set", index=LOOPBACK, ifalias=OWNER, state="up")

    def remove(self, name: str) -> None:
        self._forget(name)
        try:
            netns.remove(name)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def is_ours(self, name: str) -> bool:
        (loopback,) = self.netlink(name).get_links(LOOPBACK)
        return bool(loopback.get("ifalias") == OWNER)

    def _forget(self, name: str) -> None:
        socket = self._sockets.pop(name, None)
        if socket is not None:
            socket.close()


def named() -> list[str]:
    """The namespaces of /run/netns."""
    return sorted(entry.name for entry in DIRECTORY.iterdir()) if DIRECTORY.exists() else []
