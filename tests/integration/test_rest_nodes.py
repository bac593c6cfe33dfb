"""The REST interface with a topology: two nodes, a real switch on each, one controller for both. Needs root."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from processes import wait_for
from rest_client import Answer, RestClient, token
from switch_sandbox import EXAMPLE, RYU_MANAGER, Controller, Sandbox, Switch

BETWEEN = {"a": "198.51.100.1", "b": "198.51.100.2"}
DATAPATH = {"a": 0xA, "b": 0xB}
PORTS = {
    "a": ("internal_100", "warp0", "internal_101", "internal_200", "nm-privacy"),
    "b": ("internal_201", "nm-privacy"),
}
HERE = {"a": [100, 101, 200], "b": [201]}


class Room(Sandbox):
    """A node's own network namespace and directory inside a sandbox, with which it ends."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        self.directory = sandbox.directory / name
        self.directory.mkdir()
        places = dict.fromkeys(("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"), str(self.directory))
        self.environment = {**sandbox.environment, **places}
        sandbox.run("ip", "netns", "add", name)
        sandbox.run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "uplink", "netns", name)
        sandbox.run("ip", "link", "set", f"to-{name}", "up", "master", "between")
        self.enter = [*sandbox.enter, "ip", "netns", "exec", name]
        self.run("ip", "address", "add", f"{BETWEEN[name]}/24", "dev", "uplink")
        self.run("ip", "link", "set", "uplink", "up")


class Nodes(NamedTuple):
    switches: dict[str, Switch]
    controller: Controller
    client: RestClient
    bearer: dict[str, str]
    topology: Path

    def put(self, path: str, document: Any) -> Answer:
        headers = {"Content-Type": "application/json", **self.bearer}
        return self.client.ask("PUT", path, json.dumps(document), headers=headers)

    def states(self) -> dict[str, Any]:
        """By node."""
        found = {each["dpid"]: each for each in self.client.get("/v1/flows").json["switches"]}
        return {name: found.get(dpid, {}) for name, dpid in DATAPATH.items()}

    def changes(self) -> dict[str, int]:
        return {name: state["changes_total"] for name, state in self.states().items()}

    def entry(self, node: str, start: str) -> str:
        """The actions of the entry whose text begins so behind the priority."""
        lines = self.switches[node].ofctl("--no-stats", "--names", "dump-flows", "ovsbr0").splitlines()
        (found,) = [line.strip() for line in lines if f"table=20, priority=90,{start} " in line.replace('"', "")]
        return found.split("actions=")[1].replace('"', "")

    def settled(self) -> bool:
        states = self.states().values()
        return all(state and state["connected"] and not any(state["drift"].values()) for state in states)


def topology(where: dict[str, list[int]]) -> str:
    nodes = [
        {
            "name": name,
            "datapath_id": f"{DATAPATH[name]:016x}",
            "mesh_address": f"100.104.70.{number}",
            "containers": here,
        }
        for number, (name, here) in enumerate(where.items(), 1)
    ]
    return json.dumps({"topology": {"nodes": nodes}})


@pytest.fixture(scope="module")
def nodes(shared: Sandbox) -> Nodes:
    shared.run("ip", "link", "add", "between", "type", "bridge")
    shared.run("ip", "link", "set", "between", "up")
    switches = {}
    for name, ports in PORTS.items():
        switches[name] = Switch(Room(shared, name))
        switches[name].add_ports(*ports)
        switches[name].vsctl("set", "bridge", "ovsbr0", f"other-config:datapath-id={DATAPATH[name]:016x}")
        switches[name].vsctl("set-controller", "ovsbr0", "tcp:198.51.100.9:6653")
        switches[name].vsctl("set", "controller", "ovsbr0", "max_backoff=1000", "connection_mode=out-of-band")
    shared.run("ip", "address", "add", "198.51.100.9/24", "dev", "between")
    policy, where = shared.directory / "policy.json", shared.directory / "topology.json"
    shutil.copy(EXAMPLE, policy)
    where.write_text(topology(HERE))
    controller = Controller(shared, policy)
    configuration = shared.directory / "ryu.conf"
    configuration.write_text(f"[privacy_router]\ntopology_file = {where}\n")
    controller.start("--config-file", str(configuration), "--ofp-listen-host", "198.51.100.9")
    wait_for(lambda: ":8080" in shared.run("ss", "-Hltn"), f"{RYU_MANAGER}: {controller.log}")
    client = RestClient(shared)
    made = Nodes(switches, controller, client, {"Authorization": f"Bearer {token(shared)}"}, where)
    wait_for(made.settled, f"both switches; see {controller.log}")
    return made


@pytest.fixture(autouse=True)
def at_first(nodes: Nodes) -> Iterator[None]:
    """With the example and the first topology in force, before and after."""
    yield
    if nodes.topology.read_text() != topology(HERE):
        move(nodes, HERE)
    if nodes.controller.policy.read_text() != EXAMPLE.read_text():
        assert nodes.put("/v1/policy", json.loads(EXAMPLE.read_text())).status == 200
    wait_for(nodes.settled, "the first state")
    assert "Traceback" not in nodes.controller.log.read_text()


def move(nodes: Nodes, where: dict[str, list[int]]) -> None:
    new = nodes.topology.with_suffix(".new")
    new.write_text(topology(where))
    new.replace(nodes.topology)


def test_each_switch_has_its_own_part(nodes: Nodes) -> None:
    states = nodes.states()
    assert all(state["ours"] and state["waiting"] == [] for state in states.values())
    assert states["a"]["desired"] == len(nodes.switches["a"].dump()) > states["b"]["desired"]
    assert states["b"]["desired"] == len(nodes.switches["b"].dump())
    assert nodes.entry("a", "ip,nw_dst=100.104.70.10") == "output:internal_200"
    assert nodes.entry("b", "ip,nw_dst=100.104.70.10") == "output:nm-privacy"
    assert not any("table=10, priority=100" in line for line in nodes.switches["b"].dump())


def test_the_chain_is_that_of_the_node_that_has_it(nodes: Nodes) -> None:
    chain = nodes.client.get("/v1/chain").json
    assert (chain["dpid"], chain["connected"]) == (DATAPATH["a"], True)
    assert [hop["state"] for hop in chain["hops"]] == ["in sync"] * 3


def test_functions_of_both_nodes(nodes: Nodes) -> None:
    functions = nodes.client.get("/v1/functions").json["functions"]
    assert {each["function"]: each["state"] for each in functions} == {
        "vector_db": "installed",
        "bucket_storage": "installed",
    }


def test_a_function_is_moved_to_the_other_node_s_container(nodes: Nodes) -> None:
    before = nodes.changes()
    route = {"target_socket": "internal_201", "match_fields": {"ip": "nw_dst=100.104.70.10"}, "priority": 90}
    answer = nodes.put("/v1/functions/vector_db", {"routes": [route]})
    assert answer.status == 200, answer
    assert {each["dpid"]: each["outcome"] for each in answer.json["switches"]} == dict.fromkeys(
        DATAPATH.values(), "confirmed"
    )
    assert nodes.entry("a", "ip,nw_dst=100.104.70.10") == "output:nm-privacy"  # at once: no waiting here
    assert nodes.entry("b", "ip,nw_dst=100.104.70.10") == "output:internal_201"
    assert nodes.changes() == {name: count + 1 for name, count in before.items()}


def test_a_container_is_moved_by_the_topology(nodes: Nodes) -> None:
    move(nodes, {"a": [100, 101], "b": [200, 201]})
    wait_for(lambda: nodes.entry("a", "ip,nw_dst=100.104.70.10") == "output:nm-privacy", "the caller's switch")
    wait_for(nodes.settled, "both switches")
    # Its socket is not there yet, so the entry drops: nothing below it takes its packets.
    assert nodes.entry("b", "ip,nw_dst=100.104.70.10") == "drop"
    (waiting,) = nodes.states()["b"]["waiting"]
    assert waiting["port"] == "internal_200"
    functions = nodes.client.get("/v1/functions").json["functions"]
    assert {each["function"]: each["state"] for each in functions}["vector_db"] == "waiting"


def test_a_container_that_no_node_has(nodes: Nodes) -> None:
    move(nodes, {"a": [100, 101, 200], "b": []})
    wait_for(lambda: nodes.entry("a", "ip,nw_dst=100.104.70.11") == "drop", "the switch")
    functions = nodes.client.get("/v1/functions").json["functions"]
    assert {each["function"]: each["state"] for each in functions}["bucket_storage"] == "absent"


def test_a_packet_is_traced_on_each_switch(nodes: Nodes) -> None:
    packet = {"packet": "in_port=nm-privacy,ip,nw_src=100.104.70.11,nw_dst=100.104.70.10"}
    answer = nodes.client.ask("POST", "/v1/trace", json.dumps(packet), headers={"Content-Type": "application/json"})
    ways = {each["dpid"]: each["trace"]["outputs"] for each in answer.json["installed"]}
    assert [sent["port"] for sent in ways[DATAPATH["a"]]] == ["internal_200"]
    assert ways[DATAPATH["b"]] == []  # what came from the mesh does not go back there


def test_drift_is_each_switch_s_own(nodes: Nodes) -> None:
    before, table = nodes.changes(), nodes.switches["b"].dump()
    nodes.switches["b"].ofctl("del-flows", "ovsbr0", "table=20,ip,nw_dst=100.104.70.10")
    wait_for(lambda: nodes.switches["b"].dump() == table, "the repair")
    wait_for(lambda: nodes.changes() == {**before, "b": before["b"] + 1}, "the account of the repair")
    assert nodes.states()["b"]["last_change"]["added"] == 1


def test_what_cannot_be_delivered_on_the_other_node_is_refused(nodes: Nodes) -> None:
    tables = {name: switch.dump() for name, switch in nodes.switches.items()}
    match = {"in_port": "internal_200", "ip": "nw_dst=100.104.70.11"}
    answer = nodes.put(
        "/v1/functions/bucket_storage", {"routes": [{"target_socket": "internal_201", "match_fields": match}]}
    )
    assert answer.status == 422, answer
    (problem,) = [each for each in answer.json["problems"] if "does not arrive" in each["message"]]
    assert "on node a: packet ip,in_port=internal_200" in problem["message"] and problem["line"] > 0
    assert {name: switch.dump() for name, switch in nodes.switches.items()} == tables
