"""The REST interface against clients that should not get their way, and OpenFlow over TLS. Needs root."""

from __future__ import annotations

import json
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from processes import wait_for
from rest_client import Answer, RestClient, token
from switch_sandbox import EXAMPLE, Controller, Sandbox, Switch

from policies.document import LARGEST

ELSEWHERE = "192.0.2.7"
EMPTY_HEAD = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def sandbox(sandbox: Sandbox) -> Sandbox:
    sandbox.run("ip", "address", "add", f"{ELSEWHERE}/32", "dev", "lo")
    return sandbox


@pytest.fixture
def client(sandbox: Sandbox) -> RestClient:
    return RestClient(sandbox)


def start(sandbox: Sandbox, *options: str, **settings: object) -> Controller:
    """A controller without a switch; ``settings`` go into its configuration file."""
    policy = sandbox.directory / "policy.json"
    shutil.copy(EXAMPLE, policy)
    configuration = sandbox.directory / "ryu.conf"
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    configuration.write_text(f"[privacy_router]\n{lines}")
    controller = Controller(sandbox, policy)
    controller.start("--config-file", str(configuration), *options)
    return controller


def wait_until_it_listens(sandbox: Sandbox) -> None:
    wait_for(lambda: ":8080" in sandbox.run("ss", "-Hltn"), "the REST server")


def assert_problem(answer: Answer, status: int) -> Any:
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), answer
    assert answer.json["status"] == status and answer.json["title"] and answer.json["detail"]
    assert answer.body.endswith(b"}\n")
    return answer.json


def problem_in(answer: bytes) -> Any:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head and body.endswith(b"}\n"), answer
    return json.loads(body)


def test_who_may_ask_what(sandbox: Sandbox, client: RestClient) -> None:
    controller = start(sandbox)
    wait_until_it_listens(sandbox)
    bearer = {"Authorization": f"Bearer {token(sandbox)}"}
    assert stat.S_IMODE((Path(sandbox.directory) / "state/rest-token").stat().st_mode) == 0o600
    # DNS rebinding: a name of somebody else's that points here; the port does not matter
    assert_problem(client.get("/v1/status", headers={"Host": "evil.example"}), 421)
    assert_problem(client.get("/v1/status", headers={"Host": ""}), 421)
    for name in ("localhost", "LOCALHOST:99", "127.0.0.1:43211", "[::1]:8080"):
        assert client.get("/v1/status", headers={"Host": name}).status == 200
    # a page of another site
    here = {"Host": "localhost:8080"}
    for origin in ("http://evil.example", "null", "http://localhost:9", "https://localhost:8080"):
        assert_problem(client.get("/v1/status", headers={**here, "Origin": origin}), 403)
    assert client.get("/v1/status", headers={**here, "Origin": "http://localhost:8080"}).status == 200
    # changes
    for method, path in (("PUT", "/v1/policy"), ("PUT", "/v1/functions/x"), ("DELETE", "/v1/functions/vector_db")):
        answer = client.ask(method, path, "{}")
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        for wrong in ("Bearer x", "Bearer ", "Basic Og==", f"Bearer {token(sandbox)}x", "Bearer \xe9"):
            assert_problem(client.ask(method, path, "{}", headers={"Authorization": wrong}), 401)
    assert_problem(client.ask("PUT", "/v1/policy", "{}", headers=bearer), 415)
    # what there is not
    assert_problem(client.get("/v1/nothing"), 404)
    assert_problem(client.ask("POST", "/v1/policy", "{}", headers=bearer), 405)
    for method, path in (("POST", "/v1/flows"), ("DELETE", "/v1/policy"), ("PUT", "/")):
        assert_problem(client.ask(method, path, "{}"), 405)  # no token would open that
    assert_problem(client.ask("DELETE", "/v1/nothing"), 404)
    refused = client.ask("DELETE", "/v1/policy", headers=bearer)
    assert_problem(refused, 405)
    assert refused.headers["allow"] == "GET, HEAD, PUT"
    head = client.ask("HEAD", "/v1/policy")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(EXAMPLE.stat().st_size))
    # the page
    page = client.get("/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=UTF-8")
    assert "default-src 'none'" in page.headers["content-security-policy"] and "unsafe" not in str(page.headers)
    for name in ("style.css", "page.js"):
        assert f'"{name}"'.encode() in page.body and client.get(f"/{name}").status == 200
    assert client.get("/v1/status").headers["x-content-type-options"] == "nosniff"
    # no switch: a change is accepted, to be confirmed later
    document = json.dumps(json.loads(EXAMPLE.read_text()))
    headers = {**bearer, "Content-Type": "application/json"}
    assert client.ask("PUT", "/v1/policy", document, headers=headers).status == 202
    log = controller.log.read_text()
    assert token(sandbox) not in log and "Traceback" not in log


def test_sizes_and_times_are_bounded(sandbox: Sandbox, client: RestClient) -> None:
    controller = start(sandbox)
    wait_until_it_listens(sandbox)
    bearer = {"Authorization": f"Bearer {token(sandbox)}", "Content-Type": "application/json"}
    megabyte = 1024 * 1024
    assert_problem(client.ask("PUT", "/v1/functions/x", b"x" * megabyte, headers=bearer), 400)
    for path, size in (("/v1/functions/x", megabyte + 1), ("/v1/policy", LARGEST + 1), ("/v1/trace", 10**12)):
        head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer['Authorization']}\r\n"
        method = head.replace("PUT", "POST") if path == "/v1/trace" else head
        _, answer = client.raw(f"{method}Content-Length: {size}\r\n\r\nx".encode())
        assert problem_in(answer)["status"] == 413
    chunks = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    chunked = f"PUT /v1/functions/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer['Authorization']}\r\n"
    _, answer = client.raw(chunked.encode() + b"Transfer-Encoding: chunked\r\n\r\n", *[chunks] * 20)
    assert problem_in(answer)["status"] == 413
    for request, status in (
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (EMPTY_HEAD + b"X: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (EMPTY_HEAD + b"X: y\r\n" * 20000 + b"\r\n", 431),
        (b"NONSENSE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (EMPTY_HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (EMPTY_HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (EMPTY_HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (EMPTY_HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (EMPTY_HEAD.replace(b"/v1/status", b"/v1/functions/%ff") + b"Connection: close\r\n\r\n", 400),
    ):
        answered = client.raw(request)[1]
        assert problem_in(answered)["status"] == status, request[:60]
    seconds, answer = client.raw(*[EMPTY_HEAD, *[b"X: y\r\n"] * 120], pause=0.25)  # a line now and then
    assert answer == b"" and 4 < seconds < 25, "long before the last one"
    assert client.get("/v1/status").status == 200
    assert "Traceback" not in controller.log.read_text()


def test_many_clients_that_say_nothing_are_got_rid_of(sandbox: Sandbox, client: RestClient) -> None:
    start(sandbox)
    wait_until_it_listens(sandbox)
    idle = (
        "import socket, time; s = [socket.create_connection(('127.0.0.1', 8080)) for _ in range(200)]; time.sleep(60)"
    )
    sandbox.start("python3", "-I", "-c", idle)
    wait_for(lambda: sandbox.run("ss", "-Htn", "state", "established", "sport", "8080").count("\n") >= 128, "them")
    started = time.monotonic()
    assert client.get("/v1/status").status == 200
    assert time.monotonic() - started < 40


def test_the_rate_is_bounded(sandbox: Sandbox, client: RestClient) -> None:
    start(sandbox, rest_requests_per_second=1)
    wait_until_it_listens(sandbox)
    answers = [client.get("/v1/events") for _ in range(30)]
    assert {answer.status for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status == 429)
    assert_problem(refused, 429)
    time.sleep(int(refused.headers["retry-after"]))
    assert client.get("/v1/events").status == 200


def test_a_token_that_others_may_read_is_not_used(sandbox: Sandbox, client: RestClient) -> None:
    state = sandbox.directory / "state"
    state.mkdir()
    (state / "rest-token").write_text("x" * 40)
    (state / "rest-token").chmod(0o644)
    controller = start(sandbox)
    wait_until_it_listens(sandbox)
    headers = {"Authorization": f"Bearer {'x' * 40}"}
    assert (
        "chmod 600" in assert_problem(client.ask("DELETE", "/v1/functions/vector_db", headers=headers), 403)["detail"]
    )
    assert "nothing can be changed over REST" in controller.log.read_text()
    assert client.get("/v1/status").status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", ELSEWHERE, "::"])
def test_it_does_not_listen_elsewhere_in_the_clear(sandbox: Sandbox, host: str) -> None:
    controller = start(sandbox, "--wsapi-host", host)
    assert controller.wait() == 2
    log = controller.log.read_text()
    assert f"REST does not listen on {host}" in log and "rest_tls_cert" in log and "Traceback" not in log


@pytest.mark.parametrize("given", ["rest_tls_cert", "rest_tls_key"])
def test_half_of_what_tls_takes_is_not_taken_for_no_tls(sandbox: Sandbox, given: str) -> None:
    controller = start(sandbox, **{given: "/nonexistent"})
    assert controller.wait() == 2
    assert "REST over TLS takes rest_tls_cert and rest_tls_key: one is not given\n" in controller.log.read_text()


def test_elsewhere_it_speaks_tls_and_asks_everybody_for_the_token(sandbox: Sandbox, client: RestClient) -> None:
    authority = Authority(sandbox.directory)
    certificate, key = authority.issue("router.example", ELSEWHERE)
    settings = {"rest_tls_cert": certificate, "rest_tls_key": key, "rest_hosts": "router.example"}
    controller = start(sandbox, "--wsapi-host", ELSEWHERE, **settings)
    wait_until_it_listens(sandbox)
    tls = {"host": ELSEWHERE, "ca": authority.certificate}
    bearer = {"Authorization": f"Bearer {token(sandbox)}"}
    assert_problem(client.get("/v1/status", **tls), 401)
    assert client.get("/v1/status", headers=bearer, **tls).status == 200
    assert client.get("/", **tls).status == 200  # the page has a field for the token
    assert client.get("/v1/status", headers={**bearer, "Host": "router.example"}, **tls).status == 200
    same = {**bearer, "Host": "router.example:8080", "Origin": "https://router.example:8080"}
    assert client.get("/v1/status", headers=same, **tls).status == 200
    with pytest.raises(ConnectionError):
        client.get("/v1/status", headers=bearer, host=ELSEWHERE)  # in the clear
    assert client.get("/v1/status", headers=bearer, **tls).status == 200
    assert "Traceback" not in controller.log.read_text()


def test_the_log_as_json_is_one_object_a_line(sandbox: Sandbox) -> None:
    switch = Switch(sandbox)
    switch.add_ports("internal_100", "warp0", "internal_101", "internal_200", "internal_201", "nm-privacy")
    controller = start(sandbox, log_format="json")
    controller.wait_until_confirmed(1)
    records = [json.loads(line) for line in controller.log.read_text().splitlines()]
    change = next(record for record in records if record["kind"] == "change")
    assert (change["switch"], change["trigger"], change["confirmed"]) == ("ovsbr0", "connected", True)
    assert change["milliseconds"] > 0 and change["level"] == "info" and change["time"].endswith("Z")


def test_openflow_over_tls_takes_only_switches_with_our_certificate(sandbox: Sandbox) -> None:
    authority, stranger = Authority(sandbox.directory), Authority(sandbox.directory, "stranger")
    certificate, key = authority.issue("controller", "127.0.0.1")
    names = ("internal_100", "warp0", "internal_101", "internal_200", "internal_201", "nm-privacy")
    switch = Switch(sandbox)
    switch.add_ports(*names)
    tls = ("--ctl-privkey", str(key), "--ctl-cert", str(certificate), "--ca-certs", str(authority.certificate))
    controller = start(sandbox, *tls, "--ofp-ssl-listen-port", "6653")

    def present(name: str, issuer: Authority) -> None:
        mine, private = issuer.issue(name)
        switch.vsctl("set-ssl", str(private), str(mine), str(authority.certificate))

    present("foreign", stranger)
    switch.vsctl("set-controller", "ovsbr0", "ssl:127.0.0.1:6653")
    wait_for(lambda: "connection closed" in controller.log.read_text(), "the refusal")
    assert switch.dump() == []
    present("switch", authority)
    assert controller.wait_until_confirmed(1)["connected"]
    switch.vsctl("del-controller", "ovsbr0")
    wait_for(lambda: not controller.switch().get("connected"), "the end of the connection")
    switch.vsctl("set-controller", "ovsbr0", "ssl:127.0.0.1:6653")  # a second connection, where Ryu's own server fails
    # Without a controller Open vSwitch may have dropped the entries, so that they have to be put back first.
    back = lambda: (now := controller.switch())["connected"] and not any(now["drift"].values())  # noqa: E731
    wait_for(back, "the second connection, and the entries")
    switch.vsctl("set-controller", "ovsbr0", "tcp:127.0.0.1:6653")  # in the clear
    wait_for(lambda: not controller.switch()["connected"], "the end of the connection")
    time.sleep(1)
    assert not controller.switch()["connected"]
