"""Real packets through the compiled pipeline: the right port only, and no other way. Needs root."""

from __future__ import annotations

import shutil
import sys

import pytest
from processes import wait_for
from switch_sandbox import EXAMPLE, NAMESPACES, Controller, Sandbox, Switch

PORT_OF = {namespace: port for port, (namespace, _) in NAMESPACES.items()}

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
    """Every port plugged into a namespace, with a listener on each."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._sent = 0
        self._logs = {port: sandbox.directory / f"{port}.heard" for port in NAMESPACES}
        for port, (namespace, _) in NAMESPACES.items():
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
        namespace = NAMESPACES[port][0]
        self.sandbox.run("ip", "netns", "exec", namespace, sys.executable, "-I", "-c", _SEND, port, mac, *what)


@pytest.fixture(scope="module")
def sandbox(shared: Sandbox) -> Sandbox:
    return shared


@pytest.fixture(scope="module")
def switch(sandbox: Sandbox) -> Switch:
    made = Switch(sandbox)
    made.plug_all()
    return made


@pytest.fixture(scope="module")
def controller(sandbox: Sandbox, switch: Switch) -> Controller:
    policy = sandbox.directory / "policy.json"
    shutil.copy(EXAMPLE, policy)
    made = Controller(sandbox, policy)
    made.start()
    made.wait_until_confirmed(1)
    return made


@pytest.fixture(scope="module")
def wires(sandbox: Sandbox, controller: Controller) -> Wires:
    return Wires(sandbox)


CLIENT, TARGET = "10.100.0.2", "203.0.113.9"


@pytest.mark.parametrize(
    ("sender", "source", "target", "ports"),
    [
        ("internal_100", CLIENT, TARGET, {"warp0"}),
        ("warp0", CLIENT, TARGET, {"internal_101"}),
        ("internal_101", "10.99.0.101", TARGET, {"warp0"}),
        ("warp0", TARGET, "10.99.0.101", {"internal_101"}),
        ("internal_101", TARGET, CLIENT, {"warp0"}),
        ("warp0", TARGET, CLIENT, {"internal_100"}),
        ("internal_200", "100.104.70.10", "100.104.70.77", {"nm-privacy"}),
        ("nm-privacy", "100.104.70.77", "100.104.70.10", {"internal_200"}),
    ],
)
def test_heard_at_the_right_port_only(wires: Wires, sender: str, source: str, target: str, ports: set[str]) -> None:
    assert wires.heard(sender, source, target) == ports


@pytest.mark.parametrize(
    ("sender", "source", "target"),
    [
        ("internal_100", "192.0.2.66", TARGET),  # not a client, not the gateway
        ("internal_101", "192.0.2.66", TARGET),  # another's name towards the Internet
        ("internal_200", "100.104.70.11", "100.104.70.11"),
        ("nm-privacy", "192.0.2.66", "100.104.70.10"),
        ("internal_100", CLIENT.replace("100", "104", 1), "100.104.70.10"),
    ],
)
def test_spoofed_sources_are_heard_nowhere(
    wires: Wires, switch: Switch, controller: Controller, sender: str, source: str, target: str
) -> None:
    switch.count_everything()
    before = packets(controller, f"anti-spoofing {sender}")
    assert wires.heard(sender, source, target) == set()
    switch.count_everything()
    assert packets(controller, f"anti-spoofing {sender}") == before + 1


def test_privacy_and_mesh_do_not_hear_each_other(wires: Wires) -> None:
    privacy = {"internal_100": "10.99.0.100", "warp0": "10.99.0.1", "internal_101": "10.99.0.101"}
    mesh = {"internal_200": "100.104.70.10", "internal_201": "100.104.70.11", "nm-privacy": "100.104.70.1"}
    for sender, source in privacy.items():
        assert not wires.heard(sender, source, "100.104.70.10") & set(mesh)
    assert not wires.heard("internal_100", CLIENT, "100.104.70.10") & set(mesh)
    for sender, source in mesh.items():
        for target in (*privacy.values(), CLIENT):
            assert wires.heard(sender, source, target) == set()


def test_kernels_find_each_other_by_arp(wires: Wires, switch: Switch, controller: Controller) -> None:
    for start, target, item in (
        ("ct100", "10.99.0.1", "chain ARP"),
        ("ct101", "10.99.0.1", "chain ARP"),
        ("ct200", "100.104.70.11", "function route bucket_storage"),
        ("mesh", "100.104.70.10", "function route vector_db"),
    ):
        before = packets(controller, item)
        code = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{target}', 9))"
        wires.sandbox.run("ip", "netns", "exec", start, sys.executable, "-I", "-c", code)
        wait_for(lambda: "lladdr" in neighbour(wires.sandbox, start, target), f"ARP from {start}", seconds=3)  # noqa: B023
        switch.count_everything()
        assert packets(controller, item) > before


def test_the_chain_counts_by_item(wires: Wires, switch: Switch, controller: Controller) -> None:
    def count() -> dict[str, int]:
        switch.count_everything()
        links = controller.get("/v1/chain")[1]["links"]
        return {link["item"]: link["packets"] for link in links if link["item"] != "chain ARP"}

    before = count()
    for _ in range(3):
        wires.heard("internal_100", CLIENT, TARGET)
    wires.heard("warp0", TARGET, CLIENT)
    assert {item: now - before[item] for item, now in count().items()} == {
        "WireGuard gateway → WARP tunnel": 3,
        "WARP → XRay client": 0,
        "Xray client -> WARP tunnel (return)": 0,
        "WARP tunnel -> WireGuard gateway (return)": 1,
    }
    hops = controller.get("/v1/chain")[1]["hops"]
    assert [(hop["port"], hop["present"]) for hop in hops] == [
        ("internal_100", True),
        ("warp0", True),
        ("internal_101", True),
    ]


def neighbour(sandbox: Sandbox, namespace: str, address: str) -> str:
    return sandbox.run("ip", "-n", namespace, "neighbour", "show", address)


def packets(controller: Controller, item: str) -> int:
    return sum(entry["packets"] for entry in controller.switch()["entries"] if entry["item"] == item)
