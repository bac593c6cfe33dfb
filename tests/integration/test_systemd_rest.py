"""The controller's unit under a real systemd: it writes the policy only where it is let as docs/operating.md says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from host_sandbox import ROOT
from processes import wait_for
from rest_client import Answer, RestClient
from systemd_sandbox import SYSTEMD, Machine

HIDDEN = any(ROOT.is_relative_to(place) for place in ("/tmp", "/var/tmp"))  # DynamicUser= always hides these
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not SYSTEMD.exists(), reason="no systemd here"),
    pytest.mark.skipif(HIDDEN, reason="the unit does not see a clone in /tmp or /var/tmp"),
]

CONTROLLER = "privacy-controller.service"
EXAMPLE = ROOT / "policies" / "documents" / "privacy-router.json"
# The clone may be in /home, and its Python in /root; a sandbox has no device nodes to give away.
HERE = "[Service]\nProtectHome=read-only\nPrivateDevices=no\n"


def documented() -> tuple[str, str]:
    """(commands, drop-in) by which an operator lets the controller write the policy."""
    text = (ROOT / "docs" / "operating.md").read_text().split("**Changes over REST**")[1]
    commands, drop_in = (block.split("\n```")[0] for block in text.split("```")[1:5:2])
    return commands.removeprefix("sh\n"), drop_in.removeprefix("ini\n") + "\n"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    units = tmp_path / "etc/systemd/system"
    for place in (f"etc/systemd/system/{CONTROLLER}.d", "etc/privacy-router"):
        (tmp_path / place).mkdir(parents=True)
    (units / f"{CONTROLLER}.d" / "here.conf").write_text(HERE)
    for agent in ("privacy-agent", "privacy-agent-boot"):
        (units / f"{agent}.service.d").mkdir()
        (units / f"{agent}.service.d" / "off.conf").write_text("[Unit]\nConditionPathExists=/nowhere\n")
    policy = tmp_path / "etc/privacy-router/policy.json"
    policy.write_text(EXAMPLE.read_text())
    policy.chmod(0o640)
    with Machine(tmp_path) as it:
        wait_for(lambda: it.attempt("systemctl", "is-active", "basic.target").returncode == 0, "systemd", 40)
        it.run("ip", "link", "set", "lo", "up")
        it.run("chmod", "o+x", "/root")
        it.run("groupadd", "-r", "privacy-router")
        it.run("chgrp", "privacy-router", "/etc/privacy-router/policy.json")
        yield it


def put(machine: Machine) -> Answer:
    """An edit of a function, as soon as the controller answers."""
    client = RestClient(machine)

    def answers() -> bool:
        try:
            return client.get("/v1/status").status == 200
        except OSError:
            return False

    wait_for(answers, "the controller", 40)
    token = machine.run("cat", "/var/lib/privacy-controller/rest-token").strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    route = '{"routes": [{"target_socket": "internal_200", "match_fields": "ip,nw_dst=100.104.70.30"}]}'
    return client.ask("PUT", "/v1/functions/vector_db", route, headers)


def test_the_controller_comes_back_however_often_it_ended_over_an_invalid_policy(machine: Machine) -> None:
    machine.run("sh", "-c", "cat > /etc/privacy-router/policy.json", input="{")
    machine.run("systemctl", "start", CONTROLLER)
    # systemd gives up after 5 starts in 10 s; these are quicker by one's own hand than on a slow machine.
    for _ in range(8):
        assert machine.attempt("systemctl", "restart", CONTROLLER).returncode == 0
    machine.run("sh", "-c", "cat > /etc/privacy-router/policy.json", input=EXAMPLE.read_text())
    machine.wait_for(CONTROLLER, "ActiveState", "active", 60)
    assert put(machine).status == 500, "it answers"


def test_the_controller_writes_the_policy_only_where_it_is_let(machine: Machine) -> None:
    machine.run("systemctl", "start", CONTROLLER)
    refused = put(machine)
    assert refused.status == 500 and "operating.md" in refused.json["detail"], refused
    assert machine.run("cat", "/etc/privacy-router/policy.json") == EXAMPLE.read_text()

    commands, drop_in = documented()
    machine.run("sh", "-e", "-c", commands)
    directory = f"/etc/systemd/system/{CONTROLLER}.d"
    machine.run("sh", "-c", f"cat > {directory}/rest.conf", input=drop_in)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", CONTROLLER)
    machine.run("sh", "-c", "echo PrivateKey > /etc/privacy-router/secret; chmod 600 /etc/privacy-router/secret")
    assert put(machine).status == 202, "in force; no switch is there"
    assert "100.104.70.30" in machine.run("cat", "/etc/privacy-router/policy.json")
    owner = machine.run("stat", "--format=%U:%G %a", "/etc/privacy-router/policy.json").strip()
    assert owner == "privacy-router:privacy-router 640"
    taken = machine.attempt(
        "setpriv",
        "--reuid=privacy-router",
        "--regid=privacy-router",
        "--clear-groups",
        "mv",
        "/etc/privacy-router/secret",
        "/etc/privacy-router/mine",
    )
    assert taken.returncode != 0, "of others' files in there it can take the place of none"
