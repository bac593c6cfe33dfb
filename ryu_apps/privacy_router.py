"""The Ryu application: makes the policy's bridge hold the policy's flow entries, and keeps it so.

    PRIVACY_ROUTER_POLICY=FILE ryu-manager ryu_apps.privacy_router
    ryu-manager --config-file CONF ryu_apps.privacy_router        # CONF: [privacy_router] policy_file = FILE

OpenFlow and REST listen on loopback unless told otherwise (--ofp-listen-host, --wsapi-host).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ryu import cfg
from ryu.app.wsgi import WSGIApplication
from ryu.base.app_manager import RyuApp
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3

from policies.errors import DocumentError
from ryu_apps.file_events import directory_watch, events, hangup_pipe
from ryu_apps.policy_file import PolicyFile
from ryu_apps.rest import APP, RestController
from ryu_apps.session import Session
from ryu_apps.switch import Connection

LOOPBACK = "127.0.0.1"
POLICY_VARIABLE = "PRIVACY_ROUTER_POLICY"
INVALID_DOCUMENT = 2  # exit code
HANGUP = "SIGHUP"

_ANSWERS = [
    ofp_event.EventOFPPortDescStatsReply,
    ofp_event.EventOFPFlowStatsReply,
    ofp_event.EventOFPBarrierReply,
    ofp_event.EventONFBundleCtrlMsg,
    ofp_event.EventOFPErrorMsg,
]


class PrivacyRouterApp(RyuApp):  # type: ignore[misc]
    OFP_VERSIONS = (ofproto_v1_3.OFP_VERSION,)
    _CONTEXTS = {"wsgi": WSGIApplication}  # noqa: RUF012 (Ryu's own name and type)
    LOGGER_NAME = "privacy_router"

    def __init__(self, *args: Any, wsgi: WSGIApplication, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.CONF.set_default("ofp_listen_host", LOOPBACK)
        self.CONF.set_default("wsapi_host", LOOPBACK)
        self.CONF.register_opts([cfg.StrOpt("policy_file")], group="privacy_router")
        logging.getLogger("ryu.lib.hub").setLevel(logging.WARNING)  # it logs every REST request
        self.policy_file = self._open_policy()
        self.waiters: dict[int, Any] = {}  # whom ryu.lib.ofctl_v1_3 wants its answers handed to
        self._sessions: dict[int, Session] = {}
        self._connections: dict[Any, Connection] = {}  # by Ryu datapath
        wsgi.register(RestController, {APP: self})

    @property
    def sessions(self) -> Iterable[Session]:
        """Of every switch seen so far, by datapath id."""
        return [self._sessions[dpid] for dpid in sorted(self._sessions)]

    def start(self) -> None:
        super().start()
        self.threads.append(hub.spawn(self._reload_at, hangup_pipe(), HANGUP))
        try:
            self.threads.append(
                hub.spawn(self._reload_at, directory_watch(self.policy_file.path), "policy file written")
            )
        except OSError as error:
            self.logger.error("%s is not watched, reload it by SIGHUP: %s", self.policy_file.path, error)

    def _open_policy(self) -> PolicyFile:
        """Raises SystemExit, which ends ryu-manager: without a valid policy there is nothing to do."""
        name = os.environ.get(POLICY_VARIABLE) or self.CONF.privacy_router.policy_file
        if not name:
            self.logger.error("no policy: set %s=FILE, or policy_file in [privacy_router]", POLICY_VARIABLE)
            raise SystemExit(INVALID_DOCUMENT)
        try:
            return PolicyFile(Path(name).absolute())
        except DocumentError as error:
            for problem in error.problems:
                self.logger.error("%s", problem)
            raise SystemExit(INVALID_DOCUMENT) from None

    def _reload_at(self, descriptor: int, trigger: str) -> None:
        for _ in events(descriptor):
            try:
                self._reload(trigger)
            except Exception:  # a fault of ours over one version of the file must not end the watch over it
                self.logger.exception("%s: not reloaded", self.policy_file.path)

    def _reload(self, trigger: str) -> None:
        before = self.policy_file.problems
        changed = self.policy_file.reload()
        problems = self.policy_file.problems
        if problems and (problems != before or trigger == HANGUP):
            for problem in problems:
                self.logger.error("%s", problem)
            self.logger.error("%s: refused, the last good version stays in force", self.policy_file.path)
        if changed or trigger == HANGUP:
            for session in self.sessions:
                session.wake(trigger)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])  # type: ignore[untyped-decorator]
    def _state_changed(self, event: Any) -> None:
        datapath = event.datapath
        if event.state == MAIN_DISPATCHER:
            connection = self._connections[datapath] = Connection(datapath)
            session = self._sessions.setdefault(datapath.id, Session(datapath.id, lambda: self.policy_file.current))
            session.connect(connection)
        elif datapath in self._connections:
            self._sessions[datapath.id].disconnect(self._connections.pop(datapath))

    @set_ev_cls(_ANSWERS, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def _answered(self, event: Any) -> None:
        message = event.msg
        if message.datapath in self._connections:
            self._connections[message.datapath].receive(message.xid, bytes(message.buf))
        self._hand_to_waiter(message)

    def _hand_to_waiter(self, message: Any) -> None:
        """The other half of ryu.lib.ofctl_utils.send_stats_request."""
        waiting = self.waiters.get(message.datapath.id, {})
        if message.xid not in waiting:
            return
        lock, messages = waiting[message.xid]
        messages.append(message)
        if not getattr(message, "flags", 0) & ofproto_v1_3.OFPMPF_REPLY_MORE:
            del waiting[message.xid]
            lock.set()

    @set_ev_cls(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def _port_changed(self, event: Any) -> None:
        message = event.msg
        what = {ofproto_v1_3.OFPPR_ADD: "added", ofproto_v1_3.OFPPR_DELETE: "deleted"}.get(message.reason, "modified")
        name = message.desc.name.decode(errors="replace")
        session = self._sessions.get(message.datapath.id)
        if session is not None and session.account.connected:
            session.wake(f"port {name} {what}")
