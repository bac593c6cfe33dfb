"""The gate and the router of the REST interface: what every request meets before and behind its handler."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from routes.util import URLGenerator
from ryu.app.wsgi import Request, Response, WSGIApplication
from ryu.lib import hub

from policies.document import LARGEST as LARGEST_DOCUMENT
from ryu_apps.rest.access import SAFE_METHODS, RequestRate, host_allowed, host_name, origin_allowed, token_matches
from ryu_apps.rest.problem import HttpProblem, problem_response
from ryu_apps.rest.server import CLOSE

LOG = logging.getLogger("privacy_router.rest")

LARGEST_BODY = 1024 * 1024
BODY_SECONDS = 30.0
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
POLICY_PATH = "/v1/policy"
READS_BY_POST = frozenset({"/v1/trace"})
PAGE_PATHS = frozenset({"/", "/style.css", "/page.js"})  # shown to everybody: nothing of the network is in them

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """What the operator allows. Without a token nobody may change anything; ``token_missing`` says why."""

    names: frozenset[str]
    token: str
    token_for_reads: bool
    rate: RequestRate
    token_missing: str = ""


class RestApplication(WSGIApplication):  # type: ignore[misc]
    """Ryu's router, guarded. Not its very class: Ryu then leaves it to the application to serve it."""

    access: Access

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            response = self._answer(environ)
        except HttpProblem as problem:
            response = problem_response(problem)
        except Exception:
            LOG.exception("%s %s: a fault of this program", environ["REQUEST_METHOD"], environ.get("RAW_PATH_INFO"))
            response = problem_response(HttpProblem(500, "a fault of this program; its log has the details"))
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        # A HEAD is answered as its GET; the body is left out here.
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _answer(self, environ: dict[str, Any]) -> Response:
        method = environ["REQUEST_METHOD"]
        request = Request({**environ, "REQUEST_METHOD": "GET"} if method == "HEAD" else environ)
        path = _path(request)
        self._admit(request)
        match = self.mapper.match(environ=request.environ)
        if not match:
            raise self._unmatched(request, path, method)
        self._authorise(request, path, method)
        self._take_body(request, LARGEST_DOCUMENT if path == POLICY_PATH else LARGEST_BODY)
        request.urlvars = match
        controller = match["controller"]
        link = URLGenerator(self.mapper, request.environ)
        handler = controller(request, link, self.registory.get(controller.__name__), **self.config)
        handler.parent = self
        return handler(request)

    def _admit(self, request: Request) -> None:
        """Whoever asks, for whatever it is. Raises HttpProblem."""
        headers = request.headers
        host = headers.get("Host", "")
        if not host_allowed(host, self.access.names):
            detail = f"this server is not {host_name(host) or 'without a name'}: name it in rest_hosts if it is"
            raise HttpProblem(421, detail)
        if not origin_allowed(headers.get("Origin"), request.scheme, host):
            raise HttpProblem(403, "asked by a page of another origin")
        seconds = self.access.rate.wait_seconds(request.remote_addr or "", time.monotonic())
        if seconds:
            headers = {"Retry-After": str(int(seconds) + 1)}
            raise HttpProblem(429, "more requests than rest_requests_per_second allows", headers=headers)

    def _authorise(self, request: Request, path: str, method: str) -> None:
        """Whether this one may ask for this. Raises HttpProblem."""
        is_read = method in SAFE_METHODS or (method == "POST" and path in READS_BY_POST)
        if path in PAGE_PATHS or (is_read and not self.access.token_for_reads):
            return
        if not self.access.token:
            raise HttpProblem(403, f"nothing can be changed over REST: {self.access.token_missing}")
        given = request.headers.get("Authorization")
        if not token_matches(given, self.access.token):
            if given:
                LOG.warning("%s: a wrong token for %s %s", request.remote_addr, method, path)
            challenge = {"WWW-Authenticate": 'Bearer realm="privacy router"'}
            raise HttpProblem(401, "needs the token: Authorization: Bearer TOKEN", headers=challenge)

    def _unmatched(self, request: Request, path: str, method: str) -> HttpProblem:
        allowed = [each for each in METHODS if self._routes(request, each)]
        if not allowed:
            return HttpProblem(404, f"there is no {path[:200]}")
        return HttpProblem(405, f"{method} is not for {path[:200]}", headers={"Allow": ", ".join(allowed)})

    def _routes(self, request: Request, method: str) -> bool:
        served = "GET" if method == "HEAD" else method
        return bool(self.mapper.match(environ={**request.environ, "REQUEST_METHOD": served}))

    def _take_body(self, request: Request, limit: int) -> None:
        """Reads the body whole, within bounds of size and time. Raises HttpProblem."""
        environ = request.environ
        too_large = HttpProblem(413, f"larger than {limit} octets")
        if int(environ.get("CONTENT_LENGTH") or 0) > limit:
            environ[CLOSE]()
            raise too_large
        try:
            with hub.Timeout(BODY_SECONDS, TimeoutError()):
                body = environ["wsgi.input"].read(limit + 1)
        except TimeoutError:
            environ[CLOSE]()
            raise HttpProblem(408, f"the body did not come within {BODY_SECONDS:.0f} s") from None
        except (OSError, ValueError):
            environ[CLOSE]()
            raise HttpProblem(400, "the body broke off") from None
        if len(body) > limit:
            environ[CLOSE]()
            raise too_large
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))


def _path(request: Request) -> str:
    try:
        return str(request.path_info)
    except UnicodeDecodeError:
        raise HttpProblem(400, "the path is not UTF-8") from None
