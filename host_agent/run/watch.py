"""What wakes ``run``: kernel events of our namespaces, files, ends of our processes, signals, other threads."""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import Literal

from host_agent.drivers import events, inotify
from host_agent.drivers.namespaces import Namespaces

Cause = Literal["kernel", "files", "process", "signal", "thread"]
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Watch:
    """Wakes its one thread. Signals are taken from the moment it is made until it is closed."""

    def __init__(self, directories: Iterable[Path]) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[tuple[str, int], list[socket]] = {}
        self._processes: dict[int, int] = {}  # process -> descriptor
        self._files = inotify.watch(directories)
        self._thread = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._signal, self._interrupt = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.signals: set[int] = set()  # that came since the last wait
        for descriptor, cause in ((self._files, "files"), (self._thread, "thread"), (self._signal, "signal")):
            self._selector.register(descriptor, selectors.EVENT_READ, cause)
        self._before = {number: signal.signal(number, _noted) for number in SIGNALS}
        self._wakeup = signal.set_wakeup_fd(self._interrupt, warn_on_full_buffer=False)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._selector.close()
        for sockets in self._sockets.values():
            for each in sockets:
                each.close()
        for descriptor in (*self._processes.values(), self._files, self._thread, self._signal, self._interrupt):
            os.close(descriptor)

    def wake(self) -> None:
        """From another thread."""
        os.eventfd_write(self._thread, 1)

    def follow(self, namespaces: Namespaces, inodes: Mapping[str, int], processes: Iterable[int]) -> None:
        """Hear from these namespaces and processes, and from no others."""
        places = set(inodes.items())
        for place in self._sockets.keys() - places:
            for each in self._sockets.pop(place):
                self._selector.unregister(each)
                each.close()
        for name, inode in places - self._sockets.keys():
            with namespaces.inside(name):
                kinds = events.route_events(), events.netfilter_events(), events.policy_events()
                made = [each for each in kinds if each]
            self._sockets[name, inode] = made
            for each in made:
                self._selector.register(each, selectors.EVENT_READ, "kernel")
        wanted = set(processes)
        for pid in self._processes.keys() - wanted:
            self._forget(pid)
        for pid in wanted - self._processes.keys():
            descriptor = events.process_end(pid)
            if descriptor is not None:
                self._processes[pid] = descriptor
                self._selector.register(descriptor, selectors.EVENT_READ, "process")

    def wait(self, seconds: float) -> frozenset[Cause]:
        """The causes that came within this time, each once; what they said is gone."""
        causes: set[Cause] = set()
        ended = []
        for key, _ in self._selector.select(max(0.0, seconds)):
            causes.add(key.data)
            if isinstance(key.fileobj, socket):
                events.drain(key.fileobj)
            elif key.data == "process":
                ended.append(key.fd)
            elif key.data == "signal":
                self.signals |= set(os.read(key.fd, 4096))
            elif key.data == "thread":
                os.eventfd_read(key.fd)
            else:
                inotify.drain(key.fd)
        for pid in [pid for pid, descriptor in self._processes.items() if descriptor in ended]:
            self._forget(pid)
        return frozenset(causes)

    def _forget(self, pid: int) -> None:
        descriptor = self._processes.pop(pid)
        self._selector.unregister(descriptor)
        os.close(descriptor)


def _noted(number: int, frame: object) -> None:
    """The interpreter writes the signal's number to the pipe; there is nothing else to do."""
