"""The rules that concern the document as a whole. Each case breaks one rule, and only that one is reported."""

from __future__ import annotations

from typing import Any

import pytest
from policy_documents import Change, changed, policy, problems

from policies.check import check
from policies.model import PrivacyRouter, Vps, Xray

Router = dict[str, Any]
CASES: list[tuple[Change, str, str, str]] = []


def case(path: str, line: str, message: str) -> Any:
    """Register a change with the one problem it must cause: path inside privacy_router, its line, part of the text."""

    def register(change: Change) -> Change:
        CASES.append((change, path, line, message))
        return change

    return register


def flows(router: Router) -> list[dict[str, Any]]:
    return router["openflow"]["privacy_flows"]  # type: ignore[no-any-return]


def routes(router: Router) -> list[dict[str, Any]]:
    return router["openflow"]["function_routing"]  # type: ignore[no-any-return]


def sockets(router: Router) -> dict[str, Any]:
    return router["socket_networking"]  # type: ignore[no-any-return]


# Containers and their numbers


@case("wireguard.container_id", '"container_id": 200', "container 200 cannot be in the privacy network")
def gateway_in_the_mesh(router: Router) -> None:
    router["wireguard"]["container_id"] = 200
    sockets(router)["privacy_sockets"] = []


@case("xray.container_id", '"container_id": 99', "its containers are 100 to 199")
def xray_below_the_range(router: Router) -> None:
    router["xray"]["container_id"] = 99
    sockets(router)["privacy_sockets"] = []


@case(
    "socket_networking.mesh_sockets[2].container_id",
    '"container_id": 199',
    "its containers are 200 and above",
)
def mesh_socket_below_the_range(router: Router) -> None:
    sockets(router)["mesh_sockets"].append({"name": "internal_199", "container_id": 199, "port_type": "mesh"})


@case("socket_networking.privacy_sockets[2].container_id", '"container_id": 100', "container 100 is used twice")
def privacy_id_twice(router: Router) -> None:
    sockets(router)["privacy_sockets"].append({"name": "internal_9", "container_id": 100})


@case("socket_networking.mesh_sockets[2].container_id", '"container_id": 200', "used twice, first in line 4")
def mesh_id_twice(router: Router) -> None:
    sockets(router)["mesh_sockets"].append({"name": "internal_9", "container_id": 200})


@case("containers[2].id", '"id": 200', "container 200 is used twice")
def container_id_twice(router: Router) -> None:
    router["containers"].append({**router["containers"][0], "name": "again"})


@case("xray.container_id", '"container_id": 100', "each has one role")
def one_container_for_two_hops(router: Router) -> None:
    router["xray"]["container_id"] = 100
    sockets(router)["privacy_sockets"] = []


# Names


@case("netmaker.interface", '"interface": "ovsbr0"', "the mesh port and of the bridge")
def mesh_port_named_like_the_bridge(router: Router) -> None:
    router["netmaker"]["interface"] = "ovsbr0"


@case("warp.interface", '"interface": "ovsbr0"', "the port of the WARP hop and of the bridge")
def warp_named_like_the_bridge(router: Router) -> None:
    router["warp"]["interface"] = "ovsbr0"
    flows(router).clear()


@case("xray.socket_port", '"socket_port": "warp0"', "the port of the Xray client and of the port of the WARP hop")
def two_hops_share_a_port(router: Router) -> None:
    router["xray"]["socket_port"] = "warp0"
    sockets(router)["privacy_sockets"] = []
    flows(router).clear()


@case("warp.device", '"device": "wg100"', "the WARP device and of the gateway's WireGuard device")
def devices_share_a_name(router: Router) -> None:
    router["warp"]["device"] = "wg100"


@case("wireguard.device", '"device": "internal_200"', "the gateway's WireGuard device and of a socket")
def device_named_like_a_socket(router: Router) -> None:
    router["wireguard"]["device"] = "internal_200"


@case("netmaker.device", '"device": "wgcf"', "the mesh device and of the WARP device")
def mesh_device_named_like_the_warp_device(router: Router) -> None:
    router["netmaker"]["device"] = "wgcf"


@case("socket_networking.mesh_sockets[2].name", '"name": "internal_200"', "a socket and of another")
def socket_name_twice(router: Router) -> None:
    sockets(router)["mesh_sockets"].append({"name": "internal_200", "container_id": 202})
    router["containers"].clear()


@case("socket_networking.privacy_sockets[2].name", '"name": "internal_101"', "a socket and of another")
def hop_socket_name_twice(router: Router) -> None:
    sockets(router)["privacy_sockets"].insert(0, {"name": "internal_101", "container_id": 102})


@case("socket_networking.mesh_sockets[2].name", '"name": "internal_100"', "the port of the WireGuard gateway")
def mesh_socket_named_like_a_hop(router: Router) -> None:
    sockets(router)["mesh_sockets"].append({"name": "internal_100", "container_id": 202})
    sockets(router)["privacy_sockets"].clear()
    flows(router).clear()


@case("containers[1].name", '"name": "vector-db"', "a container and of another")
def container_name_twice(router: Router) -> None:
    router["containers"][1]["name"] = "vector-db"


@case("warp.namespace", '"namespace": "ct100"', "is the namespace of container 100")
def warp_in_a_container(router: Router) -> None:
    router["warp"]["namespace"] = "ct100"


@case("warp.namespace", '"namespace": "ct201"', "is the namespace of container 201")
def warp_in_a_mesh_container(router: Router) -> None:
    router["warp"]["namespace"] = "ct201"


# Sockets, containers and hops agree


@case("wireguard.socket_port", '"socket_port": "gw"', '"gw" is no privacy socket')
def gateway_without_its_socket(router: Router) -> None:
    router["wireguard"]["socket_port"] = "gw"
    flows(router).pop(0)


@case("xray.socket_port", '"socket_port": "internal_101"', "belongs to container 105")
def socket_of_another_container(router: Router) -> None:
    sockets(router)["privacy_sockets"][1]["container_id"] = 105


@case("containers[0].socket_port", '"socket_port": "internal_999"', '"internal_999" is no socket')
def container_without_socket(router: Router) -> None:
    router["containers"][0]["socket_port"] = "internal_999"


@case("containers[0].socket_port", '"socket_port": "internal_201"', "belongs to container 201, not to container 200")
def container_at_anothers_socket(router: Router) -> None:
    router["containers"][0]["socket_port"] = "internal_201"


@case("containers[0].socket_port", '"socket_port": "warp0"', "belongs to the WARP hop")
def container_at_the_warp_hop(router: Router) -> None:
    router["containers"][0] |= {"id": 102, "socket_port": "warp0", "network_type": "privacy"}


# The chain as a whole


@case("wireguard.enabled", '"enabled": false', "no entrance")
def no_gateway(router: Router) -> None:
    router["wireguard"]["enabled"] = False
    flows(router).pop(0)


@case("warp.enabled", '"enabled": false', "Xray needs an uplink")
def xray_without_warp(router: Router) -> None:
    router["warp"]["enabled"] = False
    flows(router).pop(1)


@case("wireguard.enabled", '"enabled": true', "leads nowhere")
def gateway_alone(router: Router) -> None:
    router["warp"]["enabled"] = router["xray"]["enabled"] = False
    flows(router).pop(1)


@case("socket_networking.enabled", '"enabled": false', "needed by the WireGuard gateway, the WARP hop")
def no_sockets(router: Router) -> None:
    sockets(router)["enabled"] = False


# Addresses


@case("chain.client_subnet", '"client_subnet": "10.99.0.128/25"', "overlaps chain.subnet, which is 10.99.0.0/24")
def clients_in_the_chain(router: Router) -> None:
    router["chain"] = {"client_subnet": "10.99.0.128/25"}


@case("netmaker.subnet", '"subnet": "100.104.0.0/16"', "overlaps chain.subnet")
def mesh_in_the_chain(router: Router) -> None:
    router["chain"] = {"subnet": "100.104.80.0/24"}
    router["netmaker"]["subnet"] = "100.104.0.0/16"


@case("netmaker.subnet", '"subnet": "100.104.0.0/16"', "overlaps chain.client_subnet")
def mesh_in_the_clients(router: Router) -> None:
    router["chain"] = {"client_subnet": "100.104.80.0/24"}
    router["netmaker"]["subnet"] = "100.104.0.0/16"


@case("xray.container_id", '"container_id": 127', "container 127 has no address in chain.subnet 10.99.0.0/25")
def hop_at_the_broadcast_address(router: Router) -> None:
    router["chain"] = {"subnet": "10.99.0.0/25"}
    router["xray"]["container_id"] = sockets(router)["privacy_sockets"][1]["container_id"] = 127


@case("socket_networking.privacy_sockets[2].container_id", '"container_id": 127', "has no address in chain.subnet")
def privacy_socket_that_does_not_fit(router: Router) -> None:
    router["chain"] = {"subnet": "10.99.0.0/25"}
    sockets(router)["privacy_sockets"].append({"name": "internal_127", "container_id": 127})


@case("xray.vps_address", '"xray": {', "missing: Xray needs the name or IPv4 address of its server")
def no_vps(router: Router) -> None:
    del router["xray"]["vps_address"], router["vps"]["xray_server"]


@case("vps.xray_server", '"xray_server": "other.example.com"', 'not what xray.vps_address says: "vps.example.com"')
def two_servers(router: Router) -> None:
    router["vps"]["xray_server"] = "other.example.com"


@case("vps.xray_port", '"xray_port": 8443', "not what xray.vps_port says: 443 (line 2")
def two_server_ports(router: Router) -> None:
    router["vps"]["xray_port"] = 8443


@case("xray.vps_address", '"vps_address": "10.99.0.7"', "lies in chain.subnet")
def vps_in_the_chain(router: Router) -> None:
    router["xray"]["vps_address"] = router["vps"]["xray_server"] = "10.99.0.7"


@case("xray.tproxy_port", '"tproxy_port": 1080', "socks_port as well")
def one_port_for_two_services(router: Router) -> None:
    router["xray"]["tproxy_port"] = 1080


# Flows


@case("openflow.privacy_flows[0].match_fields.in_port", '"in_port": "eth0"', "no port of this document; privacy ports")
def unknown_in_port(router: Router) -> None:
    flows(router)[0]["match_fields"]["in_port"] = "eth0"


@case("openflow.privacy_flows[0].match_fields", '"match_fields": "in_port=eth0"', "no port of this document")
def unknown_in_port_in_text(router: Router) -> None:
    flows(router)[0]["match_fields"] = "in_port=eth0"


@case("openflow.privacy_flows[0].match_fields.in_port", '"in_port": "internal_200"', "is a mesh port")
def privacy_flow_from_the_mesh(router: Router) -> None:
    flows(router)[0]["match_fields"]["in_port"] = "internal_200"


@case("openflow.privacy_flows[0].match_fields.in_port", '"in_port": "internal_150"', "no enabled hop sends by")
def privacy_flow_of_no_hop(router: Router) -> None:
    sockets(router)["privacy_sockets"].append({"name": "internal_150", "container_id": 150})
    flows(router)[0]["match_fields"]["in_port"] = "internal_150"


@case("openflow.privacy_flows[2].match_fields.in_port", '"in_port": "internal_101"', "no enabled hop sends by")
def privacy_flow_of_a_disabled_hop(router: Router) -> None:
    router["xray"]["enabled"] = False
    flows(router).append({"priority": 100, "match_fields": {"in_port": "internal_101"}, "actions": ["drop"]})


@case("openflow.privacy_flows[1].actions[1]", '"output:warp9"', '"warp9" is no port of this document')
def unknown_output(router: Router) -> None:
    flows(router)[1]["actions"].append("output:warp9")


@case("openflow.privacy_flows[0].actions[0]", '"output:nm-privacy"', "is a mesh port: nothing crosses")
def privacy_flow_to_the_mesh(router: Router) -> None:
    flows(router)[0]["actions"] = ["output:nm-privacy"]


@case("openflow.privacy_flows[1].actions[0]", '"output:warp0"', "is the port that the packet came in by")
def output_to_its_own_in_port(router: Router) -> None:
    flows(router)[1]["actions"] = ["output:warp0"]


@case("openflow.privacy_flows[2]", "{", '"back" has the match and priority of "WARP → XRay client" (line ')
def contradicting_flows(router: Router) -> None:
    flows(router).append(
        {
            "priority": 100,
            "match_fields": "in_port=warp0",
            "actions": ["output:internal_100"],
            "description": "back",
        }
    )


@case("openflow.privacy_flows[2]", "{", "is given twice, first in line ")
def flow_twice(router: Router) -> None:
    flows(router).append({**flows(router)[1], "match_fields": "in_port=warp0"})


# Function routes


@case("openflow.function_routing[0].target_socket", '"target_socket": "internal_999"', "is no mesh socket")
def unknown_target(router: Router) -> None:
    routes(router)[0]["target_socket"] = "internal_999"


@case("openflow.function_routing[0].target_socket", '"target_socket": "nm-privacy"', "is no mesh socket")
def target_is_the_mesh_uplink(router: Router) -> None:
    routes(router)[0]["target_socket"] = "nm-privacy"


@case("openflow.function_routing[0].target_socket", '"target_socket": "internal_100"', "is a privacy port")
def target_in_the_privacy_network(router: Router) -> None:
    routes(router)[0]["target_socket"] = "internal_100"


@case("openflow.function_routing[0].match_fields.in_port", '"in_port": "internal_100"', "is a privacy port")
def route_from_the_privacy_network(router: Router) -> None:
    routes(router)[0]["match_fields"]["in_port"] = "internal_100"


@case("openflow.function_routing[0].match_fields.in_port", '"in_port": "eth0"', "is no port of this document")
def route_from_nowhere(router: Router) -> None:
    routes(router)[0]["match_fields"]["in_port"] = "eth0"


@case("openflow.function_routing[0].match_fields.in_port", '"in_port": "internal_200"', "target socket as well")
def route_to_its_own_in_port(router: Router) -> None:
    routes(router)[0]["match_fields"]["in_port"] = "internal_200"


@case("openflow.function_routing[2]", "{", "instead of output:internal_200: give one another address")
def contradicting_routes(router: Router) -> None:
    routes(router).append(
        {"function": "cache", "target_socket": "internal_201", "match_fields": {"nw_dst": "100.104.70.10"}}
    )


@case("openflow.function_routing[2]", "{", "has the match and priority of")
def two_functions_at_one_address(router: Router) -> None:
    routes(router).append({**routes(router)[0], "function": "cache"})


@case("openflow.function_routing[2]", "{", "is given twice")
def route_twice(router: Router) -> None:
    routes(router).append({**routes(router)[0], "match_fields": {"ip": "", "nw_dst": "100.104.70.10/32"}})


@case("openflow.function_routing[0].match_fields", '"match_fields": {', "outside the mesh subnet 100.104.70.0/24")
def route_outside_the_mesh(router: Router) -> None:
    routes(router)[0]["match_fields"] = {"nw_dst": "192.0.2.1"}


@case("openflow.function_routing[0].match_fields", '"match_fields": {', "outside the mesh subnet")
def route_wider_than_the_mesh(router: Router) -> None:
    routes(router)[0]["match_fields"] = {"nw_dst": "100.104.0.0/16"}


@case("openflow.function_routing[0].match_fields", '"match_fields": {', "network or broadcast address")
def route_to_the_broadcast_address(router: Router) -> None:
    routes(router)[0]["match_fields"] = {"nw_dst": "100.104.70.255"}


@case("openflow.function_routing[0].match_fields", '"match_fields": {', "network or broadcast address")
def route_to_the_network_address(router: Router) -> None:
    routes(router)[0]["match_fields"] = {"nw_dst": "100.104.70.0"}


@case("openflow.function_routing[0].match_fields", '"match_fields": {}', "matches every packet")
def route_of_everything(router: Router) -> None:
    routes(router)[0]["match_fields"] = {}


@case("openflow.function_routing[2].match_fields", '"match_fields": {', 'is the address of "internal_200" already')
def one_address_for_two_sockets(router: Router) -> None:
    match = {"tcp": "tp_dst=80", "nw_dst": "100.104.70.10"}
    routes(router).append({"function": "web", "target_socket": "internal_201", "match_fields": match})


@pytest.mark.parametrize(("change", "path", "line", "message"), CASES, ids=[entry[0].__name__ for entry in CASES])
def test_a_broken_rule_is_the_one_problem_and_stands_at_its_line(
    change: Change, path: str, line: str, message: str
) -> None:
    found = problems(changed(change))
    assert len(found) == 1, found
    assert found[0][0] == f"privacy_router.{path}"
    assert found[0][1].startswith(line)
    assert message in found[0][2]


def test_a_container_in_the_wrong_network() -> None:
    def change(router: Router) -> None:
        router["containers"][0]["network_type"] = "privacy"

    assert [(path, message[:40]) for path, _, message in problems(changed(change))] == [
        ("privacy_router.containers[0].id", "container 200 cannot be in the privacy n"),
        ("privacy_router.containers[0].network_type", 'socket "internal_200" is a mesh socket, '),
    ]


def allowed(change: Change) -> PrivacyRouter:
    return policy(change)


def test_clients_leave_by_warp_without_xray() -> None:
    def change(router: Router) -> None:
        router["xray"]["enabled"] = False

    assert not allowed(change).xray.enabled


def test_only_the_mesh() -> None:
    def change(router: Router) -> None:
        for hop in ("wireguard", "warp", "xray"):
            router[hop]["enabled"] = False
        flows(router).clear()

    assert allowed(change).openflow.function_routing


def test_openflow_off_keeps_its_flows() -> None:
    def change(router: Router) -> None:
        router["openflow"]["enabled"] = False
        router["xray"]["enabled"] = False
        flows(router).append({"priority": 90, "match_fields": {"in_port": "internal_101"}, "actions": ["drop"]})

    assert len(allowed(change).openflow.privacy_flows) == 3


def test_without_listed_sockets_the_hops_name_the_privacy_ports() -> None:
    def change(router: Router) -> None:
        sockets(router)["privacy_sockets"] = []

    assert allowed(change).wireguard.socket_port == "internal_100"


def test_sockets_and_mesh_may_be_off_when_nothing_needs_them() -> None:
    def change(router: Router) -> None:
        for hop in ("wireguard", "warp", "xray", "socket_networking", "netmaker"):
            router[hop]["enabled"] = False
        flows(router).clear()
        routes(router).clear()

    assert not allowed(change).socket_networking.enabled


def test_matches_that_differ_in_priority_or_ports_are_no_duplicates() -> None:
    def change(router: Router) -> None:
        flows(router).append({**flows(router)[1], "priority": 101, "actions": ["drop"]})
        flows(router).append({"priority": 100, "match_fields": "tcp,tp_dst=25", "actions": ["drop"]})
        match = {"tcp": "tp_dst=80", "nw_dst": "100.104.70.10"}
        routes(router).append({"function": "web", "target_socket": "internal_200", "match_fields": match})
        routes(router).append({**routes(router)[0], "priority": 80})

    assert len(allowed(change).openflow.privacy_flows) == 4


def test_an_ethernet_mesh_interface_is_the_port_itself() -> None:
    def change(router: Router) -> None:
        router["netmaker"]["device"] = "nm-privacy"

    assert allowed(change).netmaker.device == "nm-privacy"


def test_a_container_of_a_hop() -> None:
    def change(router: Router) -> None:
        gateway = {"id": 100, "name": "gw", "container_type": "wireguard", "socket_port": "internal_100"}
        router["containers"].append({**gateway, "network_type": "privacy"})

    assert allowed(change).containers[2].id == 100


def test_the_vps_is_the_same_in_any_case_of_letters() -> None:
    def change(router: Router) -> None:
        router["vps"]["xray_server"] = "VPS.Example.COM"

    assert allowed(change).vps.xray_server == "VPS.Example.COM"


def test_a_policy_made_by_hand_is_checked_without_a_document() -> None:
    vps = Xray(vps_address="vps.example.com")
    assert check(PrivacyRouter(xray=vps, vps=Vps("vps.example.com"))) == ()
    (found,) = check(PrivacyRouter(xray=vps, vps=Vps("other.example.com")))
    assert found.place.line == 0


def _unreadable_id(router: Router) -> None:
    for entry in (router["wireguard"], sockets(router)["privacy_sockets"][0]):
        entry["container_id"] = 101
    router["xray"]["container_id"] = "102"
    sockets(router)["privacy_sockets"].pop(1)


def _unreadable_bridge(router: Router) -> None:
    router["bridge_name"], router["warp"]["device"] = "b r", "ovsbr0"


def _unreadable_mesh_port(router: Router) -> None:
    router["netmaker"]["interface"], router["warp"]["device"] = "n m", "nm-privacy"


def _unreadable_id_and_namespace(router: Router) -> None:
    sockets(router)["privacy_sockets"].pop(1)
    router["xray"]["container_id"], router["warp"]["namespace"] = None, "ct101"


def _unreadable_hop_socket(router: Router) -> None:
    sockets(router)["privacy_sockets"][1]["container_id"] = "101"


def _unreadable_switch_of_a_hop(router: Router) -> None:
    router["xray"]["enabled"] = "no"
    sockets(router)["privacy_sockets"].pop(1)


def _unreadable_container_socket(router: Router) -> None:
    sockets(router)["mesh_sockets"][0]["name"] = "in ternal"
    routes(router).pop(0)


def _unreadable_entrance(router: Router) -> None:
    router["wireguard"]["enabled"] = "no"
    router["warp"]["enabled"] = router["xray"]["enabled"] = False
    flows(router).clear()


def _unreadable_entrance_without_sockets(router: Router) -> None:
    _unreadable_entrance(router)
    sockets(router)["enabled"] = False
    routes(router).clear()


def _unreadable_chain_subnet(router: Router) -> None:
    router["chain"] = {"subnet": "10.98/24", "client_subnet": "10.99.0.0/24"}


def _unreadable_switch_of_a_hop_that_does_not_fit(router: Router) -> None:
    router["chain"] = {"subnet": "10.99.0.0/25"}
    router["xray"] |= {"enabled": "no", "container_id": 150}
    sockets(router)["privacy_sockets"].pop(1)


def _unreadable_vps(router: Router) -> None:
    router["xray"]["vps_address"] = "vps example"


def _unreadable_only_vps(router: Router) -> None:
    _unreadable_vps(router)
    del router["vps"]


def _unreadable_subnet_around_the_vps(router: Router) -> None:
    router["chain"] = {"subnet": 5}
    router["xray"]["vps_address"] = router["vps"]["xray_server"] = "10.99.0.7"


def _unreadable_socks_port(router: Router) -> None:
    router["xray"] |= {"socks_port": "1090", "tproxy_port": 1080}


def _unreadable_hop_port(router: Router) -> None:
    router["wireguard"]["socket_port"] = "g w"
    sockets(router)["privacy_sockets"][0]["name"] = flows(router)[0]["match_fields"]["in_port"] = "gw"


def _unreadable_switch_of_openflow(router: Router) -> None:
    router["openflow"]["enabled"] = "no"
    router["xray"]["enabled"] = False
    flows(router)[1] = {"priority": 100, "match_fields": {"in_port": "internal_101"}, "actions": ["drop"]}


def _unreadable_target(router: Router) -> None:
    sockets(router)["mesh_sockets"][0]["name"] = "in ternal"
    router["containers"].pop(0)


def _unreadable_mesh_subnet(router: Router) -> None:
    router["netmaker"]["subnet"] = "100.64.0.0"
    routes(router)[0]["match_fields"] = {"nw_dst": "100.64.0.7"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (_unreadable_id, "xray.container_id"),
        (_unreadable_bridge, "bridge_name"),
        (_unreadable_mesh_port, "netmaker.interface"),
        (_unreadable_id_and_namespace, "xray.container_id"),
        (_unreadable_hop_socket, "socket_networking.privacy_sockets[1].container_id"),
        (_unreadable_switch_of_a_hop, "xray.enabled"),
        (_unreadable_container_socket, "socket_networking.mesh_sockets[0].name"),
        (_unreadable_entrance, "wireguard.enabled"),
        (_unreadable_entrance_without_sockets, "wireguard.enabled"),
        (_unreadable_chain_subnet, "chain.subnet"),
        (_unreadable_switch_of_a_hop_that_does_not_fit, "xray.enabled"),
        (_unreadable_vps, "xray.vps_address"),
        (_unreadable_only_vps, "xray.vps_address"),
        (_unreadable_subnet_around_the_vps, "chain.subnet"),
        (_unreadable_socks_port, "xray.socks_port"),
        (_unreadable_hop_port, "wireguard.socket_port"),
        (_unreadable_switch_of_openflow, "openflow.enabled"),
        (_unreadable_target, "socket_networking.mesh_sockets[0].name"),
        (_unreadable_mesh_subnet, "netmaker.subnet"),
    ],
)
def test_what_could_not_be_read_is_not_judged_by_others(change: Change, path: str) -> None:
    """Its default would stand in for it, and make what is right look wrong."""
    assert [found[0] for found in problems(changed(change))] == [f"privacy_router.{path}"]
