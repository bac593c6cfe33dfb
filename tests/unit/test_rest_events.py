"""Events, log lines, and rates."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import eventlet
import pytest

from ryu_apps.events import EventLog, event
from ryu_apps.log_format import JsonFormatter, TextFormatter, format_handlers
from ryu_apps.openflow.wire import InstalledEntry, SwitchEntry
from ryu_apps.rest.metrics import Metrics
from ryu_apps.rest.readings import Readings
from ryu_apps.rest.stream import HEARTBEAT, stream
from ryu_apps.switches.connection import Reading


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, EventLog]]:
    logger, events = logging.getLogger("test of events"), EventLog(capacity=3)
    logger.setLevel(logging.DEBUG)
    logger.addHandler(events)
    yield logger, events
    logger.removeHandler(events)


def test_the_last_events_are_kept_with_their_numbers(log: tuple[logging.Logger, EventLog]) -> None:
    logger, events = log
    for number in range(5):
        logger.info("event %d", number, extra=event("change", switch="s", number=number))
    logger.debug("not worth an event")
    assert [(each.number, each.kind, each.message) for each in events.since(0)] == [
        (3, "change", "event 2"),
        (4, "change", "event 3"),
        (5, "change", "event 4"),
    ]
    assert events.since(4)[0].facts == {"switch": "s", "number": 4} and events.since(5) == ()
    logger.warning("another")
    assert (events.since(5)[0].kind, events.since(5)[0].level, events.last) == ("log", "warning", 6)


def test_a_reader_waits_for_news(log: tuple[logging.Logger, EventLog]) -> None:
    logger, events = log
    assert events.wait(0, 0.01) == ()
    waiting = [eventlet.spawn(events.wait, 0, 5.0) for _ in range(3)]
    eventlet.sleep(0)
    logger.info("news")
    assert [each.wait()[0].message for each in waiting] == ["news"] * 3


def test_the_next_controllers_events_are_new_to_who_has_seen_this_ones() -> None:
    logger = logging.getLogger("test of another start")
    logger.setLevel(logging.INFO)
    logger.addHandler(events := EventLog(last=1_000_000))
    began = time.monotonic()
    assert events.wait(0, 0.05) == () and time.monotonic() - began > 0.04, "who asks for everything waits for it"
    logger.info("first")
    assert [each.number for each in events.wait(999_000, 0.01)] == [events.last] == [1_000_001]


def test_a_stream_goes_on_where_its_reader_was(log: tuple[logging.Logger, EventLog]) -> None:
    logger, events = log
    for number in range(3):
        logger.info("event %d\nwith a second line", number)
    service: Any = SimpleNamespace(events=events, streams=0)
    request: Any = SimpleNamespace(headers={"Last-Event-ID": "2"}, environ={"privacy_router.stream": lambda: None})
    response = stream(service, request, None)
    assert service.streams == 1
    parts = iter(response.app_iter)
    assert next(parts).startswith(b"retry: ")
    (name, kind, data, *rest) = next(parts).decode().split("\n")
    assert (name, kind, rest) == ("id: 3", "event: log", ["", ""])
    assert json.loads(data.removeprefix("data: "))["message"] == "event 2\nwith a second line"
    response.app_iter.close()
    response.app_iter.close()
    assert service.streams == 0 and HEARTBEAT < 60


def record(message: str, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("privacy_router", logging.INFO, "x.py", 1, message, (), None)
    made.created = 0.25
    vars(made).update(extra)
    return made


def test_a_record_is_one_line() -> None:
    hostile = "port a\nERROR forged\x1b[31m\u2028 é"
    assert TextFormatter().format(record(hostile)) == (
        "1970-01-01T00:00:00.250Z INFO    port a\\nERROR forged\\x1b[31m\\u2028 é"
    )
    line = JsonFormatter().format(record(hostile, **event("change", switch="s", level="forged")))
    assert "\n" not in line and json.loads(line) == {
        "switch": "s",
        "time": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "logger": "privacy_router",
        "kind": "change",
        "message": hostile,
    }
    with pytest.raises(KeyError):
        format_handlers([], "xml")


def entry(packets: int, octets: int) -> InstalledEntry:
    return InstalledEntry(SwitchEntry.of(0, 1, b"", b"", 7), packets, octets, 60)


class Switch:
    """As a session: gives the readings it was told, one after the other."""

    def __init__(self, *readings: Reading | None) -> None:
        self.account = SimpleNamespace(dpid=1)
        self.connection = object()
        self._readings = list(readings)

    def reading(self, _max_age: float) -> Reading | None:
        return self._readings.pop(0)


def test_rates_are_differences_over_time() -> None:
    now = time.time()
    counts = [(0.0, 10, 1000), (1.0, 20, 2000), (3.0, 40, 4000), (4.0, 5, 500), (120.0, 6, 600)]
    session: Any = Switch(*(Reading({}, (entry(packets, octets),), now + at) for at, packets, octets in counts))
    readings = Readings()
    rates = []
    for _, packets, octets in counts:
        seen = readings.read([session], 0.0)[1]
        assert seen is not None
        rates.append(seen.rate(entry(packets, octets)))
    assert rates[:2] == [None, None]  # nothing to compare with, and too soon
    assert rates[2] is not None and rates[3] is not None
    assert (round(rates[2].packets, 3), round(rates[2].bytes, 3)) == (10.0, 1000.0)
    assert round(rates[3].packets, 3) == 1.25  # made anew since: counted from 0
    assert rates[4] is None  # too long ago


def test_an_old_reading_is_not_current_and_none_is_none() -> None:
    old: Any = Switch(Reading({}, (), time.time() - 60), None)
    readings = Readings()
    seen = readings.read([old], 1.0)[1]
    assert seen is not None and not seen.is_current
    assert readings.read([old], 1.0) == {1: None}


def test_changes_are_counted_as_they_happen(log: tuple[logging.Logger, EventLog]) -> None:
    logger, events = log
    source: Any = SimpleNamespace(seen=lambda max_age: [], problems=("refused",))
    metrics = Metrics(source)
    events.observe(metrics.observe)
    logger.info("done", extra=event("change", switch="s", confirmed=True, milliseconds=3.0))
    logger.error("refused", extra=event("change", switch="s", confirmed=False, milliseconds=3.0))
    lines = metrics.text().decode().splitlines()
    assert 'privacy_router_apply_seconds_bucket{le="0.0025",switch="s"} 0.0' in lines
    assert 'privacy_router_apply_seconds_bucket{le="0.005",switch="s"} 1.0' in lines
    assert "privacy_router_bundle_failures_total 1.0" in lines
    assert "privacy_router_policy_refused 1.0" in lines and "privacy_router_switches_connected 0.0" in lines
