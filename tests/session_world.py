"""A session against a switch in memory, for what is tested of sessions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from table_switch import TableSwitch

from policies.load import load
from policies.model import PrivacyRouter
from ryu_apps.flows.pipeline import compile_pipeline
from ryu_apps.openflow.wire import SwitchEntry, resolve
from ryu_apps.policy.file import CompiledPolicy
from ryu_apps.switches.session import Session

DOCUMENT = Path(__file__).resolve().parents[1] / "policies/documents/privacy-router.json"
POLICY = load(DOCUMENT)
PORTS = {
    name: number
    for number, name in enumerate(
        ("internal_100", "warp0", "internal_101", "internal_200", "internal_201", "nm-privacy"), 1
    )
}


def compiled(policy: PrivacyRouter) -> CompiledPolicy:
    return CompiledPolicy(policy, compile_pipeline(policy), "r")


EXAMPLE = compiled(POLICY)
ROUTES = POLICY.openflow.function_routing
MOVED = compiled(
    dataclasses.replace(
        POLICY,
        openflow=dataclasses.replace(
            POLICY.openflow, function_routing=(*ROUTES[:-1], dataclasses.replace(ROUTES[-1], function="blob_store"))
        ),
    )
)


class World:
    """One policy, one switch, and the sessions of controllers that came and went."""

    def __init__(self) -> None:
        self.policy = EXAMPLE
        self.switch = TableSwitch(PORTS)
        self.start()

    def start(self) -> None:
        """A controller starts."""
        self.session = Session(7, lambda: self.policy)
        self.connect()

    def connect(self) -> None:
        self.connection = self.session.open(self.switch)
        self.switch.settle()

    def forget(self) -> None:
        """From here on requests, messages and work are counted."""
        self.switch.messages.clear()
        self.switch.requests.clear()
        self.session.work.clear()

    def load(self, policy: CompiledPolicy) -> None:
        self.policy = policy
        self.session.wake("policy file written")
        self.switch.settle()

    def entry(self, table: int, priority: int) -> SwitchEntry:
        return next(e for e in self.switch.table.values() if (e.table, e.priority) == (table, priority))


def wanted(policy: CompiledPolicy) -> set[SwitchEntry]:
    return {entry for _, entry in resolve(policy.entries, PORTS)[0]}
