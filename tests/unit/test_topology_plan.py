"""The addressing plan of the example and of its variants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
from further_hops import with_further
from policy_documents import policy

from policies.addresses import address_plan
from policies.functions import destination
from policies.match_fields import FIELDS
from policies.model import PrivacyRouter
from topology.plan import Hop, MeshSocket, Share, container_namespace, subnet_address


def test_the_plan_of_the_example() -> None:
    plan = address_plan(policy(lambda router: None))
    clients = IPv4Network("10.100.0.0/24")
    everyone = Share(int(clients.network_address), int(clients.netmask))
    assert plan.hops == (
        Hop("gateway", "WireGuard gateway", "internal_100", "ct100", IPv4Interface("10.99.0.100/24"), clients),
        Hop("warp", "WARP tunnel", "warp0", "warp", IPv4Interface("10.99.0.1/24")),
        Hop("xray", "Xray client", "internal_101", "ct101", IPv4Interface("10.99.0.101/24"), shares=(everyone,)),
    )
    assert plan.mesh == (
        MeshSocket("internal_200", 200, "ct200", "vector_db", ("100.104.70.10",), 24),
        MeshSocket("internal_201", 201, "ct201", "bucket_storage", ("100.104.70.11",), 24),
    )
    assert plan.privacy_ports == ("internal_100", "warp0", "internal_101")
    assert plan.mesh_ports == ("internal_200", "internal_201")
    assert (plan.warp, plan.of("xray")) == (plan.hops[1], plan.hops[2:])


def test_a_disabled_hop_leaves_the_plan() -> None:
    def change(router: dict[str, Any]) -> None:
        router["xray"]["enabled"] = False

    plan = address_plan(policy(change))
    assert plan.privacy_ports == ("internal_100", "warp0")
    assert plan.of("xray") == ()


def test_the_plan_follows_the_subnets() -> None:
    def change(router: dict[str, Any]) -> None:
        router["chain"] = {"subnet": "192.168.8.0/21", "client_subnet": "10.8.0.0/16"}
        router["netmaker"]["subnet"] = "100.104.64.0/20"

    plan = address_plan(policy(change))
    assert [str(hop.address) for hop in plan.hops] == ["192.168.8.100/21", "192.168.8.1/21", "192.168.8.101/21"]
    assert [str(hop.clients) for hop in plan.of("gateway")] == ["10.8.0.0/16"]
    assert [str(socket.address) for socket in plan.mesh] == ["100.104.70.10/20", "100.104.70.11/20"]


def test_a_mesh_socket_without_an_address() -> None:
    def change(router: dict[str, Any]) -> None:
        router["openflow"]["function_routing"][0]["match_fields"] = {"nw_dst": "100.104.70.16/28"}
        router["openflow"]["function_routing"].pop()

    plan = address_plan(policy(change))
    assert [(socket.function, socket.address) for socket in plan.mesh] == [("vector_db", None), (None, None)]


def test_only_a_single_address_is_a_destination() -> None:
    assert destination((("ip", ""), ("nw_dst", "100.104.70.10"))) == "100.104.70.10"
    assert destination((("ip", ""), ("nw_dst", "100.104.70.0/28"))) is None
    assert destination((("tcp", ""),)) is None


def test_the_plan_of_several_gateways_and_xrays() -> None:
    plan = address_plan(policy(with_further))
    assert [hop.title for hop in plan.hops] == [
        "WireGuard gateway", "WireGuard gateway 102", "WARP tunnel", "Xray client", "Xray client 103"
    ]  # fmt: skip
    assert plan.privacy_ports == ("internal_100", "internal_102", "warp0", "internal_101", "internal_103")
    assert [str(hop.clients) for hop in plan.of("gateway")] == ["10.100.0.0/24", "10.100.1.0/24"]
    assert [len(stage) for stage in plan.stages] == [2, 1, 2]
    assert [[str(share) for share in hop.shares] for hop in plan.of("xray")] == [
        ["10.100.0.0/255.255.255.1", "10.100.1.0/255.255.255.1"],
        ["10.100.0.1/255.255.255.1", "10.100.1.1/255.255.255.1"],
    ]


def some_xrays(count: int, off: Collection[int] = (), subnet: str = "10.100.0.0/24") -> PrivacyRouter:
    def change(router: dict[str, Any]) -> None:
        with_further(router)
        del router["socket_networking"]["privacy_sockets"]
        router["chain"] = {"client_subnet": subnet}
        router["xray"]["enabled"] = 0 not in off
        router["xray"]["further"] = [
            {"container_id": 110 + number, "enabled": number not in off} for number in range(1, count)
        ]

    return policy(change)


def owners_of(made: PrivacyRouter) -> dict[IPv4Address, list[str]]:
    """Of every address in a clients' subnet, the Xrays that have it."""
    xrays = address_plan(made).of("xray")
    subnets = [gateway.clients for gateway in address_plan(made).of("gateway") if gateway.clients]
    return {
        client: [hop.port for hop in xrays for share in hop.shares if client in share]
        for subnet in subnets
        for client in subnet
    }


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("subnet", ["10.100.0.0/24", "10.100.0.4/30", "10.100.0.128/26"])
def test_every_client_has_exactly_one_xray(count: int, subnet: str) -> None:
    owned = owners_of(some_xrays(count, subnet=subnet))
    assert {len(ports) for ports in owned.values()} == {1}
    served = Counter(ports[0] for client, ports in owned.items() if client in IPv4Network("10.100.1.0/24"))
    assert len(served) == count
    assert max(served.values()) <= 1.4 * min(served.values()), "nearly as many each"


@pytest.mark.parametrize("count", range(2, 8))
def test_only_the_clients_of_an_xray_that_is_switched_off_move(count: int) -> None:
    before, off = owners_of(some_xrays(count)), count - 1
    after, gone = owners_of(some_xrays(count, {off})), "internal_101" if off == 0 else f"internal_{110 + off}"
    assert {len(ports) for ports in after.values()} == {1}
    moved = {client for client in before if before[client] != after[client]}
    assert moved == {client for client, ports in before.items() if ports == [gone]}
    taken_over = Counter(after[client][0] for client in moved)
    assert gone not in taken_over and len(taken_over) == count - 1


@pytest.mark.parametrize("mask", ["255.255.255.1", "255.255.255.0", "255.255.255.255", "128.0.0.0", "0.0.0.1"])
def test_a_share_is_written_as_a_match_writes_it(mask: str) -> None:
    bits = int(IPv4Address(mask))
    text = str(Share(int(IPv4Address("10.100.0.1")) & bits, bits))
    form = FIELDS["nw_src"]
    assert form.parse(text) == (int(IPv4Address("10.100.0.1")) & bits, bits)
    assert form.text(*form.parse(text)) == text


def test_names_and_addresses_from_numbers() -> None:
    assert container_namespace(200) == "ct200"
    assert subnet_address(IPv4Network("10.99.0.0/24"), 101) == IPv4Interface("10.99.0.101/24")
