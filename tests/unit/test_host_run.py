"""The parts of ``run`` that decide: what may be repaired, what is said, whom to tell."""

from __future__ import annotations

import io
import json
import socket
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from host_examples import wanted

from host_agent.boot import protective
from host_agent.drivers import events
from host_agent.drivers.ipset import READ_WHOLE
from host_agent.plan import plan
from host_agent.prefixes import Seal
from host_agent.run.backoff import CALM, FIRST_PAUSE, LIMIT, LONGEST_PAUSE, WINDOW, Ledger
from host_agent.run.fingerprint import routing_part
from host_agent.run.log import Log
from host_agent.run.notify import notify, watchdog_seconds
from host_agent.run.round import with_its_sockets
from host_agent.run.turns import Turn, following
from host_agent.state import HostState, IpSet, NamespaceState, Route
from host_agent.steps import Add, MoveLink, ReplaceChains, SetLink, SetSysctl, StartDaemon, script

WANTED = wanted()


# --- how often


def repaired(ledger: Ledger, item: str, *moments: float) -> Ledger:
    for moment in moments:
        assert ledger.admits(item, moment), f"at {moment}"
        ledger = ledger.repaired(item, moment)
    return ledger


def test_a_few_repairs_are_never_held_back() -> None:
    ledger = repaired(Ledger(), "a", *(float(n) for n in range(LIMIT - 1)))
    assert ledger.admits("a", LIMIT) and not ledger.in_fight("a")
    slow = repaired(Ledger(), "a", *(n * (WINDOW / (LIMIT - 1) + 1) for n in range(100)))
    assert not slow.in_fight("a")


def test_a_fight_is_held_back_longer_and_longer_and_only_its_object() -> None:
    ledger = repaired(Ledger(), "a", *(n / 10 for n in range(LIMIT)))
    last = (LIMIT - 1) / 10
    assert ledger.in_fight("a") and not ledger.admits("a", last + FIRST_PAUSE - 0.1)
    assert ledger.admits("b", last)
    pauses = []
    for _ in range(8):
        moment = ledger.next_moment("a")
        ledger = repaired(ledger, "a", moment)
        pauses.append(ledger.next_moment("a") - moment)
    assert pauses[:5] == sorted(pauses[:5]) and pauses[0] == pytest.approx(2 * FIRST_PAUSE)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE)


def test_a_fight_is_over_when_the_object_was_left_alone() -> None:
    ledger = repaired(Ledger(), "a", *(n / 10 for n in range(LIMIT)))
    late = CALM + 2
    ledger = ledger.repaired("b", late)
    assert "a" not in ledger.histories
    ledger = repaired(ledger, "a", late, late + 0.1)
    assert not ledger.in_fight("a")


# --- a switch that has ended


def test_its_dead_sockets_are_left_alone_and_nothing_else() -> None:
    gateway = WANTED.namespaces["ct100"]
    dead = replace(
        gateway,
        links=frozenset(replace(it, alive=it.kind != "socket") for it in gateway.links),
        addresses=frozenset(it for it in gateway.addresses if it.link != "internal_100"),
        routes=frozenset(it for it in gateway.routes if it.link != "internal_100"),
    )
    found = replace(WANTED, namespaces={**WANTED.namespaces, "ct100": dead})
    assert any(isinstance(step, MoveLink) for step in plan(WANTED, found)), "else nothing is tried"
    assert plan(WANTED, with_its_sockets(found, WANTED)) == ()
    lacking = replace(dead, addresses=frozenset(), routes=frozenset())
    steps = plan(WANTED, with_its_sockets(replace(found, namespaces={**found.namespaces, "ct100": lacking}), WANTED))
    assert "ct100: add address 10.100.0.1/24 dev wg100" in list(map(str, steps))
    assert not [it for it in map(str, steps) if "internal_100" in it]


# --- what is said


def differing(**changes: Any) -> HostState:
    namespaces = {**WANTED.namespaces, "ct101": replace(WANTED.namespaces["ct101"], **changes)}
    return replace(WANTED, namespaces=namespaces)


def said(found: HostState) -> list[str]:
    return [step.was(found) for step in plan(WANTED, found)]


def test_what_had_changed_is_said_in_one_line() -> None:
    state = WANTED.namespaces["ct101"]
    assert said(differing(rules=frozenset())) == [
        "ip rule pref 200 iif internal_101 fwmark 0x100/0x100 lookup 100 was gone"
    ]
    (chain,) = (chain for chain in state.chains if chain.name == "XRAY_TPROXY")
    rest = state.chains - {chain}
    lost = replace(chain, rules=(*chain.rules[:3], *chain.rules[4:]))
    assert said(differing(chains=rest | {lost})) == ["iptables mangle XRAY_TPROXY lacked rule 4"]
    turned = replace(chain, rules=tuple(reversed(chain.rules)))
    assert said(differing(chains=rest | {turned})) == ["iptables mangle XRAY_TPROXY had its rules in another order"]
    assert said(differing(chains=rest)) == ["iptables mangle XRAY_TPROXY was gone"]
    (default,) = (r for r in state.routes if r.via and r.destination.prefixlen == 0)
    other = replace(default, via=IPv4Address("10.99.0.9"))
    assert said(differing(routes=state.routes - {default} | {other})) == [
        f"{default} was route default via 10.99.0.9 dev internal_101 table main"
    ]


def test_every_step_of_a_plan_has_words_objects_and_commands_in_single_lines() -> None:
    for steps, found in ((plan(WANTED, HostState()), HostState()), (plan(HostState(), WANTED), WANTED)):
        for step in steps:
            assert "\n" not in step.was(found) and step.objects and all(step.objects)
            assert all("\n" not in line for line in step.commands()), step


def test_commands_never_show_a_key() -> None:
    text = "\n".join(script(plan(WANTED, HostState()), {}))
    for file in WANTED.files:
        for line in file.content.decode().split():
            assert len(line) < 40 or line not in text, f"a line of {file.path}"
    assert "AQEBAQEB" not in text, "the WARP profile's private key"
    assert "wg set wgcf private-key /dev/tty" in text


def test_a_log_line_is_one_line_or_one_object() -> None:
    stream = io.StringIO()
    Log(False, stream)("error", "failed", "a\nb")
    Log(True, stream)("info", "repair", "words", ms=3.5)
    plain, structured = stream.getvalue().splitlines()
    assert plain == "failed: a b"
    assert json.loads(structured)["ms"] == 3.5 and json.loads(structured)["event"] == "repair"


# --- what is put back at once


def test_routes_by_links_that_are_down_wait_for_the_link() -> None:
    state = WANTED.namespaces["warp"]
    up = frozenset(replace(link, up=True) for link in state.links)
    wish, there = routing_part(state, replace(state, routes=frozenset(), links=up))
    assert wish.routes == state.routes and there.routes == frozenset()
    down = frozenset(replace(link, up=link.name != "wgcf") for link in state.links)
    wish, _ = routing_part(state, replace(state, links=down))
    assert {route.link for route in state.routes - wish.routes} == {"wgcf"}
    strange = Route(next(iter(state.routes)).destination, link="warp0", table=77)
    _, there = routing_part(state, replace(state, routes=state.routes | {strange}))
    assert strange in there.routes, "what nobody asked for is seen"


# --- what is read whole


def test_each_large_set_has_its_turn_and_no_other_set() -> None:
    def a_set(name: str, count: int) -> IpSet:
        return IpSet(name, "ipv4", Seal(count, 1))

    sets = frozenset({a_set("nl", READ_WHOLE + 1), a_set("de", READ_WHOLE + 1), a_set("small", READ_WHOLE)})
    both = HostState(namespaces={name: NamespaceState(sets=sets) for name in ("", "ct101")})
    turn: Turn | None = None
    taken = [turn := following(both, turn) for _ in range(5)]
    assert taken == [("", "de"), ("", "nl"), ("ct101", "de"), ("ct101", "nl"), ("", "de")]
    assert following(WANTED, turn) is None


# --- before the network


def test_the_boot_unit_makes_what_needs_no_link() -> None:
    steps = protective(plan(WANTED, HostState()), WANTED)
    assert not [step for step in steps if isinstance(step, (SetLink, MoveLink, StartDaemon))]
    assert not [s for s in steps if isinstance(s, Add) and isinstance(s.item, Route) and s.item.link is not None]
    assert not [s for s in steps if isinstance(s, SetSysctl) and "internal_" in s.sysctl.key]
    families = {(step.namespace, step.family) for step in steps if isinstance(step, ReplaceChains)}
    assert families == {("ct100", "ipv6"), ("ct101", "ipv4"), ("warp", "ipv4")}
    assert sum("unreachable default" in str(step) for step in steps) == 5


# --- the service manager


def test_notify_speaks_to_paths_and_abstract_names(tmp_path: Path) -> None:
    for address, bound in ((str(tmp_path / "n"), str(tmp_path / "n")), ("@privacy-test", "\0privacy-test")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(bound)
            notify({"NOTIFY_SOCKET": address}, "READY=1", "STATUS=a\nMAINPID=1")
            assert manager.recv(100) == b"READY=1\nSTATUS=a MAINPID=1"
    notify({}, "READY=1")
    notify({"NOTIFY_SOCKET": "/nowhere/at/all"}, "READY=1")


def test_the_watchdog_is_fed_twice_as_often_as_asked() -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 7) == 15.0
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 7) is None
    assert watchdog_seconds({}, 7) is None and watchdog_seconds({"WATCHDOG_USEC": "x"}, 7) is None


def test_a_full_event_socket_is_emptied() -> None:
    with events.route_events() as heard:
        events.drain(heard)
