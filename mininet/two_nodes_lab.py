"""Two nodes joined as Netmaker joins them: vector_db moves from one to the other while a client keeps asking it.

Beside it a function with a back end on each node is called by two clients. Runs as the first process of a sandbox
(sandbox.py) with the arguments DIRECTORY [MOVES]; prints one JSON object a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sandbox
from lab import private_key, public_key
from mininet.log import setLogLevel
from mininet.net import Mininet
from processes import LabError, Processes
from two_nodes import BIN, DATAPATH, DEVICE, MESH, SITE, Machine, TwoNodes

HERE = Path(__file__).resolve().parent
VECTOR_DB, BUCKET, SEARCH, PORT = "100.104.70.10", "100.104.70.11", "100.104.70.20", 6333
OWN = {202: "100.104.70.22", 203: "100.104.70.23", 204: "100.104.70.24"}  # two back ends of search, and a client
ADDRESSES = {200: VECTOR_DB, 201: BUCKET, **OWN}
SETTLED = {"a": [201, 202, 204], "b": [203]}  # the containers that do not move
INTERVAL = 0.002  # seconds between questions
REST = "http://127.0.0.1:8080"


def containers(node: str, home: str) -> list[int]:
    """Those of a node while vector_db is at ``home``."""
    return [*SETTLED[node], *([200] if node == home else [])]


def policy() -> dict[str, Any]:
    """A mesh without a privacy chain, so that all that goes on is between the nodes."""
    sockets = [{"name": f"internal_{n}", "container_id": n, "port_type": "mesh"} for n in sorted(ADDRESSES)]
    search = {"udp": f"nw_dst={SEARCH},tp_dst={PORT}"}
    routes = [
        {"function": "vector_db", "target_socket": "internal_200", "match_fields": {"nw_dst": VECTOR_DB}},
        {"function": "bucket_storage", "target_socket": "internal_201", "match_fields": {"nw_dst": BUCKET}},
        {"function": "search", "target_socket": "internal_202", "match_fields": search},
        {"function": "search", "target_socket": "internal_203", "match_fields": search},
    ]
    listed = [
        {
            "id": number,
            "name": f"container-{number}",
            "container_type": "search",
            "socket_port": f"internal_{number}",
            "network_type": "mesh",
            "address": address,
        }
        for number, address in OWN.items()
    ]
    return {
        "privacy_router": {
            "wireguard": {"enabled": False},
            "warp": {"enabled": False},
            "xray": {"enabled": False},
            "socket_networking": {"mesh_sockets": sockets},
            "openflow": {"controller": f"tcp:{SITE['a']}:6653", "function_routing": routes},
            "containers": listed,
        }
    }


def topology(home: str) -> str:
    nodes = [
        {
            "name": name,
            "datapath_id": DATAPATH[name],
            "mesh_address": MESH[name],
            "containers": containers(name, home),
        }
        for name in ("a", "b")
    ]
    return json.dumps({"topology": {"nodes": nodes}})


class TwoNodesLab:
    """Everything but the directory dies with the sandbox."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "logs").mkdir(parents=True)
        self.processes = Processes(directory / "logs")
        self.policy = directory / "policy.json"
        self.policy.write_text(json.dumps(policy()))
        self.topology = directory / "topology.json"  # the controller's copy; each node has its own
        self.nodes: dict[str, Machine] = {}
        self._keys = {name: private_key() for name in ("a", "b")}

    def build(self) -> None:
        sandbox.furnish(self.directory, {})
        setLogLevel("error")
        Mininet.inited = True  # skips Mininet's tuning of machine-wide sysctls
        self._network = Mininet(topo=TwoNodes(), controller=None)
        self._network.start()
        for name, other in (("a", "b"), ("b", "a")):
            node = self.nodes[name] = Machine(name, self._network.get(name), self.directory)
            node.start_switch()
            node.start_netmaker(self._keys[name])
            self._announce(other, "b", of=name)
            for number in containers(name, "b"):
                node.start_container(number)
            node.topology.write_text(topology("b"))
        self._serve("b", 200, VECTOR_DB)
        self._serve("a", 202, SEARCH)
        self._serve("b", 203, SEARCH)
        self._serve("b", 203, OWN[203])
        self.tell_controller("b")
        self._start_controller()
        for node in self.nodes.values():
            node.agent("apply", policy=self.policy)
        self.processes.wait("ryu-manager", self._in_sync)

    def _start_controller(self) -> None:
        environment = {
            **os.environ,
            "PRIVACY_ROUTER_POLICY": str(self.policy),
            "PRIVACY_ROUTER_TOPOLOGY": str(self.topology),
            "PRIVACY_ROUTER_STATE_DIR": str(self.directory / "state"),
        }
        command = [str(BIN / "ryu-manager"), "--ofp-listen-host", "0.0.0.0", "ryu_apps.privacy_router"]
        self.processes.start("ryu-manager", command, env=environment)

    def _serve(self, name: str, number: int, address: str) -> None:
        """A service in a container; it waits for its address."""
        node, service, script = self.nodes[name], f"service-{number}-{address}", HERE / "asking.py"
        words = (sys.executable, script, "serve", address, str(PORT), f"container {number} on {name}")
        node.start(service, *words, namespace=f"ct{number}")
        node.processes.wait(service, lambda: "ready" in node.processes.log(service).read_text())

    def tell_controller(self, home: str) -> None:
        new = self.topology.with_suffix(".new")
        new.write_text(topology(home))
        new.replace(self.topology)

    def move(self, source: str, target: str) -> None:
        """vector_db from one node to another, as an orchestrator would move it: up there, switched over, down here."""
        old, new = self.nodes[source], self.nodes[target]
        new.start_container(200)
        self._serve(target, 200, VECTOR_DB)
        new.topology.write_text(topology(target))
        new.agent("apply", policy=self.policy)
        self._announce(target, target, of=source)
        self.tell_controller(target)
        self.processes.wait("ryu-manager", lambda: self._sends_to(target, "internal_200") and self._in_sync())
        self._announce(source, target, of=target)
        old.topology.write_text(topology(target))
        old.agent("apply", policy=self.policy)
        old.processes.kill(f"service-200-{VECTOR_DB}")
        old.stop_container(200)

    def _announce(self, other: str, home: str, of: str) -> None:
        """Netmaker's part: the tunnel of one node carries each container's address to the node that has it.

        When a container moves, its old node has to know the way before the switches turn to it, and the new one must
        not forget the old way before that.
        """
        behind = [ADDRESSES[number] for number in containers(other, home)]
        self.nodes[of].set_peer(other, public_key(self._keys[other]), behind)

    def _sends_to(self, name: str, port: str) -> bool:
        """Whether the switch of a node sends what is for vector_db to this port."""
        asked = ("ovs-ofctl", "-O", "OpenFlow13", "--names", "dump-flows", "ovsbr0", f"table=20,ip,nw_dst={VECTOR_DB}")
        return port in self.nodes[name].run(*asked)

    def _in_sync(self) -> bool:
        try:
            with urllib.request.urlopen(f"{REST}/v1/flows", timeout=5) as answer:
                switches = json.load(answer)["switches"]
        except OSError:
            return False
        done = [it for it in switches if it["connected"] and it["ours"] and not any(it["drift"].values())]
        return len(done) == len(self.nodes)

    @contextmanager
    def asking(self, address: str, container: int = 201) -> Iterator[Callable[[], dict[str, Any]]]:
        """A client on node a that keeps asking while the body runs. What it yields ends it, and returns its result."""
        words = [*self.nodes["a"].enter, "ip", "netns", "exec", f"ct{container}", sys.executable]
        words += [str(HERE / "asking.py"), "ask", address, str(PORT), str(INTERVAL)]
        client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def result() -> dict[str, Any]:
            output, _ = client.communicate(timeout=60)
            found: dict[str, Any] = json.loads(output)
            return found

        assert client.stdout is not None
        client.stdout.readline()  # until it asks
        yield result

    def of_ours(self, node: Machine) -> list[str]:
        """What the agent has made in the node's own namespace."""
        forwarding = (
            f"forwarding of {DEVICE}: {node.run('cat', f'/proc/sys/net/ipv4/conf/{DEVICE}/forwarding').strip()}"
        )
        found = [forwarding] if forwarding.endswith("1") else []
        for command, mark in (
            (("iptables-save",), "privacy-router"),
            (("ip", "rule"), "proto 80"),
            (("ip", "route", "show", "table", "all"), "proto 80"),
            (("ovs-vsctl", "list-br"), ""),
        ):
            found += [line for line in node.run(*command).splitlines() if mark in line]
        return found

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()
        self.processes.kill_all()


def tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def main(directory: Path, moves: int) -> None:
    lab = TwoNodesLab(directory)
    begin = time.monotonic()
    lab.build()
    tell(what="built", seconds=round(time.monotonic() - begin, 1))
    for what, address, container in (
        ("vector_db on the other node", VECTOR_DB, 201),
        ("search, asked by an odd address", SEARCH, 201),
        ("search, asked by an even address", SEARCH, 204),
    ):
        with lab.asking(address, container) as result:
            time.sleep(0.7)
        tell(what=what, **result())
    for number in range(moves):
        source, target = ("b", "a") if number % 2 == 0 else ("a", "b")
        with lab.asking(VECTOR_DB) as result:
            lab.move(source, target)
            time.sleep(0.3)
        tell(what=f"vector_db moved from {source} to {target}", **result())
    for name in ("a", "b"):
        output = lab.nodes[name].agent("apply", "--json", policy=lab.policy)
        tell(what=f"second apply on {name}", steps=json.loads(output)["steps"])
    for name, node in lab.nodes.items():
        before = lab.of_ours(node)
        node.agent("stop", policy=lab.policy)
        tell(what=f"stop on {name}", before=len(before), left=lab.of_ours(node))
    lab.close()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    except LabError as error:
        tell(what="broken off", error=str(error))
        raise SystemExit(1) from None
