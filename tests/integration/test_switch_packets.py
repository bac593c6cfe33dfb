"""Real packets through the compiled pipeline: the right port only, and no other way. Needs root."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest
from processes import wait_for
from switch_sandbox import EXAMPLE, Controller, Sandbox, Switch
from wires import Wires


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
def wires(sandbox: Sandbox, controller: Controller) -> Iterator[Wires]:
    with Wires(sandbox) as made:
        yield made


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
        wait_for(lambda: "lladdr" in neighbour(wires.sandbox, start, target), f"ARP from {start}")  # noqa: B023
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
