"""The interface is as its description says: held against it with generated requests (schemathesis). Needs root."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rest_client import RestClient, token
from switch_sandbox import Controller, Sandbox, Switch

REST = "http://127.0.0.1:8080"
EXAMPLES = "200" if os.environ.get("SOAK") else "12"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,negative_data_rejection,ignored_auth,unsupported_method"
)
PHASES = "examples,coverage,fuzzing"
# Bounds on requests would answer in the interface's stead.
CONTROLLER = "[privacy_router]\nrest_requests_per_second = 100000\n"
GENERATED = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 405, 409, 412, 415, 422]
"""
# What exists, for the handlers behind the question whether it does.
EXISTING = """
[parameters]
"path.name" = "vector_db"
"path.dpid" = "{dpid}"
"path.port" = "1"
"header.If-Match" = "*"
"""


def test_the_interface_is_as_described(sandbox: Sandbox, switch: Switch, controller: Controller) -> None:
    settings = sandbox.directory / "ryu.conf"
    settings.write_text(CONTROLLER)
    controller.start("--config-file", str(settings))
    dpid = controller.wait_until_confirmed(1)["dpid"]
    for number, configuration in enumerate((GENERATED, GENERATED + EXISTING.format(dpid=dpid))):
        file, log = sandbox.directory / f"{number}.toml", sandbox.directory / f"schemathesis-{number}.log"
        file.write_text(configuration)
        run = sandbox.start(
            Path(sys.executable).with_name("schemathesis"), "--config-file", file, "run", f"{REST}/v1/openapi.json",
            "--header", f"Authorization: Bearer {token(sandbox)}", "--checks", CHECKS, "--phases", PHASES,
            "--max-examples", EXAMPLES, "--seed", "1", "--no-color", "--generation-database", "none", log=log,
        )  # fmt: skip
        assert run.wait(timeout=600) == 0, log.read_text()
    assert RestClient(sandbox).get("/v1/status").json["switches"][0]["connected"]
    assert "Traceback" not in controller.log.read_text()
