"""The Ryu application: makes the policy's bridge hold the policy's flow entries, and keeps it so.

    PRIVACY_ROUTER_POLICY=FILE ryu-manager ryu_apps.privacy_router
    ryu-manager --config-file CONF ryu_apps.privacy_router        # CONF: [privacy_router] policy_file = FILE

OpenFlow and REST listen on loopback unless told otherwise (--ofp-listen-host, --wsapi-host).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ryu.base.app_manager import RyuApp
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, HANDSHAKE_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3

from policies.errors import DocumentError
from ryu_apps.events import EventLog, event
from ryu_apps.listening import CannotListen
from ryu_apps.options import GROUP, POLICY_OPTIONS, POLICY_VARIABLE, TOPOLOGY_VARIABLE
from ryu_apps.policy import memory
from ryu_apps.policy.changes import HANGUP, PolicyChanges
from ryu_apps.policy.file import PolicyFile
from ryu_apps.policy.file_events import directory_watch, events, hangup_pipe
from ryu_apps.rest.application import RestApplication
from ryu_apps.rest.start import start_rest
from ryu_apps.switches import intake, server
from ryu_apps.switches.connection import Connection
from ryu_apps.switches.peers import HANDSHAKE_SECONDS
from ryu_apps.switches.session import Session

LOOPBACK = "127.0.0.1"
ECHO_SECONDS, UNANSWERED_ECHOES = 5.0, 3  # a switch that is gone without a word is missed after 20 s
REMEMBERED = 32  # switches that are not connected
BAD_USAGE = 2  # exit code; of an invalid document, too

_ANSWERS = [
    ofp_event.EventOFPPortDescStatsReply,
    ofp_event.EventOFPFlowStatsReply,
    ofp_event.EventOFPPortStatsReply,
    ofp_event.EventOFPTableStatsReply,
]


class PrivacyRouterApp(RyuApp):  # type: ignore[misc]
    OFP_VERSIONS = (ofproto_v1_3.OFP_VERSION,)
    _CONTEXTS = {"rest": RestApplication}  # noqa: RUF012 (Ryu's own name and type)
    LOGGER_NAME = "privacy_router"

    def __init__(self, *args: Any, rest: RestApplication, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.CONF.set_default("ofp_listen_host", LOOPBACK)
        self.CONF.set_default("wsapi_host", LOOPBACK)
        self.CONF.set_default("maximum_unreplied_echo_requests", UNANSWERED_ECHOES)
        self.CONF.set_default("echo_request_interval", ECHO_SECONDS)
        self.CONF.register_opts(POLICY_OPTIONS, group=GROUP)
        happened = EventLog(last=int(time.time() * 1000))
        self.logger.addHandler(happened)
        self.changes = PolicyChanges(self._open_policy(), self._wake)
        self._tell_policy()
        self.waiters: dict[int, Any] = {}  # whom ryu.lib.ofctl_v1_3 wants its answers handed to
        self._sessions: dict[int, Session] = {}
        self._connections: dict[Any, Connection] = {}  # by Ryu datapath
        intake.install()
        try:
            server.install(self.CONF)
            self.threads.append(start_rest(self.CONF, rest, self, happened))
        except CannotListen as error:
            self.logger.error("%s", error)
            raise SystemExit(BAD_USAGE) from None

    @property
    def policy_file(self) -> PolicyFile:
        return self.changes.policy_file

    @property
    def sessions(self) -> Iterable[Session]:
        """Of every switch seen so far, by datapath id."""
        return [self._sessions[dpid] for dpid in sorted(self._sessions)]

    def start(self) -> None:
        super().start()
        memory.settle()
        self.threads.append(hub.spawn(self._follow_at, hangup_pipe(), HANGUP))
        self._watch(self.policy_file.path, "policy file written")
        if self.policy_file.topology_path is not None:
            self._watch(self.policy_file.topology_path, "topology file written")

    def _watch(self, path: Path, trigger: str) -> None:
        try:
            self.threads.append(hub.spawn(self._follow_at, directory_watch(path), trigger))
        except OSError as error:
            self.logger.error("%s is not watched, reload it by SIGHUP: %s", path, error)

    def _open_policy(self) -> PolicyFile:
        """Raises SystemExit, which ends ryu-manager: without a valid policy there is nothing to do."""
        name = os.environ.get(POLICY_VARIABLE) or self.CONF.privacy_router.policy_file
        if not name:
            self.logger.error("no policy: set %s=FILE, or policy_file in [privacy_router]", POLICY_VARIABLE)
            raise SystemExit(BAD_USAGE)
        try:
            topology = os.environ.get(TOPOLOGY_VARIABLE) or self.CONF.privacy_router.topology_file
            return PolicyFile(Path(name).absolute(), Path(topology).absolute() if topology else None)
        except DocumentError as error:
            for problem in error.problems:
                self.logger.error("%s", problem, extra=event("refused", trigger="start", problems=(str(problem),)))
            raise SystemExit(BAD_USAGE) from None

    def _tell_policy(self) -> None:
        current, words = self.policy_file.current, "policy %s in force: %s, read and proved in %.1f ms"
        extra = event("policy", trigger="start", revision=current.revision, milliseconds=current.milliseconds)
        self.logger.info(words, current.revision[:8], self.policy_file.path, current.milliseconds, extra=extra)

    def _follow_at(self, descriptor: int, trigger: str) -> None:
        for _ in events(descriptor):
            try:
                self.changes.follow(trigger)
            except Exception:  # a fault of ours over one version of the file must not end the watch over it
                self.logger.exception("%s: not reloaded", self.policy_file.path)

    def _wake(self, trigger: str) -> None:
        for session in self.sessions:
            session.wake(trigger)

    @set_ev_cls(  # type: ignore[untyped-decorator]
        ofp_event.EventOFPStateChange, [HANDSHAKE_DISPATCHER, MAIN_DISPATCHER, DEAD_DISPATCHER]
    )
    def _state_changed(self, event: Any) -> None:
        datapath = event.datapath
        if event.state == HANDSHAKE_DISPATCHER:
            hub.spawn_after(HANDSHAKE_SECONDS, intake.hang_up_unfinished, datapath)
        elif event.state == MAIN_DISPATCHER:
            session = self._sessions.setdefault(datapath.id, Session(datapath.id, lambda: self.policy_file.current))
            self._connections[datapath] = session.open(datapath)
        elif datapath in self._connections:
            session = self._sessions[datapath.id]
            session.disconnect(self._connections.pop(datapath))
            self._forget()

    def _forget(self) -> None:
        """Anybody may call itself by any number of datapath ids: of those that are gone only a few are remembered."""
        here = {datapath.id for datapath in self._connections}  # those that wait to take over from another one too
        gone = [dpid for dpid in self._sessions if dpid not in here]
        strangers = [dpid for dpid in gone if not self._sessions[dpid].account.ours]
        for dpid in {*strangers, *gone[:-REMEMBERED]}:
            del self._sessions[dpid]

    @set_ev_cls(_ANSWERS, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def _answered(self, event: Any) -> None:
        """The other half of ryu.lib.ofctl_utils.send_stats_request."""
        message = event.msg
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
