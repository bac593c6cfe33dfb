"""Where this program listens, for switches and for REST: alone on its port, or not at all."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import eventlet

BACKLOG = 128


class CannotListen(Exception):
    """A server cannot be as it was told to, with the one sentence that says why: the program ends over it."""


def listen(host: str, port: int) -> Any:
    """A listening socket. Raises CannotListen.

    Eventlet's own would share the port (SO_REUSEPORT), and a second controller get half of the switches and clients.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return eventlet.listen((host.strip("[]"), port), family=family, backlog=BACKLOG, reuse_port=False)
    except (OSError, OverflowError) as error:
        raise CannotListen(f"cannot listen on {host} port {port}: {_reason(error)}") from None


def tls_context(certificate: tuple[str, str], key: tuple[str, str], authority: tuple[str, str] | None = None) -> Any:
    """TLS 1.2 and later; with an authority whoever connects has to show a certificate of it.

    Each is an option's name and the file that it names. Raises CannotListen.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    named = [certificate, key]
    try:
        context.load_cert_chain(certificate[1], key[1])
        if authority is not None:
            named = [authority]
            context.load_verify_locations(authority[1])
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        raise CannotListen(f"{', '.join(map(' '.join, named))}: {_reason(error)}") from None
    return context


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
