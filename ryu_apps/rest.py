"""The REST interface: reads the switches when it is asked, and changes nothing."""

from __future__ import annotations

import json
from typing import Any

from ryu.app.wsgi import ControllerBase, Response, route
from ryu.lib import ofctl_v1_3

from ryu_apps.session import Session
from ryu_apps.switch import Reading, SwitchSilent
from ryu_apps.view import chain_view, policy_view, switch_view

APP = "app"  # the key under which the controller class finds the application


class RestController(ControllerBase):  # type: ignore[misc]
    """One request. Ryu makes an instance of it for each."""

    def __init__(self, req: Any, link: Any, data: Any, **config: Any) -> None:
        super().__init__(req, link, data, **config)
        self._app = data[APP]

    @route("flows", "/v1/flows", methods=["GET"])  # type: ignore[untyped-decorator]
    def flows(self, _request: Any) -> Response:
        compiled = self._app.policy_file.current
        return _json(
            {
                "policy": policy_view(compiled, self._app.policy_file.problems),
                "switches": [
                    switch_view(session.account, compiled, reading.ports, reading.installed)
                    if (reading := _read(session))
                    else switch_view(session.account, compiled, {}, None)
                    for session in self._app.sessions
                ],
            }
        )

    @route("chain", "/v1/chain", methods=["GET"])  # type: ignore[untyped-decorator]
    def chain(self, _request: Any) -> Response:
        compiled = self._app.policy_file.current
        session = next((session for session in self._app.sessions if session.account.ours), None)
        reading = _read(session) if session else None
        account = session.account if session else None
        return _json(
            chain_view(account, compiled, reading.ports if reading else {}, reading.installed if reading else ())
        )

    @route("stats", "/stats/switches", methods=["GET"])  # type: ignore[untyped-decorator]
    def switches(self, _request: Any) -> Response:
        return _json([session.account.dpid for session in self._app.sessions if session.connection])

    @route("stats", "/stats/flow/{dpid}", methods=["GET"])  # type: ignore[untyped-decorator]
    def flow_stats(self, _request: Any, dpid: str) -> Response:
        """In the shape of ryu.app.ofctl_rest, by the same code."""
        session = self._session(dpid)
        if session is None or session.connection is None:
            return _json({"error": f"no switch with datapath id {dpid} is connected"}, status=404)
        return _json(ofctl_v1_3.get_flow_stats(session.connection.datapath, self._app.waiters))

    def _session(self, dpid: str) -> Session | None:
        try:
            number = int(dpid, 0)
        except ValueError:
            return None
        return next((session for session in self._app.sessions if session.account.dpid == number), None)


def _read(session: Session) -> Reading | None:
    try:
        return session.connection.read() if session.connection else None
    except SwitchSilent:
        return None


def _json(value: object, status: int = 200) -> Response:
    return Response(status=status, content_type="application/json", charset="UTF-8", text=json.dumps(value))
