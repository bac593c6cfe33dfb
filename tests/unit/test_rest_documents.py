"""Edits of the policy document, problem documents, and the interface's description."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from webob import Request

from policies.load import parse
from ryu_apps.policy.changes import PolicyChanges
from ryu_apps.policy.edit import document_text, plain, replace_file, routes_of, with_routes
from ryu_apps.policy.file import PolicyFile
from ryu_apps.rest import changes as rest_changes
from ryu_apps.rest import inspection as rest
from ryu_apps.rest import page as rest_page
from ryu_apps.rest import stats as rest_stats
from ryu_apps.rest.application import METHODS, PAGE_PATHS, READS_BY_POST, RestApplication
from ryu_apps.rest.openapi import description
from ryu_apps.rest.problem import HttpProblem, problem_response

DOCUMENTS = Path(__file__).parents[2] / "policies/documents"
ROUTE = {"target_socket": "internal_201", "match_fields": {"ip": "nw_dst=100.104.70.12"}}


def functions(document: Any) -> list[str]:
    return [route["function"] for route in document["privacy_router"]["openflow"]["function_routing"]]


@pytest.mark.parametrize("name", ["privacy-router.json", "privacy-router.yaml", "all-keys.yaml"])
def test_a_document_written_anew_means_the_same(name: str) -> None:
    text = (DOCUMENTS / name).read_text()
    document = plain(text, name)
    again = document_text(document, text, name)
    assert plain(again, name) == document
    assert parse(again, name) == parse(text, name)


def test_values_that_look_like_others_stay_what_they_are() -> None:
    document = {"a": ["on", "no", "1e3", "0x10", "null", "~", "2026-01-01", "", " x ", "é→", True, None, 7]}
    for file in ("x.yaml", "x.json"):
        assert plain(document_text(document, "", file), file) == document


def test_a_file_whose_name_says_nothing_keeps_its_form() -> None:
    for before in ("a: 1\n", '{\n  "a": 1\n}\n'):
        assert document_text(plain(before, "policy"), before, "policy") == before


@pytest.mark.parametrize(
    ("shipped", "named", "type_given", "type_refused"),
    [
        ("privacy-router.json", "policy.json", "application/json", "application/yaml"),
        ("privacy-router.yaml", "policy.yml", "application/yaml", "text/plain"),
        ("privacy-router.json", "policy", "application/json", "application/yaml"),
        ("privacy-router.yaml", "policy", "application/yaml", "text/plain"),
    ],
)
def test_a_document_is_given_and_taken_in_the_file_s_own_form(
    tmp_path: Path, shipped: str, named: str, type_given: str, type_refused: str
) -> None:
    policy = tmp_path / named
    policy.write_text((DOCUMENTS / shipped).read_text())
    policy_file = PolicyFile(policy)
    app = SimpleNamespace(policy_file=policy_file, changes=PolicyChanges(policy_file, lambda trigger: None))
    controller: Any = object.__new__(rest_changes.ChangeController)
    controller.service = SimpleNamespace(app=app)
    given = controller.policy(Request.blank("/v1/policy"))
    assert (given.content_type, given.text) == (type_given, policy.read_text())
    asked = {"path": "/v1/policy?validate=only", "method": "PUT", "body": given.body}
    assert controller.put_policy(Request.blank(content_type=type_given, **asked)).json["valid"]
    with pytest.raises(HttpProblem, match="Content-Type"):
        controller.put_policy(Request.blank(content_type=type_refused, **asked))


def test_routes_are_replaced_where_they_stood() -> None:
    document = plain((DOCUMENTS / "privacy-router.json").read_text(), "x.json")
    before = json.dumps(document)
    assert functions(with_routes(document, "vector_db", [ROUTE, ROUTE])) == ["vector_db", "vector_db", "bucket_storage"]
    assert functions(with_routes(document, "new", [ROUTE])) == ["vector_db", "bucket_storage", "new"]
    without = with_routes(document, "vector_db", ())
    assert functions(without) == ["bucket_storage"] and routes_of(without, "vector_db") == []
    assert routes_of(with_routes(without, "vector_db", [ROUTE]), "vector_db") == [{**ROUTE, "function": "vector_db"}]
    assert json.dumps(document) == before
    bare: dict[str, Any] = {"privacy_router": {}}
    assert routes_of(bare, "x") == [] and functions(with_routes(bare, "x", [ROUTE])) == ["x"]


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path, link = tmp_path / "policy.json", tmp_path / "link.json"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    before = path.open()
    replace_file(link, "new")
    assert path.read_text() == "new" and before.read() == "old" and link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and sorted(os.listdir(tmp_path)) == ["link.json", "policy.json"]
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "\ud800")
    assert path.read_text() == "new" and sorted(os.listdir(tmp_path)) == ["link.json", "policy.json"]
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "nothing", "new")


def test_a_problem_document() -> None:
    response = problem_response(HttpProblem(429, "too fast", {"more": 1}, {"Retry-After": "2"}))
    assert (response.status_int, response.content_type) == (429, "application/problem+json")
    assert response.headers["Retry-After"] == "2"
    expected = {"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "too fast", "more": 1}
    assert response.json == expected


def routes() -> set[tuple[str, str]]:
    """(method, path) of every handler."""
    controllers = (
        rest.RestController,
        rest_changes.ChangeController,
        rest_stats.StatsController,
        rest_page.PageController,
    )
    found = [
        getattr(member, "routing_info")  # noqa: B009
        for controller in controllers
        for member in vars(controller).values()
        if hasattr(member, "routing_info")
    ]
    return {(method, info["path"]) for info in found for method in info["methods"]}


def test_the_description_names_every_handler_and_no_other() -> None:
    described = {
        (method.upper(), path)
        for path, item in description()["paths"].items()
        for method in item
        if method.upper() in METHODS
    }
    assert described == {(method, path) for method, path in routes() if path not in PAGE_PATHS}
    changes = {(method, path) for method, path in described if method != "GET" and path not in READS_BY_POST}
    for method, path in changes:
        assert description()["paths"][path][method.lower()]["security"] == [{"token": []}]


def test_every_reference_in_the_description_leads_somewhere() -> None:
    text = yaml.safe_dump(description())
    for reference in set(re.findall(r"'?#/(components/[A-Za-z/]+)'?", text)):
        place: Any = description()
        for step in reference.split("/"):
            place = place[step]


def test_the_page_loads_nothing_from_elsewhere() -> None:
    web = Path(rest_page.__file__).parent / "web"
    for file in sorted(web.iterdir()):
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", text), file
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\bstyle=|\son[a-z]+=", text
        ), file


def test_a_fault_of_ours_is_a_problem_without_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[tuple[str, list[tuple[str, str]]]] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "SERVER_NAME": "x",
        "SERVER_PORT": "1",
        "wsgi.url_scheme": "http",
    }
    body = b"".join(RestApplication()(environ, lambda status, headers, exc=None: answers.append((status, headers))))
    assert answers[0][0].startswith("500") and json.loads(body)["detail"].startswith("a fault of this program")
    assert b"AttributeError" not in body and "AttributeError" in caplog.text  # it was never told its access
