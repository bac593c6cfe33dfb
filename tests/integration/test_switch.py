"""The Ryu application against a real Open vSwitch, in namespaces of its own. Needs root."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from processes import wait_for
from switch_sandbox import EXAMPLE, RYU_MANAGER, Controller, Sandbox, Switch

from policies.load import load
from ryu_apps.flows.pipeline import compile_pipeline
from ryu_apps.openflow.ofctl import entry_text

ENTRIES = len(compile_pipeline(load(EXAMPLE)))
FOREIGN = "cookie=0x7, table=40, priority=5,ip,nw_dst=198.51.100.0/24 actions=NORMAL"


def edit(controller: Controller, old: str, new: str) -> None:
    """As careful tools do it: a new file, renamed over the old one. Nothing is written in the watched directory."""
    text = controller.policy.read_text()
    assert old in text
    written = controller.policy.parent / "elsewhere" / "policy.json"
    written.parent.mkdir(exist_ok=True)
    written.write_text(text.replace(old, new, 1))
    written.rename(controller.policy)


def test_the_example_is_programmed_in_one_bundle(switch: Switch, controller: Controller) -> None:
    controller.start()
    state = controller.wait_until_confirmed(1)
    change = state["last_change"]
    assert (change["added"], change["messages"], change["bundles"], change["confirmed"]) == (ENTRIES, ENTRIES, 1, True)
    assert (state["desired"], state["installed"], state["waiting"]) == (ENTRIES, ENTRIES, [])
    assert len(switch.dump()) == ENTRIES
    log = controller.log.read_text()
    assert f"ovsbr0: connected: {ENTRIES} flow entries committed in one bundle and read back in" in log
    assert "Traceback" not in log


def test_ovs_ofctl_makes_the_same_table_from_the_text(switch: Switch, controller: Controller) -> None:
    controller.start()
    controller.wait_until_confirmed(1)
    controller.kill()
    by_the_app = switch.dump()
    switch.ofctl("del-flows", "ovsbr0")
    text = "\n".join(entry_text(entry) for entry in compile_pipeline(load(EXAMPLE)))
    switch.ofctl("--bundle", "add-flows", "ovsbr0", "-", input=text)
    assert switch.dump() == by_the_app


def test_a_restart_changes_nothing(switch: Switch, controller: Controller) -> None:
    controller.start()
    controller.wait_until_confirmed(1)
    before = switch.dump()
    controller.kill()
    assert switch.dump() == before
    oldest = min(switch.durations())
    controller.start()
    state = wait_for(lambda: (now := controller.switch()) and now["connected"] and now, "the second controller")
    assert (state["changes_total"], state["last_change"], state["installed"]) == (0, None, ENTRIES)
    wait_for(lambda: f"{ENTRIES} flow entries in place, nothing sent" in controller.log.read_text(), "the log")
    assert min(switch.durations()) > oldest


def test_drift_is_repaired_on_reconnect_and_foreign_entries_are_left(switch: Switch, controller: Controller) -> None:
    controller.start()
    controller.wait_until_confirmed(1)
    before = switch.dump()
    controller.kill()
    miss = next(line for line in before if "table=10" in line and "priority=0" in line).split(",")[0]
    switch.ofctl("del-flows", "ovsbr0", "table=20,ip,nw_dst=100.104.70.10")
    switch.ofctl("--strict", "mod-flows", "ovsbr0", "table=10,priority=100,in_port=warp0,actions=NORMAL")
    switch.ofctl("add-flow", "ovsbr0", "cookie=0x7,table=0,priority=0,actions=NORMAL")  # replaces one of ours
    switch.ofctl("add-flow", "ovsbr0", f"{miss},table=20,priority=7,in_port=warp0,actions=NORMAL")  # has our mark
    switch.ofctl("add-flow", "ovsbr0", FOREIGN.replace(" ", ",").replace(",,", ","))
    controller.start()
    change = controller.wait_until_confirmed(1)["last_change"]
    assert (change["added"], change["replaced"], change["deleted"], change["messages"]) == (1, 2, 1, 4)
    assert switch.dump() == sorted([*before, FOREIGN])
    edit(controller, '"priority": 100', '"priority": 200')
    controller.wait_until_confirmed(2)
    assert FOREIGN in switch.dump()


def test_a_port_that_goes_takes_its_entries_along_and_brings_them_back(switch: Switch, controller: Controller) -> None:
    controller.start()
    controller.wait_until_confirmed(1)
    before = switch.ofctl("--no-stats", "--names", "dump-flows", "ovsbr0")
    switch.vsctl("del-port", "internal_201")
    state = controller.wait_until_confirmed(2)
    assert state["waiting"] == [{"port": "internal_201", "entries": 3, "dropping": 2}]
    # The two of its function stay and drop: their packets must not fall to the entries below.
    assert state["installed"] == len(switch.dump()) == ENTRIES - 3
    log = controller.log.read_text()
    assert "port internal_201 is not there yet: 3 flow entries wait, 2 drop meanwhile" in log
    switch.add_ports("between")  # takes the number that was free
    switch.add_ports("internal_201")
    state = controller.wait_until_confirmed(3)
    assert (state["waiting"], state["installed"]) == ([], ENTRIES)
    assert "internal_201" in state["last_change"]["trigger"]
    after = switch.ofctl("--no-stats", "--names", "dump-flows", "ovsbr0")
    assert sorted(after.splitlines()) == sorted(before.splitlines())


def test_an_edit_changes_only_what_it_says(switch: Switch, controller: Controller) -> None:
    controller.start()
    controller.wait_until_confirmed(1)
    revision = controller.get("/v1/flows")[1]["policy"]["revision"]
    edit(controller, "nw_dst=100.104.70.10", "nw_dst=100.104.70.20")
    state = controller.wait_until_confirmed(2)
    change = state["last_change"]
    # The route, its ARP, and the two admissions of the container's address; nothing else.
    assert (change["added"], change["deleted"], change["replaced"]) == (4, 4, 0)
    assert change["trigger"] == "policy file written"
    assert controller.get("/v1/flows")[1]["policy"]["revision"] != revision
    edit(controller, "WireGuard gateway", "Gateway")
    assert controller.wait_until_confirmed(3)["last_change"]["replaced"] == 1  # another item: another cookie


def test_an_invalid_edit_keeps_the_last_good_state(switch: Switch, controller: Controller) -> None:
    controller.start()
    controller.wait_until_confirmed(1)
    before = switch.dump()
    good = controller.policy.read_text()
    controller.policy.write_text(good.replace("output:warp0", "output:warp9").replace('"ovsbr0"', "7"))
    problems = wait_for(lambda: controller.get("/v1/flows")[1]["policy"]["problems"], "the problems")
    assert len(problems) >= 2 and all("policy.json:" in problem for problem in problems)
    assert "the last good version stays in force" in controller.log.read_text()
    assert switch.dump() == before
    controller.policy.write_text(good)
    wait_for(lambda: not controller.get("/v1/flows")[1]["policy"]["problems"], "the problems to go")
    assert controller.switch()["changes_total"] == 1


def test_a_refused_bundle_changes_nothing_and_is_tried_again(switch: Switch, controller: Controller) -> None:
    limit = ("--", "--id=@t", "create", "flow_table", "flow_limit=5", "overflow_policy=refuse")
    switch.vsctl(*limit, "--", "set", "bridge", "ovsbr0", "flow_tables:10=@t")
    controller.start()
    state = wait_for(lambda: (now := controller.switch()) and now["last_change"] and now, "the refusal")
    change = state["last_change"]
    assert (change["confirmed"], change["bundles"], state["changes_total"]) == (False, 0, 0)
    assert "OFPFMFC_TABLE_FULL" in change["reason"] and "table=10" in change["reason"]
    assert switch.dump() == []
    assert change["reason"] in controller.log.read_text()
    switch.vsctl("clear", "bridge", "ovsbr0", "flow_tables")
    controller.signal(signal.SIGHUP)
    assert controller.wait_until_confirmed(1)["installed"] == ENTRIES


def test_other_bridges_are_left_alone(switch: Switch, controller: Controller) -> None:
    switch.add_bridge("other0")
    controller.start()
    controller.wait_until_confirmed(1)
    wait_for(lambda: "other0: not the policy's bridge (ovsbr0), left alone" in controller.log.read_text(), "the log")
    assert switch.dump("other0") == []
    others = [one for one in controller.get("/v1/flows")[1]["switches"] if not one["ours"]]
    assert [(one["name"], one["connected"], one["desired"], one["entries"]) for one in others] == [
        ("other0", True, 0, [])
    ]


SILENT = """
import socket, struct
s = socket.create_connection(("127.0.0.1", 6653))
s.sendall(struct.pack("!BBHI", 4, 0, 8, 1))
while data := s.recv(8, socket.MSG_WAITALL):
    _, kind, length, xid = struct.unpack("!BBHI", data)
    body = s.recv(length - 8, socket.MSG_WAITALL)
    if kind == 5:
        s.sendall(struct.pack("!BBHIQIBB2xII", 4, 6, 32, xid, 7, 0, 254, 0, 0, 0))
    elif kind == 18 and xid:
        s.sendall(struct.pack("!BBHIHH4x", 4, 19, 16, xid, 13, 0))
        break
print("silent", flush=True)
s.recv(1 << 20)
while s.recv(1 << 20): pass
"""


def test_a_switch_that_never_answers_holds_up_no_other(
    sandbox: Sandbox, switch: Switch, controller: Controller
) -> None:
    switch.vsctl("del-controller", "ovsbr0")
    controller.start()
    wait_for(lambda: "6653" in sandbox.run("ss", "-Hltn"), "ryu-manager")
    log = sandbox.directory / "silent.log"
    sandbox.start(sys.executable, "-I", "-c", SILENT, log=log)
    wait_for(lambda: log.exists() and "silent" in log.read_text(), "the silent switch")
    switch.vsctl("set-controller", "ovsbr0", "tcp:127.0.0.1:6653")
    wait_for(lambda: len(switch.dump()) == ENTRIES, "the other switch")
    given_up = "no answer within 10 s; connection closed"
    assert given_up not in controller.log.read_text(), "the other one did not wait for it"
    wait_for(lambda: given_up in controller.log.read_text(), "the log")


def test_an_invalid_policy_ends_ryu_manager(sandbox: Sandbox, controller: Controller) -> None:
    controller.policy.write_text(EXAMPLE.read_text().replace("output:warp0", "output:warp9").replace("51820", "0"))
    controller.start()
    assert controller.wait() == 2
    log = controller.log.read_text()
    assert "warp9" in log and "listen_port" in log and "Traceback" not in log


@pytest.mark.parametrize("how", ["missing file", "no file named", "config file"])
def test_where_the_policy_is_found(sandbox: Sandbox, controller: Controller, how: str) -> None:
    arguments: list[str | Path] = [RYU_MANAGER, "ryu_apps.privacy_router"]
    environment: dict[str, str] = {}
    if how == "missing file":
        environment["PRIVACY_ROUTER_POLICY"] = str(sandbox.directory / "nothing.json")
    if how == "config file":
        conf = sandbox.directory / "ryu.conf"
        conf.write_text(f"[privacy_router]\npolicy_file = {sandbox.directory}/broken.json\n")
        (sandbox.directory / "broken.json").write_text("{}")
        arguments[1:1] = ["--config-file", conf]
    process = sandbox.start(*arguments, log=controller.log, environment=environment)
    assert process.wait(timeout=20) == 2
    log = controller.log.read_text()
    assert {"missing file": "nothing.json", "no file named": "PRIVACY_ROUTER_POLICY", "config file": "broken.json"}[
        how
    ] in log
    assert "Traceback" not in log


def test_only_loopback_is_listened_on(sandbox: Sandbox, switch: Switch, controller: Controller) -> None:
    controller.start()
    controller.wait_until_confirmed(1)
    listening = {line.split()[3] for line in sandbox.run("ss", "-Hltn").splitlines()}
    assert listening and all(address.startswith("127.0.0.1:") for address in listening)


def test_every_field_a_document_may_use_is_read_back_as_sent(switch: Switch, controller: Controller) -> None:
    """If a switch told a field back in another form, the app would see drift for ever.

    Those that a privacy flow can be met by; every field there is: test_match_fields.py.
    """
    forms = [
        f"in_port=internal_100,{form}"
        for form in (
            "ip,nw_src=10.100.0.0/25,nw_dst=192.0.2.1,nw_tos=184",
            "ip,nw_proto=47", "tcp,tp_src=1,tp_dst=443", "udp,tp_src=53,tp_dst=54", "icmp,icmp_type=8,icmp_code=0",
            "arp,arp_op=1,arp_spa=10.99.0.100,arp_tpa=10.99.0.0/25", "dl_vlan=5",
            "dl_src=02:00:00:00:00:01,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
        )
    ]  # fmt: skip
    document = json.loads(EXAMPLE.read_text())
    flows = document["privacy_router"]["openflow"]["privacy_flows"]
    flows += [{"priority": 500 + n, "match_fields": form, "actions": ["output:warp0"]} for n, form in enumerate(forms)]
    controller.policy.write_text(json.dumps(document))
    controller.start()
    state = controller.wait_until_confirmed(1)
    assert state["last_change"]["confirmed"] and state["installed"] == ENTRIES + len(forms)
    by_the_app = switch.dump()
    text = "\n".join(entry_text(entry) for entry in compile_pipeline(load(controller.policy)))
    controller.kill()
    switch.ofctl("del-flows", "ovsbr0")
    switch.ofctl("--bundle", "add-flows", "ovsbr0", "-", input=text)
    assert switch.dump() == by_the_app
