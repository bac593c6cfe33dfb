"""What answers in the LAN router's lab: every exit, by its name, the router's resolver, and the proxy behind TPROXY."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import lan_router
from namespace import inside

PORTS = (7, 53, 80, 443)
TPROXY_PORT = 12345
IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR, IPV6_TRANSPARENT = 20, 74, 75
Answer = Callable[[], None]


class Servers:
    """All servers of the lab in one thread. ``proxy_on`` says whether the proxy listens."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._proxy: list[socket.socket] = []
        for name in lan_router.EXITS:
            self._serve(name, name, lan_router.INTERNET, PORTS)
        self._serve("node", "router", (lan_router.ROUTER, lan_router.ROUTER6), (53,))
        self.start_proxy()
        threading.Thread(target=self._run, daemon=True).start()

    def start_proxy(self) -> None:
        with inside("node"):
            for family in (socket.AF_INET, socket.AF_INET6):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    listener = _transparent(family, kind)
                    if family == socket.AF_INET6:
                        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    listener.bind(("" if family == socket.AF_INET else "::", TPROXY_PORT))
                    self._add(listener, kind, b"xray", proxy=True)
                    self._proxy.append(listener)

    def stop_proxy(self) -> None:
        for listener in self._proxy:
            self._selector.unregister(listener)
            listener.close()
        self._proxy.clear()

    def _serve(self, namespace: str, name: str, addresses: tuple[str, ...], ports: tuple[int, ...]) -> None:
        with inside(namespace):
            for address in addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                for port in ports:
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        server = socket.socket(family, kind)
                        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        server.bind((address, port))
                        self._add(server, kind, name.encode())

    def _add(self, server: socket.socket, kind: int, answer: bytes, proxy: bool = False) -> None:
        server.setblocking(False)
        if kind == socket.SOCK_STREAM:
            server.listen(64)
            handle = lambda: _accept(server, answer)  # noqa: E731
        elif proxy:
            handle = lambda: _answer_as_target(server, answer)  # noqa: E731
        else:
            handle = lambda: _answer(server, answer)  # noqa: E731
        self._selector.register(server, selectors.EVENT_READ, handle)

    def _run(self) -> None:
        with inside("node"):
            while True:
                for key, _ in self._selector.select(1):
                    with suppress(OSError, ValueError):
                        key.data()


def _transparent(family: int, kind: int) -> socket.socket:
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET:
        made.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
        made.setsockopt(socket.SOL_IP, IP_RECVORIGDSTADDR, 1)
    else:
        made.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        made.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1)
    return made


def _accept(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(answer)


def _answer(server: socket.socket, answer: bytes) -> None:
    data, peer = server.recvfrom(2048)
    server.sendto(answer + b" " + data, peer)


def _answer_as_target(server: socket.socket, answer: bytes) -> None:
    """A datagram that TPROXY brought is answered in the name of whom it was for."""
    data, extra, _, peer = server.recvmsg(2048, 256)
    target = next(_address(server.family, value) for _, kind, value in extra if kind in (20, 74))
    with _transparent(server.family, socket.SOCK_DGRAM) as reply:
        reply.bind(target)
        reply.sendto(answer + b" " + data, peer)


def _address(family: int, value: bytes) -> tuple[str, int]:
    (port,) = struct.unpack_from("!H", value, 2)
    if family == socket.AF_INET:
        return socket.inet_ntop(family, value[4:8]), port
    return socket.inet_ntop(family, value[8:24]), port


@contextmanager
def proxy_down(servers: Servers) -> Iterator[None]:
    servers.stop_proxy()
    try:
        yield
    finally:
        servers.start_proxy()
