"""Rules about functions with back ends and containers with addresses: each case breaks one, and is told at its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mesh_examples import BUCKET, SEARCH, VECTOR_DB, container, document, policy
from policy_documents import problems

from policies.functions import addresses, functions

Change = Callable[[dict[str, Any]], object]


def found(change: Change) -> list[tuple[str, str]]:
    given = document()
    change(given["privacy_router"])
    return [
        (path.removeprefix("privacy_router."), message) for path, _, message in problems(json.dumps(given, indent=1))
    ]


def routes(root: dict[str, Any]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = root["openflow"]["function_routing"]
    return listed


def both(root: dict[str, Any], match: object) -> None:
    for route in routes(root)[2:]:
        route["match_fields"] = match


def another_search(root: dict[str, Any]) -> None:
    match = "udp,nw_dst=100.104.70.21,tp_dst=6333"
    for target in ("internal_202", "internal_203"):
        routes(root).append({"function": "find", "target_socket": target, "match_fields": match})


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        (
            lambda r: r["containers"][0].update(address="100.104.71.2"),
            "containers[0].address",
            "no address of a container",
        ),
        (
            lambda r: r["containers"][0].update(address="100.104.70.255"),
            "containers[0].address",
            "no address of a cont",
        ),
        (lambda r: r["containers"][0].update(address="x"), "containers[0].address", "expected an IPv4 address"),
        (
            lambda r: r["containers"][2].update(address="100.104.70.23"),
            "containers[2].address",
            "given twice, first in",
        ),
        (lambda r: r["containers"][2].update(address=VECTOR_DB), "containers[2].address", 'to reach "internal_200"'),
        (
            lambda r: r["containers"][0].update(address=None),
            "openflow.function_routing[2].target_socket",
            "own beside it",
        ),
        (lambda r: both(r, {"nw_dst": SEARCH}), "openflow.function_routing[2].match_fields", "to one address and port"),
        (
            lambda r: both(r, f"udp,nw_dst={SEARCH},tp_dst=6333,nw_src=100.104.70.0/25"),
            "openflow.function_routing[2].match_fields",
            "on nothing else",
        ),
        (
            lambda r: both(r, "udp,nw_dst=100.104.70.20/31,tp_dst=6333"),
            "openflow.function_routing[2].match_fields",
            "share",
        ),
        (
            another_search,
            "openflow.function_routing[4].match_fields",
            '"internal_202" is a back end of "search" on this',
        ),
        (lambda r: r["netmaker"].update(mesh_address=BUCKET), "netmaker.mesh_address", 'an address of "internal_201"'),
        (lambda r: r["netmaker"].update(mesh_address="192.0.2.1"), "netmaker.mesh_address", "no address of a node"),
        (lambda r: routes(r).append(routes(r)[3]), "openflow.function_routing[4]", '"search" is given twice'),
        (
            lambda r: routes(r)[3].update(function="find"),
            "openflow.function_routing[3]",
            "instead of output:internal_202",
        ),
        (lambda r: r.update(datapath_id=1), "datapath_id", "expected a datapath id"),
        (
            lambda r: r["openflow"].update(controller="tcp:localhost:6653"),
            "openflow.controller",
            "expected tcp:ADDRESS",
        ),
        (lambda r: r["openflow"].update(controller="tcp:192.0.2.1:0"), "openflow.controller", "expected tcp:ADDRESS"),
    ],
)
def test_a_broken_rule_is_told(change: Change, path: str, message: str) -> None:
    told = found(change)
    assert any(where == path and message in text for where, text in told), told


def test_a_privacy_container_has_no_address_of_its_own() -> None:
    def change(root: dict[str, Any]) -> None:
        root["socket_networking"]["privacy_sockets"] = [
            {"name": "internal_110", "container_id": 110, "port_type": "privacy"}
        ]
        root["containers"].append({**container(110, "100.104.70.99"), "network_type": "privacy"})

    (told,) = found(change)
    assert told[0] == "containers[3].address"
    assert "follows from its id" in told[1]


def test_own_addresses_come_first_and_functions_behind_them() -> None:
    whole = policy()
    owned = {socket: tuple(map(str, given)) for socket, given in addresses(whole, functions(whole)).items()}
    assert owned == {
        "internal_200": (VECTOR_DB,),
        "internal_201": (BUCKET,),
        "internal_202": ("100.104.70.22", SEARCH),
        "internal_203": ("100.104.70.23", SEARCH),
        "internal_204": ("100.104.70.24",),
    }
    search = functions(whole)[2]
    assert (search.name, search.targets, str(search.address)) == ("search", ("internal_202", "internal_203"), SEARCH)
