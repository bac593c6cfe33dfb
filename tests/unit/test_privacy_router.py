"""Which switches the application remembers."""

from __future__ import annotations

from types import SimpleNamespace

from policy_documents import DOCUMENTS
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from table_switch import TableSwitch

from policies.load import load
from ryu_apps.flows.pipeline import compile_pipeline
from ryu_apps.policy.file import CompiledPolicy
from ryu_apps.privacy_router import PrivacyRouterApp

POLICY = load(DOCUMENTS / "privacy-router.json")
EXAMPLE = CompiledPolicy(POLICY, compile_pipeline(POLICY), "r")
PORTS = {
    name: number for number, name in enumerate(sorted({port for flow in EXAMPLE.entries for port in flow.ports}), 1)
}


def application() -> PrivacyRouterApp:
    """Without its files and servers."""
    app = object.__new__(PrivacyRouterApp)
    app._sessions, app._connections = {}, {}
    app.changes = SimpleNamespace(policy_file=SimpleNamespace(current=EXAMPLE))
    return app


def told(app: PrivacyRouterApp, switch: TableSwitch, state: str) -> None:
    app._state_changed(SimpleNamespace(datapath=switch, state=state))
    switch.settle()


def test_a_stranger_that_has_gone_is_forgotten_and_a_switch_of_ours_is_not() -> None:
    app, switch, stranger = application(), TableSwitch(PORTS), TableSwitch(PORTS, name="other0")
    stranger.id = 8
    for each in (switch, stranger):
        told(app, each, MAIN_DISPATCHER)
    assert [session.account.dpid for session in app.sessions] == [7, 8]
    for each in (switch, stranger):
        told(app, each, DEAD_DISPATCHER)
    assert [session.account.dpid for session in app.sessions] == [7]


def test_a_switch_whose_first_connection_ends_while_the_next_is_there_is_not_forgotten() -> None:
    app, first, again = application(), TableSwitch(PORTS), TableSwitch(PORTS)
    first.mute = True  # so nothing is known of it yet
    told(app, first, MAIN_DISPATCHER)
    told(app, again, MAIN_DISPATCHER)
    told(app, first, DEAD_DISPATCHER)
    (session,) = app.sessions
    assert session.account.connected and len(again.table) == len(EXAMPLE.entries)
    told(app, again, DEAD_DISPATCHER)
    assert not session.account.connected
