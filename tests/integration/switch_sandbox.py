"""A private Open vSwitch: own network, mount and process namespaces, own daemons, gone without a trace when closed.

Nothing of it is visible outside: commands enter its namespaces with nsenter(1).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
RYU_MANAGER = Path(sys.executable).with_name("ryu-manager")
REST_PORT = 8080
EXAMPLE = ROOT / "policies/documents/privacy-router.json"
PORTS = ("internal_100", "warp0", "internal_101", "internal_200", "internal_201", "nm-privacy")  # the example's

_INIT = (
    "mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && ip link set lo up && echo ready && exec sleep infinity"
)
_GET = """
import json, sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=10)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, json.load(answer)]))
"""


class Sandbox:
    """Namespaces in which processes run; killing the first process ends all of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "OVS_RUNDIR": str(directory),
            "OVS_LOGDIR": str(directory),
            "OVS_DBDIR": str(directory),
            "PRIVACY_ROUTER_STATE_DIR": str(directory / "state"),
        }
        flags = ["--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--net"]
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *flags, "sh", "-c", _INIT]
        self._first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._first.stdout is not None
        assert self._first.stdout.readline() == "ready\n"
        self.enter = ["nsenter", "-t", str(only_child(self._first.pid)), "-m", "-n", "-p", "--"]

    def run(self, *command: str | Path, input: str | None = None) -> str:
        """Its output. Raises AssertionError when the exit code is not 0."""
        done = subprocess.run(
            [*self.enter, *map(str, command)],
            env=self.environment,
            input=input,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise AssertionError(f"{command}: exit {done.returncode}: {done.stderr}")
        return done.stdout

    def start(
        self, *command: str | Path, log: Path | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (log or Path(os.devnull)).open("ab") as output:
            return subprocess.Popen(
                [*self.enter, *map(str, command)],
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def close(self) -> None:
        self._first.kill()
        self._first.wait()


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

    def wait(self) -> int:
        return self._process.wait(timeout=20)

    def get(self, path: str) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{REST_PORT}{path}"
        status, body = json.loads(self.sandbox.run(sys.executable, "-I", "-S", "-c", _GET, url))
        return status, body

    def switch(self) -> dict[str, Any]:
        """The state of the first switch by ``GET /v1/flows``; an empty one while nothing answers."""
        try:
            switches = self.get("/v1/flows")[1]["switches"]
        except AssertionError:
            return {}
        return next((switch for switch in switches if switch["ours"]), {})

    def wait_until_confirmed(self, changes: int) -> dict[str, Any]:
        """Waits for the total number of changes to reach ``changes`` with nothing left to do."""

        def confirmed() -> dict[str, Any]:
            switch = self.switch()
            done = switch and switch["changes_total"] >= changes and not any(switch["drift"].values())
            return switch if done else {}

        return wait_for(confirmed, f"{changes} confirmed changes; see {self.log}")


def only_child(pid: int) -> int:
    def child() -> int:
        return int((Path(f"/proc/{pid}/task/{pid}/children").read_text().split() or ["0"])[0])

    return wait_for(child, f"child of process {pid}")


def wait_for(condition: Callable[[], T], what: str, seconds: float = 20) -> T:
    """The condition's value as soon as it is true."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)
