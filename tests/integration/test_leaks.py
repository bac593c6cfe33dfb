"""The leak suite: real packets of clients in every state of the packet policy, and while policies change."""

from __future__ import annotations

import os
import statistics
from typing import Any

import pytest
from lab_reports import reports
from lan_lab import MANAGED
from lan_router import address
from lan_states import STATES

SOAK = bool(os.environ.get("SOAK"))
CONTROL = "positive control: no policy, everything is seen on the uplink"


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    found = reports("mininet/lan_states.py", tmp_path_factory.mktemp("states"), timeout=300)
    return {each["state"]: each for each in found}


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    count = "1000" if SOAK else "30"
    return reports("mininet/lan_flips.py", tmp_path_factory.mktemp("changes"), count, timeout=1800 if SOAK else 300)


@pytest.fixture(scope="module")
def blows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return reports("mininet/lan_flush.py", tmp_path_factory.mktemp("blows"), "4" if SOAK else "1", timeout=600)


def test_the_capture_would_see_a_leak(states: dict[str, dict[str, Any]]) -> None:
    control = states[CONTROL]
    assert control["wrong"] == {}
    everybody = {address(client, version) for client in MANAGED for version in (4, 6)}
    assert everybody <= set(control["visible"])


@pytest.mark.parametrize("name", [state.name for state in STATES])
def test_every_packet_goes_where_the_policy_says(states: dict[str, dict[str, Any]], name: str) -> None:
    """Per state: each client, both families, TCP, UDP, the QUIC port, DNS by UDP and TCP, to the router, and ICMP."""
    assert states[name]["wrong"] == {} and states[name]["leaks"] == {}


def test_no_packet_leaks_while_things_change(changes: list[dict[str, Any]]) -> None:
    """Flips of policies, SIGKILL before every step of an apply, and links that flap, under traffic of all kinds."""
    for each in changes:
        assert each["leaks"] == {}, each["test"]
        assert each.get("dropped", 0) == 0, "the capture must see every packet"
        assert each.get("control", 1) > 0, f"{each['test']}: the free client's packets were not seen"
    kinds = {each["test"].split(" from")[0] for each in changes}
    assert kinds == {"flips", "killed at every step", "links that flap"}
    assert all(each["kills"] > 3 for each in changes if each["test"].startswith("killed"))


def test_no_packet_leaks_when_strangers_flush(blows: list[dict[str, Any]]) -> None:
    """Chains, tables, sets, ip rules and routes are taken away, one after the other, and nobody puts them back."""
    held = [each for each in blows if not each.get("wanted", True)]
    assert len(held) > 28
    for each in held:
        assert (each["leaks"], each["asked"]) == ({}, []), f"{each['policy']}: {each['test']}"
        assert each["dropped"] == 0 and each["control"] > 0 and each["sent"] > 100


def test_without_the_guard_they_would(blows: list[dict[str, Any]]) -> None:
    """Positive control: what is taken away matters, and the capture sees it."""
    first = [each for each in blows if each.get("wanted") and each["policy"] == blows[0]["policy"]]
    assert len(first) == 6
    for each in first:
        assert each["leaks"], each["test"]
    assert all(each["asked"] for each in first[:2]), "with everything gone, the router answers clients' queries"


def test_when_all_is_flushed_run_puts_it_back(blows: list[dict[str, Any]]) -> None:
    """And meanwhile the IPsec policies hold."""
    (window,) = (each for each in blows if each["test"] == "window")
    assert window["control"] > 0 and statistics.median(window["milliseconds"]) < 2000
    assert window["strays"] == 0


def test_policies_that_somebody_flushed_come_back_at_once(blows: list[dict[str, Any]]) -> None:
    (seen,) = (each for each in blows if each["test"] == "IPsec policies")
    assert seen["policies"] > 10 and sorted(seen["milliseconds"])[1] < 300


def test_a_strict_source_check_of_answers_passes(blows: list[dict[str, Any]]) -> None:
    """An ip rule by source in the guard's place would make the kernel drop what excluded destinations answer."""
    (seen,) = (each for each in blows if each["test"] == "strict source check")
    assert seen["lost"] == [] and seen["probes"] == 24


def test_a_table_that_leads_to_another_device_is_followed(blows: list[dict[str, Any]]) -> None:
    (seen,) = (each for each in blows if each["test"] == "another device")
    assert seen["milliseconds"] < 5000
