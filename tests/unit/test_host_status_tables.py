"""What ``privacy-agent status`` shows to people is what is there, letter by letter."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from host_examples import POLICY, wanted
from rich.console import Console

from host_agent.state import Chain, File, FilterRule, HostState, Link, NamespaceState, Sysctl
from host_agent.status import tables as status_tables
from host_agent.status.node import Counted, KernelRow, items
from host_agent.status.report import PeerRow, PlaceRow, Status, _in_force, _places, in_words
from host_agent.steps import CreateNamespace, RemoveBridge, RemoveNamespace, SetLink, StartDaemon, WriteFile
from policies.addresses import address_plan

PEER = PeerRow("wg100", "ct100", "nNng288noue7RkYKSqP/27KtBUuGvsCnMDzG/+8CAiQ=", "[fd00::1]:51820", None, 999_600, 0)
EMPTY = Status(True, (), (), (), (), (), ())


def shown(report: Status, capsys: pytest.CaptureFixture[str]) -> list[str]:
    status_tables.show(report)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line.rstrip() for line in lines], "no line ends in blanks"
    return lines


def test_addresses_are_neither_styles_nor_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    """To Rich, left to itself, [fd00::1] is a style that it swallows, and :100: a picture."""
    report = Status(False, (), (), (PEER,), (), (), ("ct100: add address fd00:100::1/64 dev wg100",))
    lines = shown(report, capsys)
    assert lines[0] == "differs: ct100: add address fd00:100::1/64 dev wg100"
    assert lines[3].split() == ["ct100/wg100", "nNng288n...", "[fd00::1]:51820", "never", "1", "MB", "0", "B"]


def test_long_lines_are_not_cut_or_broken(capsys: pytest.CaptureFixture[str]) -> None:
    long = f"differs: {'x ' * 200}".rstrip()
    assert long in shown(Status(False, (), (), (), (), (), (long.removeprefix("differs: "),)), capsys)


def test_on_a_narrow_terminal_an_endpoint_keeps_its_line() -> None:
    peer = replace(PEER, endpoint="[2001:db8:1111:2222::1]:51820")
    text = StringIO()
    console = Console(file=text, width=80, markup=False, emoji=False, highlight=False)
    status_tables.show(replace(EMPTY, peers=(peer,)), console=console)
    assert "[2001:db8:1111:2222::1]:51820" in text.getvalue()


def test_the_last_line_says_how_it_is_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    def last(**changes: Any) -> str:
        return shown(replace(EMPTY, **changes), capsys)[-1]

    steps = ("bridge ovsbr0: create", "start xray")
    assert last() == "in sync"
    assert last(waiting=("degraded: no forwarding",)) == "in sync, degraded"
    assert last(waiting=("internal_200 waits for container 200", "note: so it is")) == "in sync"
    assert last(strangers=("a stranger",)) == "in sync, but something is in the way"
    assert last(differences=steps) == "not in sync: privacy-agent apply puts this right (2 steps)"
    assert last(differences=steps, strangers=("x",)) == "not in sync: 2 steps to do, and something is in the way"
    assert last(differences=steps, in_force=False) == "nothing of ours is in force: privacy-agent apply (2 steps)"
    undone = "undone, because nobody confirmed it: privacy-agent apply puts it in force again (2 steps)"
    assert last(differences=steps, undone=True) == last(differences=steps, undone=True, in_force=False) == undone
    assert last(differences=steps, unconfirmed="p.json waits") == "unconfirmed: p.json waits", "apply would be refused"


def test_what_is_in_the_way_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(Status(False, (), (), (), (), ("a stranger",), ()), capsys)[0] == "in the way: a stranger"


def test_many_differences_are_counted_and_those_of_a_stopped_node_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    many = replace(EMPTY, differences=tuple(map(str, range(70))))
    lines = shown(many, capsys)
    assert lines[11:13] == ["differs: 11", "differs: ... 58 more; privacy-agent plan has them all"]
    assert len(shown(replace(many, in_force=False), capsys)) == 1


def test_rules_are_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    row = KernelRow("iptables -t mangle -S TUN_DIR", ("1: -j RETURN  [0 packets, 0 bytes]", "2: -j DROP"), "2 rules")
    report = replace(EMPTY, kernel=(row,))
    lines = shown(report, capsys)
    assert lines[1].split("  ") == ["iptables -t mangle -S TUN_DIR", "2 rules"] and "RETURN" not in "".join(lines)
    status_tables.show(report, kernel=True)
    assert "  1: -j RETURN  [0 packets, 0 bytes]" in capsys.readouterr().out.splitlines()


def test_tables_stand_apart() -> None:
    text = StringIO()
    report = Status(True, (PlaceRow("bridge", "ovsbr0", 6, 0),), (), (PEER,), (), (), ())
    console = Console(file=text, width=160, markup=False, emoji=False, highlight=False)
    status_tables.show(report, console=console)
    assert [bool(line.strip()) for line in text.getvalue().splitlines()] == [True, True, False, True, True, False, True]


def test_what_is_degraded_does_not_wait(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = ("internal_200 waits for container 200", "degraded: no forwarding", "note: IPv6 is refused")
    lines = shown(Status(True, (), (), (), waiting, (), ()), capsys)
    assert lines == ["waiting: internal_200 waits for container 200", *waiting[1:], "", "in sync, degraded"]


def test_each_step_is_counted_where_it_belongs() -> None:
    """Programs with their role, files apart, and what goes with the places that are in no policy."""
    state = wanted()
    (xray,) = state.daemons
    steps = (
        StartDaemon(xray),
        CreateNamespace("warp"),
        SetLink("ct100", Link("wg100", "wireguard")),
        RemoveBridge("ovsbr0"),
        WriteFile(File("/a", b"")),
        RemoveNamespace("old"),
    )
    rows = list(_places(state, steps, address_plan(POLICY)))
    assert {row.place: row.steps for row in rows if row.steps} == {
        "ct100": 1,
        "ct101": 1,
        "warp": 1,
        "ovsbr0": 1,
        "-": 1,
        "old": 1,
    }
    assert sum(row.steps for row in rows) == len(steps)
    without = _places(replace(state, daemons=frozenset()), (), address_plan(POLICY))
    assert sum(row.objects for row in rows) - sum(row.objects for row in without) == 1, "a program is an object"
    assert rows[-1] == PlaceRow("not in the policy", "old", 0, 1)


def test_outcomes_of_one_item_stand_together() -> None:
    def counted(item: str, rule: str, packets: int) -> Counted:
        return Counted("ipv4", "mangle", "TUN_DIR", rule, item, True, packets, 0)

    mark = "-j MARK --set-xmark 0x10000/0xff0000"
    rows = items([counted("wgc1", "-j RETURN", 1), counted("xray", mark, 2), counted("wgc1", mark, 3)])
    assert [(it.item, it.outcome, it.packets) for it in rows] == [
        ("wgc1", "carried", 3),
        ("wgc1", "let past", 1),
        ("xray", "carried", 2),
    ]


def test_only_what_carries_a_mark_of_ours_is_in_force() -> None:
    others = Chain("ipv4", "nat", "POSTROUTING", (FilterRule("-j ACCEPT", ""),))
    theirs = NamespaceState(sysctls=frozenset({Sysctl("net/ipv4/ip_forward", "1")}), chains=frozenset({others}))
    assert not _in_force(HostState(namespaces={"ct200": theirs}, files=wanted().files))
    assert _in_force(HostState(namespaces={"ct200": replace(theirs, created=True)}))
    assert _in_force(HostState(daemons=wanted().daemons))


def test_ports_that_wait_for_their_containers_share_a_line() -> None:
    ports = ["internal_200 waits for container 200", "internal_201 waits for container 201"]
    more = ["nm-privacy waits for the device netmaker, which Netmaker makes", "note: IPv6 is refused"]
    together = "waiting: internal_200, internal_201 wait for containers 200, 201"
    assert in_words([*ports, *more]) == [together, f"waiting: {more[0]}", more[1]]
    assert in_words(ports[:1]) == ["waiting: internal_200 waits for container 200"]
    assert in_words([]) == []
