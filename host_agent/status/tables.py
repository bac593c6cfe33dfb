"""``privacy-agent status`` for people: a line for each thing that waits or differs, then tables, then the verdict."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from host_agent.state import NODE
from host_agent.status.report import Status, in_sync, in_words
from policies.words import counted

PIPED_WIDTH = 160  # columns of a table that no terminal shows
MOST_LINES = 12  # of differences; the plan has them all
KEY_START = 8  # characters of a key, which tell it from its few neighbours
Row = Sequence[object]


def show(
    report: Status, kernel: bool = False, text: Callable[[str], str] = str, console: Console | None = None
) -> None:
    """What needs the operator's eye first, what to do last. Names, addresses and rules are text: no ``[fd00::1]`` is a
    style, and no ``:100:`` a picture. ``kernel``: with what the kernel holds, hops too.

    ``text``: how a line is said.
    """
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    console = console or Console(width=width, emoji=False, markup=False, highlight=False)
    remarks = list(_remarks(report))
    for line in remarks:
        console.print(text(line), soft_wrap=True)
    if remarks:
        console.print()
    for table in _tables(report):
        console.print(drawn(table, console), soft_wrap=True)
        console.print()
    if kernel:
        _show_kernel(report, console)
    console.print(text(_verdict(report)), soft_wrap=True)


def _show_kernel(report: Status, console: Console) -> None:
    for row in report.kernel:
        console.print(row.command, style="bold", soft_wrap=True)
        for line in row.lines:
            console.print(f"  {line}", soft_wrap=True)
    if report.kernel:
        console.print()


def _remarks(report: Status) -> Iterator[str]:
    yield from in_words(report.waiting)
    yield from (f"in the way: {it}" for it in report.strangers)
    if not report.in_force:
        return
    yield from (f"differs: {it}" for it in report.differences[:MOST_LINES])
    if more := report.differences[MOST_LINES:]:
        yield f"differs: ... {len(more)} more; privacy-agent plan has them all"


def _verdict(report: Status) -> str:
    """How things are, in one line, and what to do."""
    if report.unconfirmed:
        return f"unconfirmed: {report.unconfirmed}"
    count = counted(len(report.differences), "step")
    if not report.differences:
        return in_sync(report.waiting, report.strangers)
    if report.strangers:
        return f"not in sync: {count} to do, and something is in the way"
    if report.undone:
        return f"undone, because nobody confirmed it: privacy-agent apply puts it in force again ({count})"
    if not report.in_force:
        return f"nothing of ours is in force: privacy-agent apply ({count})"
    return f"not in sync: privacy-agent apply puts this right ({count})"


def _tables(report: Status) -> Iterator[Table]:
    yield from _table(
        ("role", "place", "objects", "state"),
        ((it.role, it.place, it.objects, _state(it.steps)) for it in report.places),
    )
    yield from _table(
        ("program", "pid", "namespace", "log"),
        ((it.name, it.pid, it.namespace, Path(it.log).name) for it in report.daemons),
    )
    yield from _table(
        ("WireGuard", "peer", "endpoint", "handshake", "received", "sent"),
        (
            (
                f"{it.namespace}/{it.device}",
                f"{it.public_key[:KEY_START]}...",
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
    yield from _table(
        ("kernel (applied state)", "holds of ours"),
        ((it.command, it.short) for it in report.kernel if it.namespace == NODE),
    )


def _state(steps: int) -> str:
    return f"{counted(steps, 'step')} to do" if steps else "in sync"


def _table(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[Table]:
    """One table; none without rows. On a narrow screen an endpoint, which is to be copied, keeps its line."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "endpoint")
    for row in rows:
        table.add_row(*map(str, row))
    if table.row_count:
        yield table


def drawn(table: Table, console: Console) -> Text:
    """A table as this console shows it, without the blanks to which Rich fills its lines."""
    with console.capture() as captured:
        console.print(table, highlight=False)
    lines = Text.from_ansi(captured.get()).split()
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def volume(octets: int) -> str:
    """``18.7 MB``: three digits are enough for people; ``--json`` has them all."""
    number, units = float(octets), ["B", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:
        number, units = number / 1000, units[1:]
    return f"{octets} B" if octets < 1000 else f"{number:.3g} {units[0]}"
