"""A private Open vSwitch in a sandbox, with daemons of its own and a controller, gone without a trace when closed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

import sandbox
from processes import only_child, wait_for
from rest_client import RestClient

ROOT = Path(__file__).resolve().parents[2]
RYU_MANAGER = Path(sys.executable).with_name("ryu-manager")
EXAMPLE = ROOT / "policies/documents/privacy-router.json"
NAMESPACES = {  # of the example's ports: where each is plugged in, and its address there
    "internal_100": ("ct100", "10.99.0.100/24"),
    "warp0": ("warp", "10.99.0.1/24"),
    "internal_101": ("ct101", "10.99.0.101/24"),
    "internal_200": ("ct200", "100.104.70.10/24"),
    "internal_201": ("ct201", "100.104.70.11/24"),
    "nm-privacy": ("mesh", "100.104.70.1/24"),
}
PORTS = tuple(NAMESPACES)


class Sandbox(sandbox.Sandbox):
    """Open vSwitch and the controller started in it keep their files in the directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.environment |= dict.fromkeys(("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"), str(directory))
        self.environment["PRIVACY_ROUTER_STATE_DIR"] = str(directory / "state")


class Switch:
    """ovsdb-server and ovs-vswitchd in a sandbox, with one bridge."""

    def __init__(self, sandbox: Sandbox, bridge: str = "ovsbr0") -> None:
        self.sandbox = sandbox
        self.bridge = bridge
        database = sandbox.directory / "conf.db"
        socket = sandbox.directory / "db.sock"
        sandbox.run("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
        sandbox.start("ovsdb-server", f"--remote=punix:{socket}", "--log-file", database)
        wait_for(socket.exists, "ovsdb-server")
        sandbox.run("ovs-vsctl", "--no-wait", "init")
        self._control = sandbox.directory / "vswitchd.ctl"
        self._socket = socket
        self._start()
        self.add_bridge(bridge)

    def _start(self) -> None:
        command = ("ovs-vswitchd", "--log-file", f"--unixctl={self._control}", f"unix:{self._socket}")
        self._process = self.sandbox.start(*command)

    def restart(self, end: signal.Signals) -> None:
        """Ends ovs-vswitchd and starts it again; its entries, and the ports in namespaces, are gone then."""
        os.kill(only_child(self._process.pid), end)
        self._process.wait()
        self._control.unlink(missing_ok=True)
        self._start()
        wait_for(self._control.exists, "ovs-vswitchd")

    def vsctl(self, *arguments: str) -> str:
        return self.sandbox.run("ovs-vsctl", "--timeout=10", *arguments)

    def ofctl(self, *arguments: str, input: str | None = None) -> str:
        return self.sandbox.run("ovs-ofctl", "-O", "OpenFlow13", *arguments, input=input)

    def add_bridge(self, name: str) -> None:
        self.vsctl(
            "add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", "fail_mode=secure",
            "protocols=OpenFlow13", "--", "set-controller", name, "tcp:127.0.0.1:6653",
            "--", "set", "controller", name, "max_backoff=1000", "connection_mode=out-of-band",
        )  # fmt: skip

    def add_ports(self, *names: str) -> None:
        """Internal ports, in one transaction."""
        commands: list[str] = []
        for name in names:
            commands += ["--", "add-port", self.bridge, name, "--", "set", "interface", name, "type=internal"]
        self.vsctl(*commands)

    def plug_all(self, plugged: Mapping[str, tuple[str, str]] = NAMESPACES) -> None:
        """The example's ports, or others, each into its namespace."""
        self.add_ports(*plugged)
        for port, (namespace, address) in plugged.items():
            self.plug(port, namespace, address)

    def plug(self, port: str, namespace: str, address: str) -> None:
        """Moves an internal port into a new network namespace, without IPv6, and addresses it."""
        run = self.sandbox.run
        run("ip", "netns", "add", namespace)
        # A kernel that announces itself by IPv6 now and then would be counted among the dropped packets.
        quiet = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        run("ip", "netns", "exec", namespace, "sysctl", "-qw", *quiet)
        run("ip", "link", "set", port, "netns", namespace)
        inside = ("ip", "-n", namespace)
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "address", "add", address, "dev", port)
        run(*inside, "link", "set", port, "up")

    def dump(self, bridge: str | None = None) -> list[str]:
        """The entries without their counters, as text, sorted."""
        arguments = ("--no-stats", "--no-names", "dump-flows", bridge or self.bridge)
        return sorted(line.strip() for line in self.ofctl(*arguments).splitlines() if "actions=" in line)

    def count_everything(self) -> None:
        """Makes the switch add what its datapath has counted to the flow entries, which it else does now and then."""
        self.sandbox.run("ovs-appctl", "-t", self._control, "revalidator/purge")

    def durations(self) -> list[float]:
        text = self.ofctl("dump-flows", self.bridge)
        return [float(line.split("duration=")[1].split("s")[0]) for line in text.splitlines() if "duration=" in line]


class Controller:
    """ryu-manager with the privacy router, as an operator would start it."""

    def __init__(self, sandbox: Sandbox, policy: Path) -> None:
        self.sandbox = sandbox
        self.policy = policy
        self.log = sandbox.directory / "ryu.log"

    def start(self, *options: str) -> None:
        environment = {"PRIVACY_ROUTER_POLICY": str(self.policy)}
        self._process = self.sandbox.start(
            RYU_MANAGER, *options, "ryu_apps.privacy_router", log=self.log, environment=environment
        )

    @property
    def pid(self) -> int:
        """As it is outside the sandbox."""
        return only_child(self._process.pid)

    def signal(self, number: signal.Signals) -> None:
        os.kill(only_child(self._process.pid), number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        return self._process.wait(timeout=60)

    def get(self, path: str) -> tuple[int, Any]:
        answer = RestClient(self.sandbox).get(path)
        return answer.status, answer.json

    def switch(self) -> dict[str, Any]:
        """The state of the first switch by ``GET /v1/flows``; an empty one while nothing answers."""
        try:
            switches = self.get("/v1/flows")[1]["switches"]
        except (OSError, HTTPException):
            return {}
        return next((switch for switch in switches if switch["ours"]), {})

    def wait_until_confirmed(self, changes: int) -> dict[str, Any]:
        """Waits for the total number of changes to reach ``changes`` with nothing left to do."""

        def confirmed() -> dict[str, Any]:
            switch = self.switch()
            done = switch and switch["changes_total"] >= changes and not any(switch["drift"].values())
            return switch if done else {}

        return wait_for(confirmed, f"{changes} confirmed changes; see {self.log}")
