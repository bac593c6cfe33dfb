"""What the loader accepts, Open vSwitch accepts: any match and any actions that a document may have. Needs root.

A switch refuses an action that the packets of the match need not be fit for (OpenFlow 1.3.5, 7.2.4: a field to set
has the prerequisites of a field to match). Were the loader to let one through, the whole change would fail there.
"""

from __future__ import annotations

import json
import os
import sys
from random import Random
from typing import Any

import pytest
from match_examples import ACTIONS, MATCHES
from plain_datapath import PlainDatapath, committed
from policy_documents import EXAMPLE
from random_policies import PORTS, PRIVACY
from switch_entries import switch_entry
from switch_sandbox import Sandbox, Switch

from policies.errors import DocumentError
from policies.load import parse
from policies.match import Match
from ryu_apps.flows.flow import Action, DecTtl, FlowEntry, Output, SetField, StripVlan
from ryu_apps.flows.pipeline import compile_pipeline
from ryu_apps.openflow.ofctl import entry_text, match_text
from ryu_apps.switches.connection import BundleRefused, Connection
from ryu_apps.switches.plan import Change, plan

DOCUMENTS = 300 if os.environ.get("SOAK") else 30
FLOWS = 40  # tried for each document; about a third of them is accepted
WRITES = sorted({action for _, actions in ACTIONS for action in actions if isinstance(action, SetField)}, key=str)
CHANGES = ["dec_ttl", "push_vlan:0x8100", "strip_vlan", *(f"set_field:{it.value}->{it.field}" for it in WRITES)]


@pytest.fixture(scope="module")
def connection(shared: Sandbox) -> Connection:
    Switch(shared).add_ports(*PORTS)
    return PlainDatapath(shared.directory / "ovsbr0.mgmt").connection


@pytest.fixture
def seed() -> int:
    """Another one each time. Set ACCEPTANCE_SEED to see one again."""
    chosen = int(os.environ.get("ACCEPTANCE_SEED") or int.from_bytes(os.urandom(4), "big"))
    print(f"ACCEPTANCE_SEED={chosen}", file=sys.stderr)
    return chosen


def refused(connection: Connection, entries: tuple[FlowEntry, ...]) -> FlowEntry | None:
    """What the switch refuses of these, in one bundle; afterwards it holds none of them."""
    reading = connection.read()
    change = Change(add=tuple(switch_entry(entry, reading.ports) for entry in entries))
    try:
        after = committed(connection, change)
    except BundleRefused as refusal:
        assert refusal.identity is not None, refusal
        return entries[[entry.identity for entry in change.add].index(refusal.identity)]
    committed(connection, plan((), after.entries))
    return None


def flow(random: Random, priority: int) -> dict[str, Any]:
    """Any match, with any actions: most of them are not fit for each other."""
    in_port = random.choice(PRIVACY)
    several = range(random.choice((1, 1, 2, 3)))
    actions = [random.choice(CHANGES[:3] if random.random() < 0.4 else CHANGES) for _ in several]
    return {
        "priority": priority,
        "match_fields": {**dict(random.choice(MATCHES)), "in_port": in_port},
        "actions": [*actions, f"output:{random.choice([port for port in PRIVACY if port != in_port])}"],
    }


def document(flows: list[dict[str, Any]]) -> str:
    given = json.loads(EXAMPLE)
    given["privacy_router"]["openflow"]["privacy_flows"] += flows
    return json.dumps(given)


def is_accepted(given: dict[str, Any]) -> bool:
    try:
        parse(document([given]), "random.json")
    except DocumentError:
        return False
    return True


def test_what_the_loader_accepts_the_switch_accepts(connection: Connection, seed: int) -> None:
    accepted = 0
    for number in range(DOCUMENTS):
        random = Random(f"{seed} {number}")
        flows = [given for place in range(FLOWS) if is_accepted(given := flow(random, 200 + place))]
        accepted += len(flows)
        entries = compile_pipeline(parse(document(flows), "random.json"))
        wrong = refused(connection, entries)
        assert wrong is None, f"seed {seed}, document {number}: {entry_text(wrong)}"
    assert accepted > 3 * DOCUMENTS, "hardly any flow was accepted: this says nothing"


UNFIT: list[tuple[Match, Action]] = [
    ((("in_port", "warp0"),), StripVlan()),
    ((("in_port", "warp0"), ("vlan_vid", "none")), StripVlan()),
    ((("in_port", "warp0"),), SetField("vlan_vid", "5")),
    ((("in_port", "warp0"),), DecTtl()),
    ((("in_port", "warp0"),), SetField("nw_dst", "192.0.2.1")),
    ((("in_port", "warp0"), ("ip", "")), SetField("ipv6_dst", "2001:db8::1")),
    ((("in_port", "warp0"), ("ipv6", "")), SetField("arp_op", "2")),
]
"""(match, action) that no loaded document has."""


@pytest.mark.parametrize(("match", "action"), UNFIT, ids=str)
def test_what_the_switch_would_refuse(connection: Connection, match: Match, action: Action) -> None:
    """The control: the switch does judge, and the loader has refused these for it."""
    entry = FlowEntry(10, 300, match, (action, Output("internal_100")), "unfit")
    assert refused(connection, (entry,)) is entry, match_text(match)
