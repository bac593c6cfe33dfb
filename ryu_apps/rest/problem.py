"""Errors of the REST interface as problem documents (RFC 9457): a status for programs, a sentence for people.

Nothing of the program's insides is in them, no stack trace and no path of its code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from ryu.app.wsgi import Response

CONTENT_TYPE = "application/problem+json"
JSON = "application/json"


class HttpProblem(Exception):
    """An answer that is an error. ``members`` go into the problem document, ``headers`` into the response."""

    def __init__(
        self,
        status: int,
        detail: str,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.members = dict(members or {})
        self.headers = dict(headers or {})


def problem_document(problem: HttpProblem) -> dict[str, Any]:
    return {
        # "about:blank": the status says what kind of problem it is (RFC 9457, 4.2.1).
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.members,
    }


def problem_response(problem: HttpProblem) -> Response:
    response = Response(status=problem.status, content_type=CONTENT_TYPE, text=json_line(problem_document(problem)))
    response.headers.update(problem.headers)
    return response


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(status=status, content_type=JSON, text=json_line(value))
    response.headers.update(headers or {})
    return response


def json_line(value: object) -> str:
    """A line with its end: behind the answer a terminal's prompt stands at the left."""
    return json.dumps(value, ensure_ascii=False) + "\n"
