"""The command as a user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mesh_examples import BUCKET, VECTOR_DB, document, topology_text
from policy_documents import DOCUMENTS, changed

from host_agent.cli import main as agent
from policies.document import Document, parse_document
from policies.layout import JsonText
from privacyctl.cli import AGENT_VERBS, main

EXAMPLE = str(DOCUMENTS / "privacy-router.json")


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from privacyctl.cli import main; sys.exit(main())"
    variables = {**os.environ, "PYTHONPATH": str(DOCUMENTS.parents[1]), **environment}
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=variables)


def test_every_shipped_document_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(map(str, DOCUMENTS.iterdir()))
    assert main(["check", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == files
    assert f"{EXAMPLE}: valid: 3 hops, 2 privacy flows, 2 function routes, 4 sockets, 2 containers" in lines


def test_a_document_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def parsed(text: str, file: str, earlier: JsonText | None = None) -> Document:
        read.append(file)
        return parse_document(text, file, earlier)

    monkeypatch.setattr("policies.load.parse_document", parsed)
    assert main(["check", EXAMPLE]) == 0
    assert read == [EXAMPLE]


def test_all_problems_of_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(changed(lambda router: router.update(bridge_name="b r", bridge="x")))
    missing = str(tmp_path / "none.yaml")
    assert main(["check", str(bad), EXAMPLE, missing]) == 2
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{EXAMPLE}: valid")
    first, second, third = shown.err.splitlines()
    assert first.startswith(f"{bad}:3: privacy_router.bridge_name: expected an interface name")
    assert f"{bad}:" in second
    assert "privacy_router.bridge: unknown key; did you mean bridge_name?" in second
    assert third == f"{missing}: cannot be read: No such file or directory"


def test_flows_are_grouped_by_table_and_item(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flows", EXAMPLE]) == 0
    lines = capsys.readouterr().out.splitlines()
    tables = [line for line in lines if line.startswith("# table ")]
    assert tables == [
        "# table 0: classify",
        "# table 10: privacy_chain",
        "# table 20: mesh",
        "# table 30: mesh_delivery",
    ]
    item = lines.index("# WireGuard gateway → WARP tunnel")
    assert lines[item + 1].endswith("table=10,priority=100,in_port=internal_100,actions=output:warp0")
    route = lines.index("# function route vector_db")
    assert lines[route + 1].endswith("table=20,priority=90,ip,nw_dst=100.104.70.10,actions=output:internal_200")
    assert all(line.startswith(("#", "cookie=0x5052")) for line in lines)


def test_flows_of_an_invalid_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    assert main(["flows", str(bad)]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err[: len(str(bad)) + 18]) == ("", f"{bad}:1: not valid JSON")


@pytest.mark.parametrize("arguments", [[], ["check"], ["flows"], ["flows", "a", "b"], ["chek", "a"], ["check", "-x"]])
def test_bad_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: privacyctl" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["flows", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "policy document" in capsys.readouterr().out.replace("policies", "policy documents")


def test_a_closed_pipe_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from privacyctl.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "flows", EXAMPLE],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(DOCUMENTS.parents[1])},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_terminal_without_unicode() -> None:
    done = command("flows", EXAMPLE, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "# WireGuard gateway \\u2192 WARP tunnel" in done.stdout


def test_check_needs_neither_ryu_nor_root(tmp_path: Path) -> None:
    """Of the switch side only what is pure; what pulls in ryu or eventlet has no place in it."""
    code = (
        "import sys; from privacyctl.cli import main; code = main(['check', sys.argv[1]]);"
        "print([name for name in sys.modules if name.split('.')[0] in ('ryu', 'eventlet', 'pyroute2')]);"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, EXAMPLE], capture_output=True, text=True, cwd=DOCUMENTS.parents[1]
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_refuses_what_cannot_be_proved_safe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The document is well formed, but its flow takes the clients past the WARP hop."""
    bad = tmp_path / "bad.json"
    past = {"priority": 200, "match_fields": {"in_port": "internal_100"}, "actions": ["output:internal_101"]}
    bad.write_text(changed(lambda router: router["openflow"]["privacy_flows"].append(past)))
    assert main(["check", str(bad)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    line = next(line for line in shown.err.splitlines() if "next hop from the first port" in line)
    assert line.startswith(f"{bad}:") and "openflow.privacy_flows[2]: packet ip,in_port=internal_100" in line
    assert 'comes in by "internal_100" and leaves by "internal_101"' in line


PACKET = "in_port=internal_100,ip,nw_src=10.100.0.2,nw_dst=198.51.100.1"


def test_trace_tells_the_way_of_a_packet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", EXAMPLE, PACKET]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "packet ip,in_port=internal_100,nw_dst=198.51.100.1,nw_src=10.100.0.2"
    assert "  admission internal_100: a source it owns" in lines
    assert f"  WireGuard gateway → WARP tunnel ({EXAMPLE}:43: privacy_router.openflow.privacy_flows[0])" in lines
    assert lines[-1] == "leaves by warp0"


def test_trace_of_a_dropped_packet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", EXAMPLE, "in_port=internal_100,ip,nw_src=192.0.2.1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'dropped: "anti-spoofing internal_100"'


def test_trace_from_a_port_that_the_policy_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", EXAMPLE, "in_port=internal_1000,ip,nw_src=10.100.0.2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("the policy has no port internal_1000; it has internal_100, internal_101, internal_200")
    assert lines[-1] == 'dropped: "not admitted"'


@pytest.mark.parametrize("verb", AGENT_VERBS)
def test_the_agents_verbs_are_its_own(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    words = "import wgcf" if verb == "import" else AGENT_VERBS[verb][0]
    assert capsys.readouterr().out.startswith(f"usage: privacyctl {words} [-h]")


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        ("import foo bar", "privacyctl import wgcf FILE"),
        ("import", "privacyctl import wgcf FILE"),
        ("import wgcf a b", "privacyctl import wgcf [-h]"),
        ("plan now", "privacyctl plan [-h]"),
        ("check --deeply a.json", "privacyctl check [-h]"),
    ],
)
def test_who_misuses_a_verb_is_told_its_own_use(words: str, usage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2 and capsys.readouterr().err.startswith(f"usage: {usage}")


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (main, agent):
        with pytest.raises(SystemExit) as caught:
            command(["--version"])
        assert caught.value.code == 0 and capsys.readouterr().out.startswith("privacy-router 0.")


def test_an_agents_verb_shows_the_options_that_mean_something(capsys: pytest.CaptureFixture[str]) -> None:
    """It takes the others all the same, as scripts give every verb the same."""
    shown = {}
    for verb in ("confirm", "stop", "doctor"):
        with pytest.raises(SystemExit):
            agent([verb, "--help"])
        shown[verb] = set(re.findall(r"--[a-z-]+", capsys.readouterr().out.partition("\n\n")[0])) - {"--help", "--json"}
    assert shown["confirm"] == {"--state-dir"}
    assert shown["doctor"] - shown["stop"] == {"--config-dir"}


def test_without_a_policy_it_is_said_how_to_name_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.json"
    assert agent(["apply", "--policy", str(missing), "--state-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"{missing}: cannot be read" in said and "--policy FILE, or install one there: README.md, step 1" in said


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        ("ip,nw_dst=192.0.2.1", "the packet: in_port is missing"),
        ("in_port=warp0,nw_dst=192.0.2.0/24", "is a range"),
        ("in_port=warp0,nw_dstt=192.0.2.1", "did you mean nw_dst?"),
        ("in_port=warp0,arp,tcp", "no packet is both"),
    ],
)
def test_trace_of_no_packet(packet: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", EXAMPLE, packet]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("the packet: ") and why in shown.err


class Nodes:
    """A policy and its topology, on disk."""

    def __init__(self, directory: Path) -> None:
        self.policy, self.topology = directory / "policy.json", directory / "topology.json"
        self.policy.write_text(json.dumps(document(), indent=1))
        self.topology.write_text(topology_text())

    def options(self, node: str) -> list[str]:
        return ["--topology", str(self.topology), "--node", node]


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path)


def test_flows_of_one_node(nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    route = "table=20,priority=90,ip,nw_dst=100.104.70.10,actions=output:"
    for node, port in (("a", "internal_200"), ("b", "nm-privacy")):
        assert main(["flows", str(nodes.policy), *nodes.options(node)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line.endswith(f"{route}{port}")]


def test_trace_on_one_node(nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    packet = f"in_port=internal_200,tcp,nw_src={VECTOR_DB},nw_dst={BUCKET},tp_dst=9000"
    assert main(["trace", str(nodes.policy), packet, *nodes.options("a")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "leaves by nm-privacy"
    assert main(["trace", str(nodes.policy), packet, *nodes.options("b")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'dropped: "not admitted"'


@pytest.mark.parametrize("verb", [["flows"], ["trace", PACKET]])
def test_a_node_that_is_not_there(verb: list[str], nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb[0], str(nodes.policy), *verb[1:], *nodes.options("c")]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f'{nodes.topology}: topology.nodes: has no node "c", but a, b: ')


@pytest.mark.parametrize("run", [main, agent])
def test_a_node_without_a_topology(run: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["flows", EXAMPLE] if run is main else ["plan", "--policy", EXAMPLE]
    assert run([*words, "--node", "elsewhere"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("--node elsewhere: there is no topology to find it in;")


def test_check_of_a_policy_with_a_topology(nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(nodes.policy), "--topology", str(nodes.topology)]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("; proved for 2 nodes: a, b")
    nodes.topology.write_text(topology_text({"a": [200, 201, 777], "b": [202]}))
    assert main(["check", str(nodes.policy), "--topology", str(nodes.topology)]) == 2
    shown = capsys.readouterr()
    assert "topology.nodes[0].containers: the policy has no container 777" in shown.err
    nodes.policy.write_text(changed(lambda router: router))  # its chain is on no node now
    assert main(["check", str(nodes.policy), "--topology", str(nodes.topology)]) == 2


def test_check_tells_of_functions_that_no_container_serves(nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    nodes.topology.write_text(topology_text({"a": [202, 203, 204], "b": [201]}))
    assert main(["check", str(nodes.policy), "--topology", str(nodes.topology)]) == 0
    valid, *remarks = capsys.readouterr().out.splitlines()
    assert valid.startswith(f"{nodes.policy}: valid: ")
    where = f"{nodes.policy}:43: privacy_router.openflow.function_routing[0]"
    dropped = f"packet ip,nw_dst={VECTOR_DB} is dropped: function vector_db: container 200 is absent"
    assert remarks == [f"{where}: on node {node}: {dropped}" for node in "ab"]


def test_the_topology_may_be_named_by_the_environment(nodes: Nodes) -> None:
    done = command("flows", str(nodes.policy), "--node", "b", PRIVACY_ROUTER_TOPOLOGY=str(nodes.topology))
    assert done.returncode == 0 and "internal_203" in done.stdout and "in_port=internal_202" not in done.stdout
