"""Frames put on the wire at one port of a switch, and where they are heard."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from processes import wait_for
from switch_sandbox import NAMESPACES, Sandbox

Plugged = Mapping[str, tuple[str, str]]  # of each port: its namespace, and its address there

# Sends one frame with the given Ethernet, IPv4 and UDP addresses: what a kernel would never send for us, too.
_SEND = """
import socket, struct, sys
port, target_mac, source, target, word = sys.argv[1:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((port, 0x0800))
data = word.encode()
udp = struct.pack("!HHHH", 7777, 7777, 8 + len(data), 0) + data
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0,
                 socket.inet_aton(source), socket.inet_aton(target))
total = sum(struct.unpack("!10H", ip)); total = (total & 0xffff) + (total >> 16)
ip = ip[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + ip[12:]
s.send(bytes.fromhex(target_mac.replace(":", "")) + s.getsockname()[4] + b"\\x08\\0" + ip + udp)
"""

# Prints every word that _SEND's frames bring to the port, whoever they are for.
_LISTEN = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((sys.argv[1], 3))
print("listening", flush=True)
while True:
    frame = s.recv(65536)
    if s and frame[36:38] == (7777).to_bytes(2, "big"): print(frame[42:].decode(), flush=True)
"""


class Wires:
    """Ports plugged into namespaces, all of the example's among them, with a listener on each."""

    def __init__(self, sandbox: Sandbox, plugged: Plugged = NAMESPACES) -> None:
        self.sandbox = sandbox
        self._sent = 0
        self._namespaces = {port: namespace for port, (namespace, _) in plugged.items()}
        self._logs = {port: sandbox.directory / f"{port}.heard" for port in plugged}
        for port, namespace in self._namespaces.items():
            inside = ("ip", "netns", "exec", namespace, sys.executable, "-I", "-c", _LISTEN, port)
            sandbox.start(*inside, log=self._logs[port])
        for log in self._logs.values():
            wait_for(lambda log=log: "listening" in log.read_text(), "a listener")

    def heard(self, sender: str, source: str, target: str, mac: str = "ff:ff:ff:ff:ff:ff") -> set[str]:
        """The ports at which a packet is heard that the sender's port puts on the wire."""
        self._sent += 1
        word = f"packet {self._sent}."
        control = f"control {self._sent}."
        self._send(sender, mac, source, target, word)
        # The control follows on the same path through the same switch: once it has arrived, so has the packet.
        self._send("internal_200", mac, "100.104.70.10", "100.104.70.11", control)
        wait_for(lambda: control in self._logs["internal_201"].read_text(), "the control packet")
        return {port for port, log in self._logs.items() if port != sender and word in log.read_text()}

    def _send(self, port: str, mac: str, *what: str) -> None:
        namespace = self._namespaces[port]
        self.sandbox.run("ip", "netns", "exec", namespace, sys.executable, "-I", "-c", _SEND, port, mac, *what)
