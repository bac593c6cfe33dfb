"""REST /v1, writing: the policy document as a whole, and single functions of it.

A change is an edit of the policy file, which is then reloaded as after any other edit. The answer comes when the
switches have confirmed the change, or says what failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import eventlet.tpool
from ryu.app.wsgi import Response, route
from ryu.lib import hub

from policies.document import read_text
from policies.errors import DocumentError
from ryu_apps.plan import Change, plan
from ryu_apps.policy_edit import document_text, is_json, plain, replace_file, routes_of, with_routes
from ryu_apps.policy_file import CompiledPolicy, revision
from ryu_apps.problem import HttpProblem, json_response
from ryu_apps.rest_api import JSON, Api, Service, boolean, expect_type, json_body, parameters, utf8
from ryu_apps.rest_readings import Seen
from ryu_apps.session import Session
from ryu_apps.target import target
from ryu_apps.view import Json, change_view

CONFIRMATION = 30.0  # seconds that an answer waits for the switches
_POLL = 0.005
_LONGEST = 1000  # characters of a problem's path or message, which may repeat what the document says
YAML = "application/yaml"
YAML_TYPES = (YAML, "application/x-yaml", "text/yaml")


@dataclass(frozen=True)
class _Affected:
    """A switch of the policy, and what the new policy changes on it."""

    session: Session
    compiled: CompiledPolicy  # its part of the policy
    change: Change
    names: Mapping[int, str]


class ChangeController(Api):
    @route("policy", "/v1/policy", methods=["GET"])  # type: ignore[untyped-decorator]
    def policy(self, request: Any) -> Response:
        parameters(request)
        policy_file = self.service.app.policy_file
        tag = f'"{policy_file.current.revision}"'
        if tag in request.headers.get("If-None-Match", ""):
            return Response(status=304, headers={"ETag": tag})
        content_type = JSON if is_json(policy_file.current.policy.source) else YAML
        response = Response(content_type=content_type, charset="UTF-8", text=policy_file.current.text)
        response.headers["ETag"] = tag
        return response

    @route("policy", "/v1/policy", methods=["PUT"])  # type: ignore[untyped-decorator]
    def put_policy(self, request: Any) -> Response:
        given = parameters(request, "validate", "dry_run")
        if given.get("validate", "only") != "only":
            raise HttpProblem(400, "validate: only was expected")
        is_dry_run = boolean(given, "dry_run")
        expect_type(request, (JSON, *([] if is_json(self._file) else YAML_TYPES)))
        text = utf8(request.body)
        with self.service.change:
            self._check_precondition(request)
            compiled = self._compile(text)
            if "validate" in given:
                entries = len(compiled.entries)
                return json_response({"valid": True, "revision": compiled.revision, "entries": entries})
            affected = list(_affected(self.service, compiled))
            if is_dry_run:
                switches = [_difference(each) for each in affected]
                return json_response({"valid": True, "revision": compiled.revision, "switches": switches})
            return self._apply(request, compiled, affected)

    @route("functions", "/v1/functions/{name}", methods=["PUT"])  # type: ignore[untyped-decorator]
    def put_function(self, request: Any, name: str) -> Response:
        parameters(request)
        expect_type(request, (JSON,))
        routes = _routes(request.body)
        return self._edit(request, name, lambda document: with_routes(document, name, routes))

    @route("functions", "/v1/functions/{name}", methods=["DELETE"])  # type: ignore[untyped-decorator]
    def delete_function(self, request: Any, name: str) -> Response:
        parameters(request)

        def without(document: Any) -> Any:
            if not routes_of(document, name):
                raise HttpProblem(404, f"the policy has no function {name[:64]}")
            return with_routes(document, name, ())

        return self._edit(request, name, without)

    @property
    def _file(self) -> str:
        return str(self.service.app.policy_file.path)

    def _edit(self, request: Any, name: str, edited: Callable[[Any], Any]) -> Response:
        with self.service.change:
            self._check_precondition(request)
            text = self._text_on_disk()
            if revision(text) != self.service.app.policy_file.current.revision:
                detail = "the policy file holds an edit that is not in force: mend or undo that first"
                raise HttpProblem(409, detail, {"problems": list(self.service.app.policy_file.problems)})
            document = edited(plain(text, self._file))
            compiled = self._compile(document_text(document, self._file))
            return self._apply(request, compiled, list(_affected(self.service, compiled)))

    def _check_precondition(self, request: Any) -> None:
        """If-Match names the document that the client has seen: the one in force, or an edit of it on disk."""
        wanted = request.headers.get("If-Match")
        if wanted is None or wanted.strip() == "*":
            return
        tags = {tag.strip() for tag in wanted.split(",")}
        if not {f'"{revision(self._text_on_disk())}"'} & tags:
            raise HttpProblem(412, "the policy file is another one than that of the If-Match header: read it again")

    def _text_on_disk(self) -> str:
        try:
            return read_text(Path(self._file))
        except DocumentError as error:
            raise HttpProblem(409, f"the policy file cannot be read: {error.problems[0].message}") from None

    def _compile(self, text: str) -> CompiledPolicy:
        """In a thread: a large document takes seconds, in which the switches' echo requests want answers."""
        try:
            compiled: CompiledPolicy = eventlet.tpool.execute(self.service.app.policy_file.compile, text)
        except DocumentError as error:
            problems = [
                {
                    "line": problem.place.line,
                    "path": problem.place.path[:_LONGEST],
                    "message": problem.message[:_LONGEST],
                }
                for problem in error.problems
            ]
            detail = f"not a valid policy: {len(problems)} problems; nothing was changed"
            raise HttpProblem(422, detail, {"problems": problems}) from None
        return compiled

    def _apply(self, request: Any, compiled: CompiledPolicy, affected: Iterable[_Affected]) -> Response:
        policy_file = self.service.app.policy_file
        changed = compiled.revision != policy_file.current.revision or bool(policy_file.problems)
        started = time.time()
        if changed:
            try:
                replace_file(policy_file.path, compiled.text)
            except OSError as error:
                detail = f"the policy file cannot be written: {error.strerror}; nothing was changed"
                raise HttpProblem(500, detail) from None
            self.service.app.reload(f"REST {request.remote_addr} {request.method} {request.path}")
            if policy_file.current.revision != compiled.revision:
                raise HttpProblem(409, "the policy file was written by somebody else at the same time: read it again")
        outcomes = [_outcome(each, started) for each in affected] if changed else []
        answer = {"changed": changed, "revision": compiled.revision, "switches": outcomes}
        failed = [outcome["name"] for outcome in outcomes if outcome["outcome"] not in ("confirmed", "unchanged")]
        if failed:
            detail = f"the policy is in force, but not confirmed by {', '.join(failed)}"
            raise HttpProblem(502, detail, answer)
        headers = {"ETag": f'"{compiled.revision}"'}
        return json_response(answer, 200 if outcomes or not changed else 202, headers)


def _affected(service: Service, compiled: CompiledPolicy) -> Iterator[_Affected]:
    for session, seen in service.seen(0):
        if seen is None:
            continue
        part = compiled.for_switch(session.account.dpid, seen.reading.name)
        if seen.reading.name == part.policy.bridge_name:
            yield _Affected(session, part, _change(part, seen), seen.reading.port_names)


def _change(compiled: CompiledPolicy, seen: Seen) -> Change:
    wanted = target(compiled, seen.reading.ports, lambda: hub.sleep(0))
    return plan(wanted.entries.values(), seen.reading.entries, wanted.swept)


def _difference(affected: _Affected) -> Json:
    account = affected.session.account
    entries = change_view(affected.change, affected.compiled, affected.names)
    return {"dpid": account.dpid, "name": account.name, "messages": len(affected.change), "entries": entries}


def _outcome(affected: _Affected, started: float) -> Json:
    """Waits for the end of the switch's change, which began after ``started`` (Unix time)."""
    deadline = time.monotonic() + CONFIRMATION
    session = affected.session
    outcome = "not confirmed in time" if affected.change else "unchanged"
    last = None
    while affected.change and time.monotonic() < deadline:
        last = session.account.last_change
        if last is not None and last.time >= started:
            outcome = "confirmed" if last.confirmed else "failed"
            break
        if session.connection is None:
            outcome = "disconnected"
            break
        hub.sleep(_POLL)
    told = last if outcome in ("confirmed", "failed") else None
    return {
        "dpid": session.account.dpid,
        "name": session.account.name,
        "outcome": outcome,
        "messages": told.messages if told else 0,
        "milliseconds": told.milliseconds if told else None,
        "reason": told.reason if told else None,
    }


def _routes(body: bytes) -> list[dict[str, Any]]:
    """The routes in ``{"routes": [{...}, ...]}``; what is in them is judged with the document. Raises HttpProblem."""
    given = json_body(body)
    routes = given.get("routes") if isinstance(given, dict) and set(given) == {"routes"} else None
    if not isinstance(routes, list) or not routes or not all(isinstance(each, dict) for each in routes):
        raise HttpProblem(422, '{"routes": [...]} with at least one object was expected')
    if any("function" in each for each in routes):
        raise HttpProblem(422, "function: the path names it")
    return routes
