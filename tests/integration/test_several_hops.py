"""Two gateways and two Xrays in one chain, with real packets of three clients. Needs root, Open vSwitch and v2ray."""

from __future__ import annotations

from typing import Any

import pytest
from lab_reports import reports

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the lab says, by its words."""
    lab = tmp_path_factory.mktemp("hops") / "lab"
    return {line["what"]: line for line in reports("mininet/several_hops.py", lab, timeout=120)}


def served(line: dict[str, Any]) -> dict[str, bool]:
    """Whether a client's HTTP and UDP both came out at the VPS; False: neither did."""
    found = {}
    for name, saw in line["reached"].items():
        assert saw in ([line["vps"]] * 2, ["nothing"] * 2), line
        found[name] = saw[0] == line["vps"]
    return found


def test_clients_of_both_gateways_are_seen_as_the_vps(told: dict[str, dict[str, Any]]) -> None:
    assert served(told["all work"]) == {"client": True, "second": True, "third": True}


def test_each_client_has_the_xray_that_its_address_means(told: dict[str, dict[str, Any]]) -> None:
    assert told["shares"]["carried"] == {"ct101": ["10.100.0.2", "10.100.1.2"], "ct103": ["10.100.1.3"]}


def test_the_chain_shows_every_hop_and_counts_every_link(told: dict[str, dict[str, Any]]) -> None:
    assert told["chain"]["hops"] == [
        ["gateway", "internal_100", "in sync"],
        ["gateway", "internal_102", "in sync"],
        ["warp", "warp0", "in sync"],
        ["xray", "internal_101", "in sync"],
        ["xray", "internal_103", "in sync"],
    ]
    assert len(told["chain"]["counted"]) == 8 and all(told["chain"]["counted"].values())


def test_clients_of_two_gateways_do_not_meet(told: dict[str, dict[str, Any]]) -> None:
    line = told["apart"]
    assert line["control"] == 1, "what is for a client comes to its gateway, so the capture would see it"
    assert (line["arrived"], line["named"], line["answer"]) == (0, 0, "nothing")


def test_a_hop_speaks_only_for_clients_of_its_own(told: dict[str, dict[str, Any]]) -> None:
    assert (told["spoofed"]["control"], told["spoofed"]["arrived"]) == (1, 0)


def test_when_an_xray_dies_its_clients_are_dropped_and_the_others_go_on(told: dict[str, dict[str, Any]]) -> None:
    assert served(told["one Xray killed"]) == {"client": True, "second": True, "third": False}
    assert served(told["and started again"]) == {"client": True, "second": True, "third": True}
    assert told["leaks"]["control"] > 0 and told["leaks"]["of"] > 100
    assert (told["leaks"]["leaked"], told["leaks"]["unseen"]) == (0, 0)
    assert told["meanwhile"]["sent"] > 100
    assert told["meanwhile"]["lost"] < 0.02 * told["meanwhile"]["sent"], "0 on a machine that is not busy"


def test_the_clients_of_a_disabled_xray_go_to_the_other(told: dict[str, dict[str, Any]]) -> None:
    line = told["one Xray disabled"]
    assert served(line) == {"client": True, "second": True, "third": True}
    assert line["carried"] == ["10.100.0.2", "10.100.1.2", "10.100.1.3"]


def test_nothing_is_done_twice_and_nothing_is_left(told: dict[str, dict[str, Any]]) -> None:
    assert told["second apply"]["steps"] == []
    assert told["stop"]["left"] == []
