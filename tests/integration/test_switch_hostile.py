"""Peers that speak OpenFlow badly, or mean harm: the controller goes on, in bounded memory, and other switches notice
nothing. Needs root."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import wait_for
from switch_sandbox import EXAMPLE, PORTS, Controller, Sandbox, Switch

from ryu_apps.switches.connection import ANSWER_TIMEOUT

FAKE = Path(__file__).with_name("fake_switch.py")
SOAK = bool(os.environ.get("SOAK"))
MEMORY = 60  # MiB that the controller may grow by


class Scene:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.switch = Switch(sandbox)
        self.switch.add_ports(*PORTS)
        policy = sandbox.directory / "policy.json"
        shutil.copy(EXAMPLE, policy)
        self.controller = Controller(sandbox, policy)
        self.controller.start()
        self.state = self.controller.wait_until_confirmed(1)
        self.table = self.switch.dump()
        self.before = self.memory()

    def memory(self) -> int:
        """Resident, MiB."""
        status = Path(f"/proc/{self.controller.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024

    def fake(self, mode: str, number: int = 1) -> str:
        """Plays to the end; what it printed."""
        log = self.sandbox.directory / f"{mode}.log"
        log.write_text("")
        self.sandbox.start(sys.executable, "-I", FAKE, mode, str(number), log=log).wait(timeout=900)
        assert log.read_text().endswith("done\n"), log.read_text()
        return log.read_text()

    def beside(self, mode: str, number: int, word: str) -> None:
        """Starts it, and waits until it has printed the word."""
        log = self.sandbox.directory / f"{mode}.log"
        log.write_text("")
        self.sandbox.start(sys.executable, "-I", FAKE, mode, str(number), log=log)
        wait_for(lambda: word in log.read_text(), f"{word}: {log.read_text()}", seconds=60)

    def serves(self) -> None:
        """The real switch is looked after: a foreign change is repaired before anybody's silence would end."""
        self.switch.ofctl("add-flow", "ovsbr0", f"cookie=3,table=20,priority={time.time_ns() % 60000},actions=drop")
        wait_for(lambda: self.switch.dump() == self.table, "the repair", 0.9 * ANSWER_TIMEOUT)
        assert self.controller.get("/v1/flows")[0] == 200

    def log(self) -> str:
        return self.controller.log.read_text()


@pytest.fixture(scope="module")
def scene(shared: Sandbox) -> Scene:
    return Scene(shared)


@pytest.fixture(autouse=True)
def unharmed(scene: Scene) -> Iterator[None]:
    start = len(scene.log())
    yield
    scene.serves()
    log = scene.log()[start:]
    assert "Traceback" not in log and "uncaught" not in log
    assert len(log) < 20_000
    assert scene.memory() - scene.before < MEMORY


def test_garbage(scene: Scene) -> None:
    assert "still connected" not in scene.fake("garbage", 2000 if SOAK else 100)


def test_wrong_versions(scene: Scene) -> None:
    assert "still connected" not in scene.fake("wrong_versions", 99)


def test_lengths_that_cannot_be(scene: Scene) -> None:
    assert "still connected" not in scene.fake("malformed")
    assert "malformed" in scene.log()


def test_disconnects_in_the_middle(scene: Scene) -> None:
    scene.fake("halves", 3000 if SOAK else 300)


def test_a_crowd_that_says_nothing(scene: Scene) -> None:
    """More connections than the controller takes. The real switch has its own already, and drift is still repaired."""
    scene.beside("crowd", 3000 if SOAK else 1100, "crowded")
    scene.serves()
    seen = scene.log().count("ovsbr0: connected:")
    scene.switch.vsctl("set-controller", "ovsbr0", "tcp:127.0.0.1:6654")
    wait_for(lambda: (now := scene.controller.switch()) and not now["connected"], "the real switch to be gone")
    scene.beside("crowd", 9, "crowded")  # takes its place
    # Peers without a handshake are sent away, so that there is room again.
    scene.switch.vsctl("set-controller", "ovsbr0", "tcp:127.0.0.1:6653")
    wait_for(lambda: scene.log().count("ovsbr0: connected:") > seen, "the real switch", seconds=30)


def test_one_that_never_says_who_it_is(scene: Scene) -> None:
    assert scene.fake("dawdler", 40) == "done\n"


def test_a_flood_of_packets(scene: Scene) -> None:
    scene.beside("packets", 400_000 if SOAK else 40_000, "flooded")


def test_statistics_without_end(scene: Scene) -> None:
    """A million entries are believed, for a large switch may have as many; their memory comes back."""
    assert "cut off" in scene.fake("endless")
    wait_for(lambda: scene.memory() - scene.before < MEMORY, "the memory", seconds=60)


def test_a_switch_that_refuses_every_bundle(scene: Scene) -> None:
    scene.fake("refusing")
    wait_for(lambda: "bundle refused, nothing changed" in scene.log(), "the log")


def test_another_under_the_same_datapath_id(scene: Scene) -> None:
    """The one that is alive stays; otherwise anybody could take a switch's place."""
    changes = scene.controller.switch()["changes_total"]
    assert "cut off" in scene.fake("impostor", scene.state["dpid"])
    assert "another connection with the same datapath id is alive" in scene.log()
    assert scene.controller.switch()["changes_total"] == changes


def test_port_changes_and_echo_requests_without_end(scene: Scene) -> None:
    scene.beside("chatter", 20_000, "chattered")


def test_thousands_of_switches_leave_nothing_behind(scene: Scene) -> None:
    scene.fake("many", 2000 if SOAK else 40)
    # 32 that are gone are remembered, beside those that are connected: the real one, once the last has been missed.
    wait_for(lambda: len(scene.controller.get("/v1/flows")[1]["switches"]) <= 33, "the others to be forgotten")
