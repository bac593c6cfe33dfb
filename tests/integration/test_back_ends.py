"""Back ends of one function come and go: whose calls move, by real packets. Needs root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import wait_for
from switch_sandbox import EXAMPLE, NAMESPACES, Controller, Sandbox, Switch
from wires import Wires

DATAPATH = "000000000000000a"
SEARCH = "100.104.70.20"
BACK_ENDS = {number: f"100.104.70.{number - 180}" for number in (202, 203, 204)}
PLUGGED = NAMESPACES | {f"internal_{n}": (f"ct{n}", f"{address}/24") for n, address in BACK_ENDS.items()}
CALLERS = [f"100.104.70.{number}" for number in range(64, 76)]


def document() -> str:
    """The example, and a function that three containers share."""
    given = json.loads(EXAMPLE.read_text())
    router = given["privacy_router"]
    for number, address in BACK_ENDS.items():
        port = f"internal_{number}"
        router["socket_networking"]["mesh_sockets"].append({"name": port, "container_id": number, "port_type": "mesh"})
        router["openflow"]["function_routing"].append(
            {"function": "search", "target_socket": port, "match_fields": f"udp,nw_dst={SEARCH},tp_dst=7777"}
        )
        router.setdefault("containers", []).append(
            {
                "id": number,
                "name": f"search-{number}",
                "container_type": "search",
                "socket_port": port,
                "network_type": "mesh",
                "address": address,
            }
        )
    return json.dumps(given)


def place(topology: Path, *back_ends: int) -> None:
    """Which back ends there are, as an orchestrator would say it."""
    node = {"name": "a", "datapath_id": DATAPATH, "mesh_address": "100.104.70.1"}
    written = topology.with_suffix(".new")
    written.write_text(json.dumps({"topology": {"nodes": [{**node, "containers": [100, 101, 200, 201, *back_ends]}]}}))
    written.rename(topology)


@pytest.mark.alone
def test_callers_of_a_back_end_that_stays_are_not_moved(sandbox: Sandbox) -> None:
    switch = Switch(sandbox)
    switch.vsctl("set", "bridge", "ovsbr0", f"other-config:datapath-id={DATAPATH}")
    switch.plug_all(PLUGGED)
    policy, topology = sandbox.directory / "policy.json", sandbox.directory / "topology.json"
    policy.write_text(document())
    place(topology, *BACK_ENDS)
    configuration = sandbox.directory / "ryu.conf"
    configuration.write_text(f"[privacy_router]\ntopology_file = {topology}\n")
    controller = Controller(sandbox, policy)
    controller.start("--config-file", str(configuration))
    controller.wait_until_confirmed(1)

    def served() -> dict[str, str]:
        """Which port each caller of the other nodes has its calls at."""
        with Wires(sandbox, PLUGGED) as wires:
            heard = {caller: wires.heard("nm-privacy", caller, SEARCH) for caller in CALLERS}
        assert all(len(ports) == 1 for ports in heard.values()), heard
        return {caller: port for caller, (port,) in heard.items()}

    before = served()
    assert set(before.values()) == {f"internal_{number}" for number in BACK_ENDS}
    place(topology, 202, 204)
    wait_for(
        lambda: "internal_203" not in switch.ofctl("--names", "dump-flows", "ovsbr0", f"udp,nw_dst={SEARCH}"), "it goes"
    )
    controller.wait_until_confirmed(2)
    meanwhile = served()
    moved = {caller for caller in CALLERS if before[caller] != meanwhile[caller]}
    assert moved == {caller for caller in CALLERS if before[caller] == "internal_203"}
    assert {meanwhile[caller] for caller in moved} == {"internal_202", "internal_204"}
    place(topology, *BACK_ENDS)
    controller.wait_until_confirmed(3)
    assert served() == before
