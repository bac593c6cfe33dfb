"""The REST interface of a running controller, with a real switch. Needs root."""

from __future__ import annotations

import json
import shutil
import stat
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from processes import wait_for
from rest_client import Answer, RestClient, token
from switch_sandbox import EXAMPLE, PORTS, ROOT, RYU_MANAGER, Controller, Sandbox, Switch

from policies.load import load
from ryu_apps.flows.pipeline import compile_pipeline

ENTRIES = len(compile_pipeline(load(EXAMPLE)))
WEB = "in_port=internal_100,tcp,nw_src=10.100.0.2,nw_dst=198.51.100.80,tp_dst=80"


JSON = {"Content-Type": "application/json"}


class Running(NamedTuple):
    switch: Switch
    controller: Controller
    client: RestClient
    bearer: dict[str, str]

    def put(self, path: str, document: Any, **headers: str) -> Answer:
        body = document if isinstance(document, bytes | str) else json.dumps(document, indent=2)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.ask("PUT", path, body, headers={"Content-Type": "application/json", **self.bearer, **named})

    def document(self) -> Any:
        return self.client.get("/v1/policy").json


@pytest.fixture(scope="module")
def everything(shared: Sandbox) -> Running:
    switch = Switch(shared)
    switch.add_ports(*PORTS)
    policy = shared.directory / "policy.json"
    shutil.copy(EXAMPLE, policy)
    policy.chmod(0o600)
    controller = Controller(shared, policy)
    controller.start()
    controller.wait_until_confirmed(1)
    return Running(switch, controller, RestClient(shared), {"Authorization": f"Bearer {token(shared)}"})


@pytest.fixture
def running(everything: Running) -> Iterator[Running]:
    """With the example in force, before and after."""
    yield everything
    if everything.controller.policy.read_text() != EXAMPLE.read_text():
        assert everything.put("/v1/policy", EXAMPLE.read_text()).status == 200


def assert_problem(answer: Answer, status: int) -> Any:
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), answer
    assert answer.json["status"] == status and answer.json["title"] and answer.json["detail"]
    assert b"Traceback" not in answer.body and b".py" not in answer.body
    return answer.json


# --- policy


def test_the_policy_is_given_as_it_was_written(running: Running) -> None:
    answer = running.client.get("/v1/policy")
    assert answer.body.decode() == EXAMPLE.read_text()
    same = running.client.get("/v1/policy", headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status, same.body) == (304, b"")


def test_a_change_is_answered_when_the_switch_has_it(running: Running) -> None:
    document = running.document()
    document["privacy_router"]["openflow"]["function_routing"][0]["match_fields"] = {"ip": "nw_dst=100.104.70.20"}
    answer = running.put("/v1/policy", document)
    assert answer.status == 200, answer
    assert any("nw_dst=100.104.70.20" in line for line in running.switch.dump())  # at once: no waiting here
    (outcome,) = answer.json["switches"]
    assert (
        outcome["outcome"] == "confirmed"
        and outcome["messages"] == running.controller.switch()["last_change"]["messages"]
    )
    assert running.controller.switch()["last_change"]["trigger"] == "REST 127.0.0.1 PUT /v1/policy"
    assert json.loads(running.controller.policy.read_text()) == document
    assert stat.S_IMODE(running.controller.policy.stat().st_mode) == 0o600
    assert [path.name for path in running.controller.policy.parent.glob(".policy*")] == []
    assert running.put("/v1/policy", document).json["changed"] is False


def test_an_invalid_document_changes_nothing(running: Running) -> None:
    before = running.switch.dump()
    problem = assert_problem(
        running.put("/v1/policy", EXAMPLE.read_text().replace("output:warp0", "output:warp9")), 422
    )
    (first, *_) = problem["problems"]
    assert "warp9" in first["message"] and first["line"] > 0 and "privacy_flows" in first["path"]
    assert running.controller.policy.read_text() == EXAMPLE.read_text()
    assert running.switch.dump() == before


MEGABYTE = 1024 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"\0" * 100,
        b"[" * MEGABYTE,
        b'{"privacy_router": ' * 1000,
        b'{"privacy_router": {"containers": [' + b"0," * MEGABYTE + b"0]}}",
        b'{"' + b"k" * 8 * MEGABYTE + b'": 1}',
        b'{"privacy_router": {"wireguard": {"listen_port": ' + b"9" * MEGABYTE + b"}}}",
        b'{"privacy_router": {"wireguard": {"listen_port": NaN, "listen_port": 1e999}}}',
        b'{"privacy_router": {"bridge_name": "ovsbr0\\u0000; rm -rf /"}}',
        b'{"privacy_router": {"bridge_name": "\\ud800"}}',
        b'{"a": &a ["x"], "b": &b [*a, *a], "c": [*b, *b]}',
    ],
    ids=lambda body: f"{body[:24]!r}",
)
def test_hostile_documents_change_nothing(running: Running, body: bytes) -> None:
    started = time.monotonic()
    problem = assert_problem(running.put("/v1/policy", body), 400 if body[:1] == b"\xff" else 422)
    assert len(json.dumps(problem)) < MEGABYTE and time.monotonic() - started < 20
    assert running.controller.policy.read_text() == EXAMPLE.read_text()
    assert not any(running.controller.switch()["drift"].values())


def test_validate_and_dry_run_only_look(running: Running) -> None:
    document = running.document()
    document["privacy_router"]["openflow"]["privacy_flows"][0]["priority"] = 120
    before = running.switch.dump()
    checked = running.put("/v1/policy?validate=only", document)
    assert (checked.status, checked.json["valid"]) == (200, True)
    (switch,) = running.put("/v1/policy?dry_run=true", document).json["switches"]
    shown = {(each["do"], each["priority"], each["match"], each["actions"]) for each in switch["entries"]}
    assert ("delete", 100, "in_port=internal_100", "output:warp0") in shown
    assert ("add", 120, "in_port=internal_100", "output:warp0") in shown
    assert running.switch.dump() == before
    assert running.controller.policy.read_text() == EXAMPLE.read_text()
    applied = running.put("/v1/policy", document).json["switches"][0]
    assert applied["messages"] == switch["messages"] == len(switch["entries"])
    assert_problem(running.put("/v1/policy?dryrun=true", document), 400)  # a slip of the pen must not apply


def test_if_match_keeps_two_editors_apart(running: Running) -> None:
    tag = running.client.get("/v1/policy").headers["etag"]
    document = running.document()
    document["privacy_router"]["wireguard"]["listen_port"] = 51821
    first = running.put("/v1/policy", document, If_Match=tag)
    assert first.status == 200 and first.headers["etag"] == running.client.get("/v1/policy").headers["etag"]
    assert_problem(running.put("/v1/policy", EXAMPLE.read_text(), If_Match=tag), 412)
    assert_problem(running.put("/v1/functions/vector_db", {"routes": [{}]}, If_Match=tag), 412)
    assert running.put("/v1/policy", EXAMPLE.read_text(), If_Match=first.headers["etag"]).status == 200


def test_an_edit_by_hand_that_was_refused_is_not_overwritten_by_an_edit_of_a_function(running: Running) -> None:
    running.controller.policy.write_text("{")
    wait_for(lambda: running.client.get("/v1/status").json["policy"]["problems"], "the refusal")
    route = {"target_socket": "internal_201", "match_fields": "ip,nw_dst=100.104.70.11"}
    assert_problem(running.put("/v1/functions/bucket_storage", {"routes": [route]}), 409)
    assert running.controller.policy.read_text() == "{"
    assert running.put("/v1/policy", EXAMPLE.read_text()).status == 200
    assert running.client.get("/v1/status").json["policy"]["problems"] == []


def test_what_a_switch_refuses_is_put_back(running: Running) -> None:
    """The former policy is in force again: in the file, in the controller and on the switch."""
    limit = ("--", "--id=@t", "create", "flow_table", "flow_limit=1", "overflow_policy=refuse")
    before, document = running.switch.dump(), running.document()
    running.switch.vsctl(*limit, "--", "set", "bridge", "ovsbr0", "flow_tables:20=@t")
    try:
        document["privacy_router"]["openflow"]["function_routing"][0]["match_fields"] = {"ip": "nw_dst=100.104.70.21"}
        moved = {"target_socket": "internal_200", "match_fields": "ip,nw_dst=100.104.70.31"}
        for put in (("/v1/policy", document), ("/v1/functions/vector_db", {"routes": [moved]})):
            problem = assert_problem(running.put(*put), 502)
            (outcome,), (again,) = problem["switches"], problem["put_back"]
            assert (outcome["name"], outcome["outcome"]) == ("ovsbr0", "failed") and "TABLE_FULL" in outcome["reason"]
            refusal = outcome["refusal"]
            assert refusal["item"] == "function route vector_db" and "nw_dst=100.104.70" in refusal["entry"]
            assert refusal["line"] > 1 and "function_routing[0]" in refusal["document"]
            assert again["outcome"] == "unchanged" and "in force again" in problem["detail"]
            assert running.controller.policy.read_text() == EXAMPLE.read_text()
            assert running.document() == json.loads(EXAMPLE.read_text())
            assert running.switch.dump() == before
    finally:
        running.switch.vsctl("clear", "bridge", "ovsbr0", "flow_tables")
    assert not any(running.controller.switch()["drift"].values())


# --- functions


def test_a_function_is_moved_and_removed(running: Running) -> None:
    before = running.client.get("/v1/functions/vector_db").json
    assert (before["state"], before["routes"][0]["target_socket"]) == ("installed", "internal_200")
    assert EXAMPLE.read_text().splitlines()[before["lines"][0] - 1].strip() == "{"
    put = running.put("/v1/functions/vector_db", {"routes": before["routes"]})  # what was read can be written
    assert put.status == 200 and put.json["switches"][0]["outcome"] == "unchanged"
    moved = {"target_socket": "internal_200", "match_fields": "ip,nw_dst=100.104.70.30", "priority": 95}
    assert running.put("/v1/functions/vector_db", {"routes": [moved]}).status == 200
    assert any("nw_dst=100.104.70.30 actions" in line for line in running.switch.dump())
    first = running.client.get("/v1/functions?limit=1").json
    assert (first["total"], len(first["functions"])) == (2, 1) and "state" in first["functions"][0]
    assert running.client.get("/v1/functions?limit=0").json["functions"] == []
    names = [each["function"] for each in running.client.get("/v1/functions").json["functions"]]
    assert names == ["vector_db", "bucket_storage"]
    deleted = running.client.ask("DELETE", "/v1/functions/bucket_storage", headers=running.bearer)
    assert deleted.status == 200, deleted
    assert_problem(running.client.get("/v1/functions/bucket_storage"), 404)
    assert_problem(running.client.ask("DELETE", "/v1/functions/bucket_storage", headers=running.bearer), 404)
    assert not any("nw_dst=100.104.70.11" in line for line in running.switch.dump())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("[", 400),
        ("[]", 422),
        ('{"routes": []}', 422),
        ('{"routes": [1]}', 422),
        ('{"routes": [{"function": "x"}]}', 422),
        ('{"routes": [{"target_socket": "internal_9", "match_fields": {"ip": "nw_dst=100.104.70.9"}}]}', 422),
        ('{"routes": [{"target_socket": "internal_200", "match_fields": {"no_such": "1"}}]}', 422),
        ("[" * 100_000, 400),
        (b"\xff", 400),
    ],
)
def test_bad_functions_are_refused(running: Running, body: bytes | str, status: int) -> None:
    assert_problem(running.put("/v1/functions/vector_db", body), status)
    assert running.controller.policy.read_text() == EXAMPLE.read_text()


# --- looking


def test_an_answer_is_a_line_with_its_end(running: Running) -> None:
    asked = ("status", "flows", "flows?limit=0", "chain", "functions", "functions?limit=0", "functions/vector_db")
    for path in (*asked, "events", "trace", "openapi.json"):
        body = running.client.get(f"/v1/{path}").body
        assert body.endswith(b"}\n") and body.count(b"\n") == 1, path


def test_flows_are_filtered(running: Running) -> None:
    (all_of_it,) = running.client.get("/v1/flows").json["switches"]
    (chosen,) = running.client.get("/v1/flows?table=20&item=VECTOR_db&switch=ovsbr0").json["switches"]
    assert 0 < len(chosen["entries"]) < len(all_of_it["entries"]) == ENTRIES
    assert {entry["item"] for entry in chosen["entries"]} == {"function route vector_db"}
    assert chosen["installed"] == ENTRIES
    assert running.client.get("/v1/flows?state=missing").json["switches"][0]["entries"] == []
    assert len(running.client.get("/v1/flows?limit=3").json["switches"][0]["entries"]) == 3
    assert_problem(running.client.get("/v1/flows?switch=other0"), 404)
    for query in ("table=x", "table=255", "limit=-1", "state=odd", "max_age=nan", "max_age=61", "nothing=1", "%ff=1"):
        assert_problem(running.client.get(f"/v1/flows?{query}"), 400)


def test_a_switch_that_is_gone_is_shown_as_it_was_last_seen(running: Running) -> None:
    def seen() -> Any:
        (switch,) = running.client.get("/v1/status").json["switches"]
        return switch

    assert "entries" not in seen() and seen()["answers"]
    running.switch.vsctl("del-controller", "ovsbr0")
    try:
        wait_for(lambda: not seen()["connected"], "the switch to go")
        assert (seen()["answers"], seen()["installed"], seen()["desired"]) == (False, ENTRIES, ENTRIES)
        answer = running.client.ask("POST", "/v1/trace", json.dumps({"packet": WEB}), headers=JSON)
        assert answer.json["installed"] == [] and answer.json["desired"]["verdict"] == "sent"
    finally:
        running.switch.vsctl("set-controller", "ovsbr0", "tcp:127.0.0.1:6653")
        back = lambda: (now := seen())["answers"] and now["installed"] == ENTRIES  # noqa: E731
        wait_for(back, "the switch to come back, with its entries")


def test_rates_come_from_two_readings(running: Running) -> None:
    path = "/v1/flows?item=anti-spoofing%20internal_200"
    running.client.get(path)
    time.sleep(2.1)
    (switch,) = running.client.get(path).json["switches"]
    assert switch["entries"][0]["rate"] == {"packets": 0, "bytes": 0}
    time.sleep(2.1)
    packet = "ffffffffffff" + "020000000001" + "0800" + "00" * 46  # what no mesh socket may send
    for _ in range(10):
        running.switch.ofctl("packet-out", "ovsbr0", f"in_port=internal_200 packet={packet} actions=table")
    rate = wait_for(
        lambda: max(entry["rate"]["packets"] for entry in running.client.get(path).json["switches"][0]["entries"]),
        "a rate",
    )
    assert 0 < rate <= 10


def test_the_chain_tells_state_counters_and_last_change(running: Running) -> None:
    chain = running.client.get("/v1/chain").json
    assert [(hop["kind"], hop["state"]) for hop in chain["hops"]] == [
        ("gateway", "in sync"),
        ("warp", "in sync"),
        ("xray", "in sync"),
    ]
    assert all(abs(time.time() - hop["last_change"]) < 600 for hop in chain["hops"])
    running.switch.vsctl("del-port", "internal_101")
    wait_for(lambda: running.client.get("/v1/chain").json["hops"][2]["state"] == "absent", "the hop to go")
    running.switch.add_ports("internal_101")
    wait_for(lambda: running.client.get("/v1/chain").json["hops"][2]["state"] == "in sync", "the hop to come back")


def test_a_packet_is_traced_on_what_is_wanted_and_on_what_is_there(running: Running) -> None:
    def trace(packet: object) -> Answer:
        return running.client.ask(
            "POST", "/v1/trace", json.dumps({"packet": packet}), headers={"Content-Type": "application/json"}
        )

    traced = trace(WEB).json
    assert [step["table"] for step in traced["desired"]["steps"]] == [0, 10]
    assert [output["port"] for output in traced["desired"]["outputs"]] == ["warp0"]
    assert "policy.json:" in traced["desired"]["steps"][1]["entry"]["document"]
    (there,) = traced["installed"]
    assert there["trace"] == there["desired"] == traced["desired"]
    spoofed = trace({"in_port": "internal_100", "ip": "", "nw_src": "192.0.2.1"}).json["desired"]
    assert (spoofed["verdict"], spoofed["steps"][0]["entry"]["item"]) == ("dropped", "anti-spoofing internal_100")
    mistyped = trace("in_port=internal_1000,ip").json["desired"]
    assert mistyped["verdict"] == "dropped" and "no port internal_1000; it has internal_100," in mistyped["notes"][0]
    examples = running.client.get("/v1/trace").json["examples"]
    assert [trace(example["packet"]).json["desired"]["verdict"] for example in examples] == ["sent", "dropped", "sent"]
    for bad in ("nonsense", "in_port=warp0,tcp,udp", {"ip": ""}, [], None, {"in_port": []}, "in_port=x,nw_src=1/8"):
        assert_problem(trace(bad), 422)


def test_events_tell_changes_drift_and_refusals(running: Running) -> None:
    last = running.client.get("/v1/events").json["last"]
    running.switch.ofctl("--strict", "del-flows", "ovsbr0", "table=20,priority=0")

    def kinds() -> dict[str, Any]:
        return {event["kind"]: event for event in running.client.get(f"/v1/events?since={last}").json["events"]}

    wait_for(lambda: "change" in kinds(), "the repair")
    assert "drift" in kinds()
    facts = kinds()["change"]["facts"]
    assert (facts["switch"], facts["confirmed"], facts["added"]) == ("ovsbr0", True, 1) and "drift" in facts["trigger"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
    stream = running.client.get("/v1/events", headers=headers, first_part=True)
    assert stream.headers["content-type"].startswith("text/event-stream")
    number = kinds()["change"]["number"]
    more = running.client.get("/v1/events", headers={**headers, "Last-Event-ID": str(number - 1)}, first_part=True)
    assert b"retry:" in stream.body + more.body
    before = running.client.get("/v1/events").json["last"]
    running.controller.policy.write_text(EXAMPLE.read_text().replace("output:warp0", "output:warp9"))

    def refusal() -> list[Any]:
        told = running.client.get(f"/v1/events?since={before}").json["events"]
        return told if told and "stays in force" in told[-1]["message"] else []

    *each, whole = wait_for(refusal, "the refusal", seconds=60)
    assert {(told["kind"], told["facts"]["trigger"]) for told in (*each, whole)} == {("refused", "policy file written")}
    assert [told["facts"]["problems"] for told in each] == [[problem] for problem in whole["facts"]["problems"]] != []
    assert running.put("/v1/policy", EXAMPLE.read_text().replace("51820", "51821")).status == 200
    assert kinds()["policy"]["facts"]["trigger"] == "REST 127.0.0.1 PUT /v1/policy"


def test_metrics(running: Running) -> None:
    text = running.client.get("/metrics").body.decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(figures['privacy_router_desired_entries{switch="ovsbr0"}']) == ENTRIES
    assert float(figures['privacy_router_installed_entries{switch="ovsbr0"}']) == ENTRIES
    assert float(figures['privacy_router_drift_entries{kind="missing",switch="ovsbr0"}']) == 0
    assert float(figures["privacy_router_switches_connected"]) == 1
    assert float(figures['privacy_router_apply_seconds_count{switch="ovsbr0"}']) >= 1
    assert "privacy_router_bundle_failures_total" in figures
    assert 'privacy_router_item_packets_total{item="function route vector_db",switch="ovsbr0"}' in figures


def test_stats_are_those_of_ofctl_rest(running: Running) -> None:
    sandbox, switch = running.controller.sandbox, running.switch
    switch.vsctl("set-controller", "ovsbr0", "tcp:127.0.0.1:6653", "tcp:127.0.0.1:6700")
    arguments = ("--ofp-tcp-listen-port", "6700", "--wsapi-port", "8081", "--wsapi-host", "127.0.0.1")
    theirs = sandbox.start(RYU_MANAGER, *arguments, "ryu.app.ofctl_rest")
    dpid = running.controller.switch()["dpid"]
    switch.ofctl("add-flow", "ovsbr0", "table=40,tcp,tp_dst=80,nw_src=192.0.2.0/24,actions=output:warp0,LOCAL")

    def reference(path: str) -> Any:
        try:
            return running.client.get(path, port=8081).json
        except ConnectionError:
            return None

    wait_for(lambda: reference("/stats/switches") == [dpid], "ofctl_rest")
    for path in ("flow", "port", "portdesc", "table"):
        ours, same = running.client.get(f"/stats/{path}/{dpid}").json, reference(f"/stats/{path}/{dpid}")
        assert still(ours) == still(same) and ours[str(dpid)], path
        ends = [running.client.get(f"/stats/{path}/{dpid}", port=port).body[-2:] for port in (8080, 8081)]
        assert ends == [b"]}", b"]}"], path
    assert len(running.client.get(f"/stats/flow/{dpid}").json[str(dpid)]) == ENTRIES + 1
    number = next(
        port["port_no"] for port in reference(f"/stats/portdesc/{dpid}")[str(dpid)] if port["name"] == "warp0"
    )
    one = running.client.get(f"/stats/port/{dpid}/{number}").json
    assert still(one) == still(reference(f"/stats/port/{dpid}/{number}")) and len(one[str(dpid)]) == 1
    theirs.kill()
    switch.ofctl("del-flows", "ovsbr0", "table=40")
    switch.vsctl("set-controller", "ovsbr0", "tcp:127.0.0.1:6653")
    assert running.client.get("/stats/switches").json == [dpid]
    assert_problem(running.client.get("/stats/flow/77"), 404)
    assert_problem(running.client.get("/stats/flow/x"), 400)
    assert_problem(running.client.get(f"/stats/port/{dpid}/x"), 400)
    assert_problem(running.client.ask("POST", "/stats/flowentry/add", "{}", headers=running.bearer), 404)


def still(stats: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """Without what moves between two readings."""
    moving = ("duration_sec", "duration_nsec", "packet_count", "byte_count", "lookup_count", "matched_count")
    return {
        dpid: sorted(json.dumps({k: v for k, v in row.items() if k not in moving}, sort_keys=True) for row in rows)
        for dpid, rows in stats.items()
    }


def test_the_examples_of_the_documentation_work(running: Running) -> None:
    text = (ROOT / "docs/rest.md").read_text()
    blocks = [block.split("\n```")[0] for block in text.split("```sh\n")[1:]]
    assert len(blocks) == 5
    script = "\n".join(blocks).replace("/tmp/policy.json", str(running.controller.sandbox.directory / "copy.json"))
    output = running.controller.sandbox.run("sh", "-e", "-c", script)
    assert output.count('"outcome": "confirmed"') == 3 and '"do": "delete"' in output and "event: change" in output


def test_nothing_went_wrong_inside(running: Running) -> None:
    assert "Traceback" not in running.controller.log.read_text()
