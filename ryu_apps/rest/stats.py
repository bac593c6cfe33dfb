"""/stats, for clients of Ryu's ofctl_rest: the same shapes, by the same code of Ryu's, and reading only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ryu.app.wsgi import Response, route
from ryu.lib import ofctl_v1_3

from ryu_apps.rest.api import Api
from ryu_apps.rest.problem import JSON, HttpProblem

_PORTS = 0xFFFFFFFF


class StatsController(Api):
    @route("stats", "/stats/switches", methods=["GET"])  # type: ignore[untyped-decorator]
    def switches(self, _request: Any) -> Response:
        return _as_ryu([session.account.dpid for session in self.service.app.sessions if session.connection])

    @route("stats", "/stats/flow/{dpid}", methods=["GET"])  # type: ignore[untyped-decorator]
    def flow(self, _request: Any, dpid: str) -> Response:
        return self._ask(dpid, ofctl_v1_3.get_flow_stats)

    @route("stats", "/stats/table/{dpid}", methods=["GET"])  # type: ignore[untyped-decorator]
    def table(self, _request: Any, dpid: str) -> Response:
        return self._ask(dpid, ofctl_v1_3.get_table_stats)

    @route("stats", "/stats/portdesc/{dpid}", methods=["GET"])  # type: ignore[untyped-decorator]
    def portdesc(self, _request: Any, dpid: str) -> Response:
        return self._ask(dpid, ofctl_v1_3.get_port_desc)

    @route("stats", "/stats/port/{dpid}", methods=["GET"])  # type: ignore[untyped-decorator]
    def ports(self, _request: Any, dpid: str) -> Response:
        return self._ask(dpid, ofctl_v1_3.get_port_stats)

    @route("stats", "/stats/port/{dpid}/{port}", methods=["GET"])  # type: ignore[untyped-decorator]
    def port(self, _request: Any, dpid: str, port: str) -> Response:
        if port == "ALL":
            return self._ask(dpid, ofctl_v1_3.get_port_stats)
        if not (port.isascii() and port.isdigit() and len(port) <= 10 and int(port) <= _PORTS):
            raise HttpProblem(400, f"{port[:64]}: a port number or ALL was expected")
        return self._ask(dpid, ofctl_v1_3.get_port_stats, int(port))

    def _ask(self, dpid: str, question: Callable[..., Any], *arguments: Any) -> Response:
        try:
            wanted = int(dpid, 0)
        except ValueError:
            raise HttpProblem(400, f"{dpid[:64]}: a datapath id was expected") from None
        for session in self.service.app.sessions:
            if session.account.dpid == wanted and session.connection is not None:
                return _as_ryu(question(session.connection.datapath, self.service.app.waiters, *arguments))
        raise HttpProblem(404, f"no switch with datapath id {dpid[:64]} is connected")


def _as_ryu(value: object) -> Response:
    """To the last octet: without the end of line that our own answers have."""
    return Response(content_type=JSON, text=json.dumps(value))
