"""What Prometheus reads at /metrics, computed when it asks. Histograms and counts of changes come from the events."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ryu_apps.events import Event
from ryu_apps.policy.file import CompiledPolicy
from ryu_apps.rest.readings import Seen
from ryu_apps.rest.view import switch_view
from ryu_apps.switches.session import Session
from ryu_apps.turns import give_way

MAX_AGE = 1.0  # seconds that a reading may be old
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PREFIX = "privacy_router"


class Source(Protocol):
    """What the REST interface knows of the switches."""

    @property
    def problems(self) -> tuple[str, ...]: ...

    def seen(self, max_age: float) -> list[tuple[Session, Seen | None]]: ...

    def policy_for(self, session: Session) -> CompiledPolicy: ...


class Metrics:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._registry = CollectorRegistry()
        self._latency = Histogram(
            f"{PREFIX}_apply_seconds",
            "From the first question to the read-back of a change",
            ["switch"],
            buckets=LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._failures = Counter(
            f"{PREFIX}_bundle_failures", "Changes that a switch refused or did not confirm", registry=self._registry
        )
        self._registry.register(self)

    def observe(self, happened: Event) -> None:
        """An event of the kind "change" carries milliseconds and whether the switch confirmed it."""
        if happened.kind != "change":
            return
        if happened.facts.get("confirmed"):
            self._latency.labels(happened.facts["switch"]).observe(happened.facts["milliseconds"] / 1000)
        else:
            self._failures.inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Asked by prometheus_client, at each reading of the registry."""
        switches = list(self._switches())
        connected = sum(switch["connected"] for switch in switches)
        yield _gauge("switches_connected", "Switches with an OpenFlow connection", connected)
        yield _gauge("policy_refused", "1 while the newest policy document is refused", bool(self._source.problems))
        yield from _of_each_switch([switch for switch in switches if switch["ours"]])

    def _switches(self) -> Iterator[dict[str, Any]]:
        for session, seen in self._source.seen(MAX_AGE):
            ports, installed = (seen.reading.ports, seen.reading.installed) if seen else ({}, None)
            yield switch_view(session.account, self._source.policy_for(session), ports, installed, pause=give_way)


def _of_each_switch(switches: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    desired = GaugeMetricFamily(f"{PREFIX}_desired_entries", "Flow entries that the policy wants", labels=["switch"])
    installed = GaugeMetricFamily(f"{PREFIX}_installed_entries", "Of these, those that are there", labels=["switch"])
    waiting = GaugeMetricFamily(f"{PREFIX}_waiting_entries", "Wanted, and left out without a port", labels=["switch"])
    dropping = GaugeMetricFamily(f"{PREFIX}_dropping_entries", "There, dropping without a port", labels=["switch"])
    drift = GaugeMetricFamily(f"{PREFIX}_drift_entries", "Missing, altered and surplus", labels=["switch", "kind"])
    changes = CounterMetricFamily(f"{PREFIX}_changes", "Bundles committed", labels=["switch"])
    packets = CounterMetricFamily(f"{PREFIX}_item_packets", "Packets by policy item", labels=["switch", "item"])
    octets = CounterMetricFamily(f"{PREFIX}_item_bytes", "Bytes by policy item", labels=["switch", "item"])
    for switch in switches:
        name = switch["name"]
        states = Tally(entry["state"] for entry in switch["entries"])
        desired.add_metric([name], switch["desired"])
        installed.add_metric([name], switch["installed"])
        waiting.add_metric([name], states["waiting"])
        dropping.add_metric([name], states["dropping"])
        changes.add_metric([name], switch["changes_total"])
        for kind, count in switch["drift"].items():
            drift.add_metric([name, kind], count)
        sums: dict[str, list[int]] = {}
        for entry in switch["entries"]:
            total = sums.setdefault(entry["item"], [0, 0])
            total[0] += entry["packets"]
            total[1] += entry["bytes"]
        for item, (packet_count, byte_count) in sums.items():
            packets.add_metric([name, item], packet_count)
            octets.add_metric([name, item], byte_count)
    yield from (desired, installed, waiting, dropping, drift, changes, packets, octets)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", help_text, value=value)
