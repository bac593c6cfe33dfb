"""What is served as it is: the page, the interface's description, and the metrics."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from ryu.app.wsgi import Response, route

from ryu_apps.rest.api import Api
from ryu_apps.rest.openapi import description
from ryu_apps.rest.problem import json_response

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PageController(Api):
    @route("page", "/", methods=["GET"])  # type: ignore[untyped-decorator]
    def page(self, _request: Any) -> Response:
        return _file("index.html", "text/html")

    @route("page", "/style.css", methods=["GET"])  # type: ignore[untyped-decorator]
    def style(self, _request: Any) -> Response:
        return _file("style.css", "text/css")

    @route("page", "/page.js", methods=["GET"])  # type: ignore[untyped-decorator]
    def script(self, _request: Any) -> Response:
        return _file("page.js", "text/javascript")

    @route("openapi", "/v1/openapi.json", methods=["GET"])  # type: ignore[untyped-decorator]
    def openapi(self, _request: Any) -> Response:
        return json_response(description())

    @route("metrics", "/metrics", methods=["GET"])  # type: ignore[untyped-decorator]
    def metrics(self, _request: Any) -> Response:
        response = Response(body=self.service.metrics.text())
        response.headers["Content-Type"] = CONTENT_TYPE_LATEST
        return response


def _file(name: str, content_type: str) -> Response:
    text = files("ryu_apps.rest").joinpath("web", name).read_text("utf-8")
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}
    response = Response(content_type=content_type, text=text)
    response.headers.update(headers)
    return response
