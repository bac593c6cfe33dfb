"""What ``privacy-agent status`` shows to people is what is there, letter by letter."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from host_agent.status import tables as status_tables
from host_agent.status.report import PeerRow, PlaceRow, Status, in_words

PEER = PeerRow("wg100", "ct100", "KEY=", "[fd00::1]:51820", None, 999_600, 0)
EMPTY = Status(True, (), (), (), (), (), ())


def shown(report: Status, capsys: pytest.CaptureFixture[str]) -> list[str]:
    status_tables.show(report)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_addresses_are_neither_styles_nor_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    """To Rich, left to itself, [fd00::1] is a style that it swallows, and :100: a picture."""
    report = Status(False, (), (), (PEER,), (), (), ("ct100: add address fd00:100::1/64 dev wg100",))
    lines = shown(report, capsys)
    assert lines[1].split() == ["ct100/wg100", "KEY=", "[fd00::1]:51820", "never", "1", "MB", "0", "B"]
    assert "differs: ct100: add address fd00:100::1/64 dev wg100" in lines


def test_long_lines_are_not_cut_or_broken(capsys: pytest.CaptureFixture[str]) -> None:
    long = f"differs: {'x ' * 200}".rstrip()
    assert long in shown(Status(False, (), (), (), (), (), (long.removeprefix("differs: "),)), capsys)


def test_the_last_line_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(EMPTY, capsys) == ["in sync"]
    differing = Status(False, (PlaceRow("bridge", "ovsbr0", 6, 1),), (), (), (), (), ("bridge ovsbr0: create",))
    assert shown(differing, capsys)[-1] == "privacy-agent apply puts this right"
    assert "1 differs" in shown(differing, capsys)[1]
    assert shown(Status(False, (), (), (), (), ("a stranger",), ()), capsys) == ["in the way: a stranger"]


def test_tables_stand_apart() -> None:
    text = StringIO()
    report = Status(True, (PlaceRow("bridge", "ovsbr0", 6, 0),), (), (PEER,), (), (), ())
    status_tables.show(report, Console(file=text, width=160, markup=False, emoji=False, highlight=False))
    assert [bool(line.strip()) for line in text.getvalue().splitlines()] == [True, True, False, True, True, False, True]


def test_what_is_degraded_does_not_wait(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = ("internal_200 waits for container 200", "degraded: no forwarding", "note: IPv6 is refused")
    lines = shown(Status(True, (), (), (), waiting, (), ()), capsys)
    assert lines == ["waiting: internal_200 waits for container 200", *waiting[1:], "in sync"]


def test_ports_that_wait_for_their_containers_share_a_line() -> None:
    ports = ["internal_200 waits for container 200", "internal_201 waits for container 201"]
    more = ["nm-privacy waits for the device netmaker, which Netmaker makes", "note: IPv6 is refused"]
    together = "waiting: internal_200, internal_201 wait for containers 200, 201"
    assert in_words([*ports, *more]) == [together, f"waiting: {more[0]}", more[1]]
    assert in_words(ports[:1]) == ["waiting: internal_200 waits for container 200"]
    assert in_words([]) == []
