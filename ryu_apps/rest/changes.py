"""REST /v1, writing: the policy document as a whole, and single functions of it.

A change is an edit of the policy file, which is then reloaded as after any other edit. The answer comes when the
switches have confirmed the change, or says what failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ryu.app.wsgi import Response, route
from ryu.lib import hub

from policies.document import is_json, read_text
from policies.errors import DocumentError
from policies.words import counted
from ryu_apps.policy.changes import PolicyChanges
from ryu_apps.policy.edit import document_text, plain, routes_of, with_routes
from ryu_apps.policy.file import CompiledPolicy, revision
from ryu_apps.rest.api import Api, Service, boolean, expect_type, json_body, parameters, utf8
from ryu_apps.rest.problem import JSON, HttpProblem, json_response
from ryu_apps.rest.view import Json, change_view
from ryu_apps.switches.account import LastChange
from ryu_apps.switches.plan import plan
from ryu_apps.switches.session import Session, Verdict
from ryu_apps.switches.target import Draft
from ryu_apps.turns import give_way

CONFIRMED, UNCHANGED, FAILED = "confirmed", "unchanged", "failed"
SETTLED = (CONFIRMED, UNCHANGED)
CONFIRMATION = 30.0  # seconds that an answer waits for the switches
_POLL = 0.005
_LONGEST = 1000  # characters of a problem's path or message, which may repeat what the document says
YAML = "application/yaml"
YAML_TYPES = (YAML, "application/x-yaml", "text/yaml")


class ChangeController(Api):
    @route("policy", "/v1/policy", methods=["GET"])  # type: ignore[untyped-decorator]
    def policy(self, request: Any) -> Response:
        parameters(request)
        current = self.service.app.policy_file.current
        tag = f'"{current.revision}"'
        if tag in request.headers.get("If-None-Match", ""):
            return Response(status=304, headers={"ETag": tag})
        content_type = JSON if is_json(current.text, current.policy.source) else YAML
        response = Response(content_type=content_type, charset="UTF-8", text=current.text)
        response.headers["ETag"] = tag
        return response

    @route("policy", "/v1/policy", methods=["PUT"])  # type: ignore[untyped-decorator]
    def put_policy(self, request: Any) -> Response:
        given = parameters(request, "validate", "dry_run")
        if given.get("validate", "only") != "only":
            raise HttpProblem(400, "validate: only was expected")
        is_dry_run = boolean(given, "dry_run")
        text = utf8(request.body)
        expect_type(request, (JSON, *([] if is_json(text, self._file) else YAML_TYPES)))
        with self._changes.turn:
            self._check_precondition(request)
            compiled = self._compile(text)
            if "validate" in given:
                entries = len(compiled.entries)
                return json_response({"valid": True, "revision": compiled.revision, "entries": entries})
            if is_dry_run:
                switches = list(_differences(self.service, compiled))
                return json_response({"valid": True, "revision": compiled.revision, "switches": switches})
            return self._apply(request, compiled)

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
    def _changes(self) -> PolicyChanges:
        return self.service.app.changes

    @property
    def _file(self) -> str:
        return str(self._changes.policy_file.path)

    def _edit(self, request: Any, name: str, edited: Callable[[Any], Any]) -> Response:
        with self._changes.turn:
            self._check_precondition(request)
            text = self._text_on_disk()
            if revision(text) != self._changes.policy_file.current.revision:
                detail = "the policy file holds an edit that is not in force: mend or undo that first"
                raise HttpProblem(409, detail, {"problems": list(self._changes.policy_file.problems)})
            file = self._file
            after = self._changes.aside(lambda: document_text(edited(plain(text, file)), text, file))
            return self._apply(request, self._compile(after))

    def _check_precondition(self, request: Any) -> None:
        """If-Match names the document that the client has seen: the one in force, or an edit of it on disk."""
        wanted = request.headers.get("If-Match")
        if wanted is None or wanted.strip() == "*":
            return
        tags = {tag.strip() for tag in wanted.split(",")}
        if f'"{revision(self._text_on_disk())}"' not in tags:
            raise HttpProblem(412, "the policy file is another one than that of the If-Match header: read it again")

    def _text_on_disk(self) -> str:
        try:
            return read_text(Path(self._file))
        except DocumentError as error:
            raise HttpProblem(409, f"the policy file cannot be read: {error.problems[0].message}") from None

    def _compile(self, text: str) -> CompiledPolicy:
        try:
            return self._changes.aside(self._changes.policy_file.compile, text)
        except DocumentError as error:
            problems = [
                {
                    "line": problem.place.line,
                    "path": problem.place.path[:_LONGEST],
                    "message": problem.message[:_LONGEST],
                }
                for problem in error.problems
            ]
            detail = f"not a valid policy: {counted(len(problems), 'problem')}; nothing was changed"
            raise HttpProblem(422, detail, {"problems": problems}) from None

    def _apply(self, request: Any, compiled: CompiledPolicy) -> Response:
        """Puts the policy in force; if a switch refuses it, the former one again."""
        policy_file = self._changes.policy_file
        former, outcomes = policy_file.current, []
        changed = compiled.revision != former.revision or bool(policy_file.problems)
        if changed:
            trigger = f"REST {request.remote_addr} {request.method} {request.path}"
            outcomes = self._put(compiled, trigger)
            if any(outcome["outcome"] == FAILED for outcome in outcomes):
                raise self._put_back(former, f"{trigger}, put back", outcomes)
        answer = {"changed": changed, "revision": compiled.revision, "switches": outcomes}
        silent = [outcome["name"] for outcome in outcomes if outcome["outcome"] not in SETTLED]
        if silent:
            raise HttpProblem(502, f"the policy is in force, but not confirmed by {', '.join(silent)}", answer)
        headers = {"ETag": f'"{compiled.revision}"'}
        return json_response(answer, 200 if outcomes or not changed else 202, headers)

    def _put(self, compiled: CompiledPolicy, trigger: str) -> list[Json]:
        """What became of it on each switch of the policy. Raises HttpProblem."""
        was = self._changes.policy_file.current
        before = {session: session.verdict for session in self.service.app.sessions}
        try:
            in_force = self._changes.put(compiled, trigger)
        except OSError as error:
            detail = (
                f"the policy file cannot be written: {error.strerror}; nothing was changed. The controller must own it"
                " and be let write in its directory: docs/operating.md, Changes over REST"
            )
            raise HttpProblem(500, detail) from None
        if not in_force:
            raise HttpProblem(409, "the policy file was written by somebody else at the same time: read it again")
        now = self._changes.policy_file.current
        served = list(_served(self.service, now))
        if now is was:  # only the file held another one: nobody looks again
            return [_outcome(session, UNCHANGED, None) for session, _ in served]
        return [outcome(session, part, before.get(session)) for session, part in served]

    def _put_back(self, former: CompiledPolicy, trigger: str, refused: list[Json]) -> HttpProblem:
        names = ", ".join(outcome["name"] for outcome in refused if outcome["outcome"] == FAILED)
        try:
            outcomes = self._put(former, trigger)
        except HttpProblem as problem:
            detail = f"refused by {names}, and the former policy could not be put back: {problem.detail}"
            return HttpProblem(502, detail, {"switches": refused})
        silent = [outcome["name"] for outcome in outcomes if outcome["outcome"] not in SETTLED]
        detail = f"refused by {names}; the former policy is in force again"
        if silent:
            detail += f", but not confirmed by {', '.join(silent)}"
        answer = {"changed": False, "revision": former.revision, "switches": refused, "put_back": outcomes}
        return HttpProblem(502, detail, answer)


def _served(service: Service, compiled: CompiledPolicy) -> Iterator[tuple[Session, CompiledPolicy]]:
    """The connected switches of a policy, each with its part."""
    for session in service.app.sessions:
        part = compiled.for_switch(session.account.dpid, session.account.name)
        if session.connection is not None and session.account.name == part.policy.bridge_name:
            yield session, part


def _differences(service: Service, compiled: CompiledPolicy) -> Iterator[Json]:
    """What the policy would change on each of its switches."""
    served = dict(_served(service, compiled))
    for session, seen in service.seen(0):
        if session not in served or seen is None:
            continue
        part, account = served[session], session.account
        wanted = Draft(part, seen.reading.ports).whole(give_way)
        change = plan(wanted.entries.items(), seen.reading.entries, wanted.swept)
        entries = change_view(change, part, seen.reading.port_names)
        yield {"dpid": account.dpid, "name": account.name, "messages": len(change), "entries": entries}


def outcome(session: Session, part: CompiledPolicy, before: Verdict | None) -> Json:
    """Waits until the switch has dealt with its part of the policy; ``before``: what it said last.

    That may have been about the same policy: a switch that took too long over another one, which is put back now.
    """
    deadline = time.monotonic() + CONFIRMATION
    while (verdict := session.verdict) is None or verdict is before or verdict.compiled is not part:
        if session.connection is None:
            return _outcome(session, "disconnected", None)
        if time.monotonic() > deadline:
            return _outcome(session, "not confirmed in time", None)
        hub.sleep(_POLL)
    if verdict.change is None:
        return _outcome(session, UNCHANGED, None)
    return _outcome(session, CONFIRMED if verdict.change.confirmed else FAILED, verdict.change)


def _outcome(session: Session, word: str, told: LastChange | None) -> Json:
    return {
        "dpid": session.account.dpid,
        "name": session.account.name,
        "outcome": word,
        "messages": told.messages if told else 0,
        "milliseconds": told.milliseconds if told else None,
        "reason": told.reason if told else None,
        "refusal": asdict(told.refusal) if told and told.refusal else None,
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
