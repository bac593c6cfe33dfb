"""What the demo shows: its table and what may be typed have room on a terminal."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

import demo
import pytest
from line import Line
from rich.console import Console

LONGEST = (
    Line(
        1,
        "Switch ovsbr0: flow entries committed in one bundle, read back",
        True,
        "39 entries, 12.3 ms; 4 wait for nm-privacy",
    ),
    Line(
        4, "warp0 to internal_100: WARP tunnel -> WireGuard gateway (return)", True, "178030 packets, 176455070 bytes"
    ),
    Line(9, "Machine: nothing is left of the lab", False, "links: dummy0 DOWN 1a:2b:3c:4d:5e:6f"),
)


@pytest.mark.parametrize("terminal", [True, False])
def test_each_line_is_one_on_120_columns_and_ends_in_no_blanks(terminal: bool) -> None:
    text = StringIO()
    demo.show(Console(file=text, width=120, force_terminal=terminal, color_system=None), list(LONGEST))
    blank, header, *rows = text.getvalue().splitlines()
    assert (blank, header.split()) == ("", ["What", "was", "seen", "Measured"])
    assert [row.split()[0] for row in rows] == ["1", "4", "9"]
    assert [line for line in (header, *rows) if line != line.rstrip()] == []


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    text = StringIO()
    demo.show(Console(file=text, width=60, force_terminal=True, color_system=None), list(LONGEST))
    assert max(map(len, text.getvalue().splitlines())) <= 60
    assert sorted("".join(text.getvalue().split())) == sorted(
        "".join(f"{it.number}{it.what}{it.measured}{'held' if it.held else 'FAILED'}" for it in LONGEST).replace(
            " ", ""
        )
        + "WhatwasseenMeasured"
    )


def test_what_may_be_typed_in_a_lab_that_stays_is_not_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/operator/privacy-router/.venv")
    policy = Path(f"{demo.DIRECTORY}/policy.json")
    enter = "nsenter --all --target 4194304 --"
    lines = demo.how_to_look_around(enter, "http://127.0.0.1:65535", demo.DIRECTORY, policy).splitlines()
    assert max(map(len, lines)) <= 110
    joined = " ".join(" ".join(lines).replace("\\", "").split())
    assert f"{enter} {sys.prefix}/bin/privacy-agent status --policy {policy} --state-dir" in joined
