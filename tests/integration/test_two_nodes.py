"""Two nodes joined by real WireGuard, each with its own Open vSwitch and agent, one controller. Needs root."""

from __future__ import annotations

import os
from typing import Any

import pytest
from lab_reports import reports

MOVES = 40 if os.environ.get("SOAK") else 2
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the lab says, by its words; of moves the worst."""
    lab = tmp_path_factory.mktemp("nodes") / "lab"
    said: dict[str, dict[str, Any]] = {}
    for line in reports("mininet/two_nodes_lab.py", lab, str(MOVES), timeout=120 + 5 * MOVES):
        if line.get("lost", 0) >= said.get(line["what"], {}).get("lost", 0):
            said[line["what"]] = line
    return said


def test_a_container_of_the_other_node_is_reached(told: dict[str, dict[str, Any]]) -> None:
    line = told["vector_db on the other node"]
    assert (line["lost"], list(line["answered_by"])) == (0, ["container 200 on b"])
    assert line["asked"] > 100


def test_each_caller_has_one_back_end_and_all_back_ends_are_used(told: dict[str, dict[str, Any]]) -> None:
    odd, even = told["search, asked by an odd address"], told["search, asked by an even address"]
    assert (odd["lost"], list(odd["answered_by"])) == (0, ["container 203 on b"])
    assert (even["lost"], list(even["answered_by"])) == (0, ["container 202 on a"])


@pytest.mark.parametrize(("source", "target"), [("b", "a"), ("a", "b")])
def test_a_container_moves_while_a_client_keeps_asking(
    told: dict[str, dict[str, Any]], source: str, target: str
) -> None:
    line = told[f"vector_db moved from {source} to {target}"]
    assert set(line["answered_by"]) == {f"container 200 on {source}", f"container 200 on {target}"}
    assert line["longest_gap"] < 0.1, line  # seconds; usually nothing at all is lost


def test_stop_leaves_nothing_on_the_node(told: dict[str, dict[str, Any]]) -> None:
    for name in ("a", "b"):
        line = told[f"stop on {name}"]
        assert line["before"] > 10
        assert line["left"] == []


def test_a_second_apply_changes_nothing(told: dict[str, dict[str, Any]]) -> None:
    assert [told[f"second apply on {name}"]["steps"] for name in ("a", "b")] == [[], []]
