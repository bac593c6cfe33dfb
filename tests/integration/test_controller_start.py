"""The start of the controller: what it says it does, and that it ends where it cannot listen. Needs root."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from certificates import Authority
from processes import wait_for
from switch_sandbox import Controller, Sandbox, Switch

HOLDER = "import socket, time; s = socket.create_server(('127.0.0.1', {})); print('held', flush=True); time.sleep(600)"


def listening(sandbox: Sandbox) -> set[str]:
    return {line.split()[3] for line in sandbox.run("ss", "-Hltn").splitlines()}


def refusal(controller: Controller) -> str:
    """What a controller says that does not start: one line beside Ryu's own."""
    assert controller.wait() == 2, controller.log.read_text()
    (error,) = (line for line in controller.log.read_text().splitlines() if " INFO " not in line)
    return error.partition("ERROR")[2].strip()


def test_it_says_what_it_does_and_listens_on_two_ports(sandbox: Sandbox, controller: Controller) -> None:
    controller.start()
    wait_for(lambda: "127.0.0.1:8080" in listening(sandbox), "the REST server", seconds=60)
    wait_for(lambda: controller.get("/v1/status")[0] == 200, "its answer", seconds=60)
    assert listening(sandbox) == {"127.0.0.1:6653", "127.0.0.1:8080"}
    log = controller.log.read_text()
    assert f"policy {controller.get('/v1/status')[1]['policy']['revision'][:8]} in force: {controller.policy}, " in log
    assert "listening for switches on 127.0.0.1 port 6653, in the clear\n" in log
    token = Path(sandbox.environment["PRIVACY_ROUTER_STATE_DIR"]) / "rest-token"
    assert f"REST and its page on http://127.0.0.1:8080/, changes with the token in {token}\n" in log
    events = controller.get("/v1/events")[1]["events"]
    (policy,) = (event for event in events if event["kind"] == "policy")
    assert policy["facts"]["trigger"] == "start" and policy["facts"]["milliseconds"] > 0


@pytest.mark.parametrize(
    ("options", "port"),
    [((), 6653), (("--ofp-tcp-listen-port", "6700"), 8080), (("--wsapi-port", "8081"), 6653)],
)
def test_of_two_controllers_on_one_port_the_second_does_not_start(
    sandbox: Sandbox, controller: Controller, options: tuple[str, ...], port: int
) -> None:
    controller.start()
    wait_for(lambda: "127.0.0.1:8080" in listening(sandbox), "the first", seconds=60)
    second = Controller(sandbox, controller.policy)
    second.log = sandbox.directory / "second.log"
    second.start(*options)
    assert refusal(second) == f"cannot listen on 127.0.0.1 port {port}: Address already in use"
    assert controller.get("/v1/status")[0] == 200


@pytest.mark.parametrize("port", [6653, 8080])
def test_it_does_not_go_on_without_a_port_that_another_program_holds(
    sandbox: Sandbox, controller: Controller, port: int
) -> None:
    held = sandbox.directory / "held.log"
    sandbox.start(sys.executable, "-I", "-c", HOLDER.format(port), log=held)
    wait_for(lambda: held.read_text() == "held\n", "the other program", seconds=60)
    controller.start()
    assert refusal(controller) == f"cannot listen on 127.0.0.1 port {port}: Address already in use"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ofp-tcp-listen-port", "70000"), "cannot listen on 127.0.0.1 port 70000: "),
        (("--ofp-listen-host", "192.0.2.7"), "cannot listen on 192.0.2.7 port 6653: Cannot assign requested address"),
        (("--ca-certs", "{authority}"), "OpenFlow over TLS takes --ctl-privkey and --ctl-cert: one is not given"),
        (("--ctl-privkey", "{key}"), "OpenFlow over TLS takes --ctl-privkey and --ctl-cert: one is not given"),
        (
            ("--ctl-privkey", "{key}", "--ctl-cert", "{certificate}", "--ca-certs", "nosuch"),
            "--ca-certs nosuch: No such file or directory",
        ),
        (
            ("--ctl-privkey", "nosuch", "--ctl-cert", "{certificate}"),
            "--ctl-cert {certificate}, --ctl-privkey nosuch: No such file or directory",
        ),
    ],
)
def test_it_does_not_start_with_openflow_options_that_cannot_be(
    sandbox: Sandbox, controller: Controller, options: tuple[str, ...], said: str
) -> None:
    authority = Authority(sandbox.directory)
    certificate, key = authority.issue("controller", "127.0.0.1")
    files = {"authority": str(authority.certificate), "certificate": str(certificate), "key": str(key)}
    controller.start(*(option.format(**files) for option in options))
    assert refusal(controller).startswith(said.format(**files))


def test_after_a_kill_it_listens_at_once(sandbox: Sandbox, controller: Controller) -> None:
    switch = Switch(sandbox)
    switch.add_ports("internal_100", "warp0")
    controller.start()
    controller.wait_until_confirmed(1)  # by connections to both ports, which outlive it in the kernel
    controller.kill()
    controller.log.unlink()
    controller.start()
    wait_for(lambda: "127.0.0.1:8080" in listening(sandbox) or controller.ended, "its servers", seconds=60)
    assert "cannot listen" not in controller.log.read_text()
