"""``privacy-agent status`` for people: tables, and below them a line for each thing that waits or differs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from host_agent.status.report import Status, in_words

PIPED_WIDTH = 160  # columns of a table that no terminal shows
Row = Sequence[object]


def show(report: Status, console: Console | None = None) -> None:
    """Names, addresses and rules are text: no ``[fd00::1]`` is a style, and no ``:100:`` a picture."""
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    console = console or Console(width=width, emoji=False, markup=False, highlight=False)
    for table in _tables(report):
        console.print(table)
        console.print()
    for kernel in report.kernel:
        console.print(kernel.command, style="bold", soft_wrap=True)
        for line in kernel.lines:
            console.print(f"  {line}", soft_wrap=True)
    for line in _lines(report):
        console.print(line, soft_wrap=True)


def _lines(report: Status) -> Iterator[str]:
    yield from in_words(report.waiting)
    yield from (f"in the way: {it}" for it in report.strangers)
    yield from (f"differs: {it}" for it in report.differences)
    if report.in_sync:
        yield "in sync"
    elif not report.strangers:
        yield "privacy-agent apply puts this right"


def _tables(report: Status) -> Iterator[Table]:
    yield from _table(
        ("role", "place", "objects", "state"),
        ((it.role, it.place, it.objects, _state(it.differences)) for it in report.places),
    )
    yield from _table(
        ("program", "pid", "namespace", "log"), ((it.name, it.pid, it.namespace, it.log) for it in report.daemons)
    )
    yield from _table(
        ("WireGuard", "peer", "endpoint", "handshake", "received", "sent"),
        (
            (
                f"{it.namespace}/{it.device}",
                it.public_key,
                it.endpoint or "-",
                "never" if it.handshake_age is None else f"{it.handshake_age} s ago",
                volume(it.received),
                volume(it.sent),
            )
            for it in report.peers
        ),
    )
    yield from _table(
        ("tunnel", "state", "judged by", "endpoint", "since"),
        (
            (
                it.device,
                it.state,
                it.judged_by,
                it.endpoint,
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(it.since)),
            )
            for it in report.tunnels
        ),
    )
    yield from _table(
        ("policy item", "family", "outcome", "packets", "bytes"),
        ((it.item, it.family, it.outcome, it.packets, it.bytes) for it in report.items),
    )


def _state(differences: int) -> str:
    return f"{differences} differ{'s' if differences == 1 else ''}" if differences else "in sync"


def _table(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[Table]:
    """One table; none without rows."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    if table.row_count:
        yield table


def volume(octets: int) -> str:
    """``18.7 MB``: three digits are enough for people; ``--json`` has them all."""
    number, units = float(octets), ["B", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:
        number, units = number / 1000, units[1:]
    return f"{octets} B" if octets < 1000 else f"{number:.3g} {units[0]}"
