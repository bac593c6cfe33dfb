"""Frames put on the wire at one port of a switch, and where they are heard."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Self

import forge
from capture import ETH_P_ALL
from namespace import entered
from processes import wait_for
from switch_sandbox import NAMESPACES, Sandbox

Plugged = Mapping[str, tuple[str, str]]  # of each port: its namespace, and its address there
UDP_PORT = 7777


class Wires:
    """Ports plugged into namespaces, all of the example's among them, with a packet socket on each."""

    def __init__(self, sandbox: Sandbox, plugged: Plugged = NAMESPACES) -> None:
        self.sandbox = sandbox
        self._sent = 0
        self._sockets = {port: _opened(sandbox, namespace, port) for port, (namespace, _) in plugged.items()}
        self._words: dict[str, set[str]] = {port: set() for port in plugged}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets.values():
            each.close()

    def heard(self, sender: str, source: str, target: str, mac: str = "ff:ff:ff:ff:ff:ff") -> set[str]:
        """The ports at which a packet is heard that the sender's port puts on the wire."""
        self._sent += 1
        word = f"packet {self._sent}"
        self._send(sender, mac, source, target, word)
        # Controls follow through the same switch. It takes its ports by turns: once the second has arrived, so has the
        # packet, wherever it went.
        for control in (f"control {self._sent}a", f"control {self._sent}b"):
            self._send("internal_200", mac, "100.104.70.10", "100.104.70.11", control)
            wait_for(lambda it=control: it in self._heard("internal_201"), "the control packet")
        return {port for port in self._sockets if port != sender and word in self._heard(port)}

    def _send(self, port: str, mac: str, source: str, target: str, word: str) -> None:
        """With the given addresses: what a kernel would never send for us, too."""
        sender = self._sockets[port]
        ethernet = bytes.fromhex(mac.replace(":", "")) + sender.getsockname()[4] + struct.pack("!H", forge.ETH_P_IP)
        sender.send(ethernet + forge.datagram(source, target, UDP_PORT, word.encode()))

    def _heard(self, port: str) -> set[str]:
        """Every word that came to the port so far, whoever it was for."""
        try:
            while True:
                frame, address = self._sockets[port].recvfrom(65536)
                if address[2] != socket.PACKET_OUTGOING and frame[36:38] == UDP_PORT.to_bytes(2, "big"):
                    self._words[port].add(frame[42:].decode())
        except BlockingIOError:
            return self._words[port]


def _opened(sandbox: Sandbox, namespace: str, port: str) -> socket.socket:
    with entered(f"/proc/{sandbox.first}/root/run/netns/{namespace}"):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        made.bind((port, ETH_P_ALL))
    made.setblocking(False)
    return made
