"""The addressing plan of the example and of its variants."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from policy_documents import policy

from policies.addresses import address_plan, destination
from policies.model import FunctionRoute
from topology.plan import Hop, MeshSocket, container_namespace, subnet_address


def test_the_plan_of_the_example() -> None:
    plan = address_plan(policy(lambda router: None))
    assert plan.hops == (
        Hop("gateway", "WireGuard gateway", "internal_100", "ct100", IPv4Interface("10.99.0.100/24")),
        Hop("warp", "WARP tunnel", "warp0", "warp", IPv4Interface("10.99.0.1/24")),
        Hop("xray", "Xray client", "internal_101", "ct101", IPv4Interface("10.99.0.101/24")),
    )
    assert plan.mesh == (
        MeshSocket("internal_200", 200, "ct200", "vector_db", IPv4Interface("100.104.70.10/24")),
        MeshSocket("internal_201", 201, "ct201", "bucket_storage", IPv4Interface("100.104.70.11/24")),
    )
    assert plan.gateway_client_address == IPv4Interface("10.100.0.1/24")
    assert plan.privacy_ports == ("internal_100", "warp0", "internal_101")
    assert plan.mesh_ports == ("internal_200", "internal_201")
    assert plan.hop("xray") is plan.hops[2]


def test_a_disabled_hop_leaves_the_plan() -> None:
    def change(router: dict[str, Any]) -> None:
        router["xray"]["enabled"] = False

    plan = address_plan(policy(change))
    assert plan.privacy_ports == ("internal_100", "warp0")
    assert plan.hop("xray") is None


def test_the_plan_follows_the_subnets() -> None:
    def change(router: dict[str, Any]) -> None:
        router["chain"] = {"subnet": "192.168.8.0/21", "client_subnet": "10.8.0.0/16"}
        router["netmaker"]["subnet"] = "100.104.64.0/20"

    plan = address_plan(policy(change))
    assert [str(hop.address) for hop in plan.hops] == ["192.168.8.100/21", "192.168.8.1/21", "192.168.8.101/21"]
    assert str(plan.gateway_client_address) == "10.8.0.1/16"
    assert [str(socket.address) for socket in plan.mesh] == ["100.104.70.10/20", "100.104.70.11/20"]


def test_a_mesh_socket_without_an_address() -> None:
    def change(router: dict[str, Any]) -> None:
        router["openflow"]["function_routing"][0]["match_fields"] = {"nw_dst": "100.104.70.16/28"}
        router["openflow"]["function_routing"].pop()

    plan = address_plan(policy(change))
    assert [(socket.function, socket.address) for socket in plan.mesh] == [("vector_db", None), (None, None)]


def test_only_a_single_address_is_a_destination() -> None:
    def route(text: str) -> FunctionRoute:
        return FunctionRoute("f", "s", (("ip", ""), ("nw_dst", text)))

    assert str(destination(route("100.104.70.10"))) == "100.104.70.10"
    assert destination(route("100.104.70.0/28")) is None
    assert destination(FunctionRoute("f", "s", (("tcp", ""),))) is None


def test_names_and_addresses_from_numbers() -> None:
    assert container_namespace(200) == "ct200"
    assert subnet_address(IPv4Network("10.99.0.0/24"), 101) == IPv4Interface("10.99.0.101/24")
