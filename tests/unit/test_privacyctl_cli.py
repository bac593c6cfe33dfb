"""The command as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from policy_documents import DOCUMENTS, changed

from privacyctl.cli import main

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
    assert tables == ["# table 0: classify", "# table 10: privacy_chain", "# table 20: mesh"]
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
    """Nor anything of the switch side, but for the names that the installation supplies to eventlet at every start."""
    code = (
        "import sys; from privacyctl.cli import main; code = main(['check', sys.argv[1]]);"
        "print([name for name in sys.modules if name.split('.')[0] in ('ryu', 'ryu_apps', 'eventlet', 'pyroute2')"
        "and name not in ('ryu_apps', 'ryu_apps.eventlet_names')]);"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, EXAMPLE], capture_output=True, text=True, cwd=DOCUMENTS.parents[1]
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "[]"
