"""Keys and values: what each may be, its default, and the line of what is wrong."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from policy_documents import DOCUMENTS, EXAMPLE, Change, changed, policy, problems

from policies.load import load, parse
from policies.model import (
    Chain,
    Container,
    FunctionRoute,
    Netmaker,
    OpenFlow,
    PrivacyFlow,
    PrivacyRouter,
    Socket,
    SocketNetworking,
    Vps,
    Warp,
    WireGuard,
    Xray,
)


def test_the_example_means_what_the_document_says() -> None:
    example = parse(EXAMPLE, "example.json")
    route = (("ip", ""),)
    assert example == PrivacyRouter(
        bridge_name="ovsbr0",
        wireguard=WireGuard(True, 100, "internal_100", True, 51820),
        warp=Warp(True, "warp0", None),
        xray=Xray(True, 101, "internal_101", 1080, vps_address="vps.example.com", vps_port=443),
        vps=Vps("vps.example.com", 443),
        socket_networking=SocketNetworking(
            True,
            "privacy",
            (Socket("internal_100", 100, "privacy"), Socket("internal_101", 101, "privacy")),
            (Socket("internal_200", 200, "mesh"), Socket("internal_201", 201, "mesh")),
        ),
        openflow=OpenFlow(
            True,
            (
                PrivacyFlow(100, (("in_port", "internal_100"),), ("output:warp0",), "WireGuard gateway → WARP tunnel"),
                PrivacyFlow(100, (("in_port", "warp0"),), ("output:internal_101",), "WARP → XRay client"),
            ),
            (
                FunctionRoute("vector_db", "internal_200", (*route, ("nw_dst", "100.104.70.10"))),
                FunctionRoute("bucket_storage", "internal_201", (*route, ("nw_dst", "100.104.70.11"))),
            ),
        ),
        netmaker=Netmaker(True, "nm-privacy", "privacy-mesh", True, None),
        containers=(
            Container(200, "vector-db", "vector_db", "internal_200", "mesh"),
            Container(201, "bucket-storage", "bucket_storage", "internal_201", "mesh"),
        ),
        chain=Chain(),
    )
    assert example.source == "example.json"


def test_items_know_their_place() -> None:
    example = parse(EXAMPLE, "example.json")
    places = [
        example.socket_networking.mesh_sockets[1].place,
        example.openflow.privacy_flows[1].place,
        example.openflow.function_routing[0].place,
        example.containers[0].place,
    ]
    root = "privacy_router"
    assert [(place.file, place.path) for place in places] == [
        ("example.json", f"{root}.socket_networking.mesh_sockets[1]"),
        ("example.json", f"{root}.openflow.privacy_flows[1]"),
        ("example.json", f"{root}.openflow.function_routing[0]"),
        ("example.json", f"{root}.containers[0]"),
    ]
    lines = EXAMPLE.splitlines()
    assert '"internal_201"' in lines[places[0].line - 1]
    assert '"in_port": "warp0"' in lines[places[1].line + 1]
    assert '"vector_db"' in lines[places[2].line]
    assert '"id": 200' in lines[places[3].line]


def test_the_yaml_document_is_the_same_policy() -> None:
    assert load(DOCUMENTS / "privacy-router.yaml") == load(DOCUMENTS / "privacy-router.json")


def _values(value: object, path: str = "") -> dict[str, object]:
    """Every plain value of a policy by path; lists by their first entry, and "place" and "source" left out."""
    if is_dataclass(value):
        found: dict[str, object] = {}
        for entry in fields(value):
            if entry.name not in ("place", "source"):
                found |= _values(getattr(value, entry.name), f"{path}.{entry.name}")
        return found
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return _values(value[0], f"{path}[0]")
    return {path: value}


def test_all_keys_yaml_has_every_key_and_the_defaults_of_the_model() -> None:
    """A key that it lacks, or a default that it gets wrong, would mislead its readers."""
    import yaml

    text = (DOCUMENTS / "all-keys.yaml").read_text(encoding="utf-8")
    shown = load(DOCUMENTS / "all-keys.yaml")
    written = yaml.safe_load(text)["privacy_router"]

    def keys(node: Any, path: str = "") -> set[str]:
        if isinstance(node, dict) and not path.endswith("match_fields"):
            return set().union(*(keys(child, f"{path}.{key}") for key, child in node.items()))
        if isinstance(node, list) and node and isinstance(node[0], dict):
            return keys(node[0], f"{path}[0]")
        return {path}

    assert keys(written) == set(_values(shown))
    defaults = _values(PrivacyRouter())
    marked_example = {".xray.vps_address", ".vps.xray_server", ".warp.ports", ".warp.probe"}
    differing = {path for path, value in _values(shown).items() if path in defaults and defaults[path] != value}
    assert differing == marked_example
    assert shown.openflow.function_routing[0].priority == FunctionRoute.priority


def test_what_is_left_out_has_its_default() -> None:
    least = parse('{"privacy_router": {"vps": {"xray_server": "192.0.2.1", "xray_port": 8443}}}', "least.json")
    expected = PrivacyRouter(
        xray=Xray(vps_address="192.0.2.1", vps_port=8443), vps=Vps("192.0.2.1", 8443), source="least.json"
    )
    assert least == expected


def test_keys_of_our_own() -> None:
    def change(router: dict[str, Any]) -> None:
        router["wireguard"] |= {"device": "wg7", "endpoint": "gw.example.com", "dns": ["192.0.2.53", "192.0.2.54"]}
        router["warp"] |= {"device": "cf", "namespace": "exit", "wgcf_config": "/etc/wgcf.conf"}
        router["xray"]["tproxy_port"] = 4000
        router["netmaker"] |= {"device": "nm0", "subnet": "100.104.64.0/20", "node_id": "node1"}
        router["chain"] = {"subnet": "192.168.0.0/16", "client_subnet": "10.8.0.0/24", "ipv6": "drop"}
        router["openflow"]["function_routing"][0]["priority"] = 95

    made = policy(change)
    assert (made.wireguard.device, made.wireguard.endpoint) == ("wg7", "gw.example.com")
    assert made.wireguard.dns == (IPv4Address("192.0.2.53"), IPv4Address("192.0.2.54"))
    assert (made.warp.device, made.warp.namespace, made.warp.wgcf_config) == ("cf", "exit", "/etc/wgcf.conf")
    assert made.xray.tproxy_port == 4000
    assert (made.netmaker.device, made.netmaker.subnet) == ("nm0", IPv4Network("100.104.64.0/20"))
    assert made.netmaker.interface == "nm-privacy"  # named, so node_id changes nothing
    assert made.chain == Chain(IPv4Network("192.168.0.0/16"), IPv4Network("10.8.0.0/24"), "drop")
    assert made.openflow.function_routing[0].priority == 95


def test_derived_names() -> None:
    def change(router: dict[str, Any]) -> None:
        router["wireguard"]["container_id"] = 110
        router["socket_networking"]["privacy_sockets"][0]["container_id"] = 110
        router["netmaker"] = {"node_id": "node1"}

    made = policy(change)
    assert made.wireguard.device == "wg110"
    assert made.netmaker.interface == "nm-node1"


def test_what_one_side_says_of_the_vps_holds_for_the_other() -> None:
    def only_xray(router: dict[str, Any]) -> None:
        router["xray"] |= {"vps_address": "198.51.100.9", "vps_port": 8443}
        del router["vps"]

    def only_vps(router: dict[str, Any]) -> None:
        router["vps"] |= {"xray_server": "198.51.100.9", "xray_port": 8443}
        del router["xray"]["vps_address"], router["xray"]["vps_port"]

    for made in (policy(only_xray), policy(only_vps)):
        assert (made.xray.vps_address, made.xray.vps_port) == ("198.51.100.9", 8443)
        assert made.vps == Vps("198.51.100.9", 8443)


def _set(*path: str | int, value: object) -> Change:
    def change(router: Any) -> None:
        for step in path[:-1]:
            router = router.setdefault(step, {}) if isinstance(step, str) else router[step]
        router[path[-1]] = value

    return change


def _remove(*path: str | int) -> Change:
    def change(router: Any) -> None:
        for step in path[:-1]:
            router = router[step]
        del router[path[-1]]

    return change


FLOW = ("openflow", "privacy_flows", 0)
ROUTE = ("openflow", "function_routing", 0)

WRONG_VALUES: list[tuple[tuple[str | int, ...], object, str]] = [
    (("bridge_name",), "ovs br0", "expected an interface name"),
    (("bridge_name",), "b" * 16, "expected an interface name"),
    (("bridge_name",), "0br", "expected an interface name"),
    (("bridge_name",), "br0\n", "expected an interface name"),
    (("bridge_name",), "", "expected an interface name"),
    (("bridge_name",), 5, "expected an interface name"),
    (("bridge_name",), "all", "a meaning of its own"),
    (("bridge_name",), "LOCAL", "a meaning of its own"),
    (("wireguard", "enabled"), "yes", "expected true or false"),
    (("wireguard", "enabled"), 1, "expected true or false"),
    (("wireguard", "zero_config"), None, "expected true or false, got null"),
    (("wireguard", "listen_port"), 0, "from 1 to 65535"),
    (("wireguard", "listen_port"), 65536, "from 1 to 65535"),
    (("wireguard", "listen_port"), True, "from 1 to 65535"),
    (("wireguard", "listen_port"), 51820.0, "from 1 to 65535"),
    (("wireguard", "listen_port"), "51820", "from 1 to 65535"),
    (("wireguard", "device"), "wg;reboot", "expected an interface name"),
    (("wireguard", "endpoint"), "gw.example.com:51820", "expected a host name"),
    (("wireguard", "dns"), [], "at least one entry"),
    (("warp", "interface"), "$(reboot)", "expected an interface name"),
    (("warp", "namespace"), "../host", "expected an interface name"),
    (("warp", "device"), None, "expected an interface name"),
    (("warp", "wgcf_config"), "", "expected the path"),
    (("warp", "wgcf_config"), "a\nb", "expected the path"),
    (("xray", "socks_port"), -1, "from 1 to 65535"),
    (("xray", "tproxy_port"), None, "from 1 to 65535"),
    (("xray", "vps_address"), "vps example", "expected a host name"),
    (("xray", "vps_address"), "-oProxy", "expected a host name"),
    (("xray", "vps_address"), "a..b", "expected a host name"),
    (("xray", "vps_address"), "256.1.1.1", "expected a host name"),
    (("xray", "vps_address"), "vps.1", "expected a host name"),
    (("xray", "vps_address"), "2001:db8::1", "carries no IPv6"),
    (("xray", "vps_address"), "127.0.0.1", "one other machine"),
    (("xray", "vps_address"), "0.0.0.0", "one other machine"),
    (("xray", "vps_address"), "224.0.0.1", "one other machine"),
    (("xray", "vps_address"), "255.255.255.255", "one other machine"),
    (("vps", "xray_port"), "443", "from 1 to 65535"),
    (("socket_networking", "network_type"), "private", 'expected "privacy" or "mesh"'),
    (("socket_networking", "privacy_sockets"), {}, "expected a list, got a mapping"),
    (("socket_networking", "privacy_sockets", 0), "internal_100", "expected a mapping"),
    (("socket_networking", "privacy_sockets", 0, "port_type"), "mesh", 'expected "privacy", got "mesh"'),
    (("socket_networking", "mesh_sockets", 0, "port_type"), "privacy", 'expected "mesh", got "privacy"'),
    (("socket_networking", "mesh_sockets", 0, "container_id"), 0, "whole number"),
    ((*FLOW, "priority"), 0, "from 1 to 65525"),
    ((*FLOW, "priority"), 65526, "from 1 to 65525"),
    ((*FLOW, "match_fields"), 5, "expected a map of match fields"),
    ((*FLOW, "match_fields"), None, "expected a map of match fields"),
    ((*FLOW, "actions"), "output:warp0", "expected a list"),
    ((*FLOW, "actions"), [], "at least one entry"),
    ((*FLOW, "description"), "a\x1b[31m", "printable"),
    ((*FLOW, "description"), "a" * 201, "at most 200"),
    ((*ROUTE, "priority"), 2, "from 10 to 65535"),
    ((*ROUTE, "function"), "vector db", "expected a name"),
    ((*ROUTE, "match_fields"), "nw_dts", "unknown match field"),
    (("netmaker", "subnet"), "100.104.70.0", "expected an IPv4 subnet"),
    (("netmaker", "subnet"), "100.104.70.1/24", "write 100.104.70.0/24"),
    (("netmaker", "node_id"), "a b", "expected a name"),
    (("chain", "subnet"), "10.0.0.0/7", "from /8 to /30"),
    (("chain", "subnet"), "10.0.0.0/31", "from /8 to /30"),
    (("chain", "subnet"), "10.0.0.0/255.0.0.0", "expected an IPv4 subnet"),
    (("chain", "subnet"), "127.0.0.0/8", "hosts can have addresses"),
    (("chain", "subnet"), "169.254.0.0/16", "hosts can have addresses"),
    (("chain", "client_subnet"), "224.0.0.0/8", "hosts can have addresses"),
    (("chain", "client_subnet"), "0.0.0.0/8", "hosts can have addresses"),
    (("chain", "client_subnet"), "fd00::/64", "expected an IPv4 subnet"),
    (("chain", "ipv6"), "allow", 'expected "drop"'),
    (("containers",), {}, "expected a list"),
    (("containers", 0, "name"), "a/b", "expected a name"),
    (("containers", 0, "network_type"), "lan", 'expected "privacy" or "mesh"'),
    (("vps",), [], "expected a mapping, got a list"),
]


def dotted(path: tuple[str | int, ...]) -> str:
    return "privacy_router" + "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in path)


@pytest.mark.parametrize(("path", "value", "message"), WRONG_VALUES)
def test_a_wrong_value_is_named_with_its_line(path: tuple[str | int, ...], value: object, message: str) -> None:
    """And it is the only problem: what depends on it is not blamed."""
    text = changed(_set(*path, value=value))
    (found,) = problems(text)
    assert found[0] == dotted(path)
    assert message in found[2]
    given = f'"{path[-1]}": ' if isinstance(path[-1], str) else ""
    beginning = json.dumps(value)[0] if isinstance(value, (dict, list)) and value else json.dumps(value)
    assert found[1].startswith(f"{given}{beginning}")


@pytest.mark.parametrize(
    ("path", "values", "index", "message"),
    [
        ((*FLOW, "actions"), ["output:warp0", "normal"], 1, "past the chain"),
        ((*FLOW, "actions"), ["NORMAL"], 0, "past the chain"),
        ((*FLOW, "actions"), ["flood"], 0, "outside the chain"),
        ((*FLOW, "actions"), ["all"], 0, "outside the chain"),
        ((*FLOW, "actions"), ["output:controller"], 0, "to the controller"),
        ((*FLOW, "actions"), ["controller:65535"], 0, "to the controller"),
        ((*FLOW, "actions"), ["local"], 0, "host itself"),
        ((*FLOW, "actions"), ["in_port"], 0, "where it came from"),
        ((*FLOW, "actions"), ["warp0"], 0, "accepted are output:PORT, set_field"),
        ((*FLOW, "actions"), ["output:1"], 0, "accepted are output:PORT, set_field"),
        ((*FLOW, "actions"), ["output:warp0\n"], 0, "accepted are output:PORT, set_field"),
        ((*FLOW, "actions"), [5], 0, "expected an action as text"),
        ((*FLOW, "actions"), ["output:warp0", "drop"], 1, "stands alone"),
        ((*FLOW, "actions"), ["output:warp0", "dec_ttl"], 1, "sent nowhere after it"),
        ((*FLOW, "actions"), ["dec_ttl", "output:warp0"], 0, "needs ip or ipv6 in match_fields"),
        ((*FLOW, "actions"), ["strip_vlan", "output:warp0"], 0, "needs a VLAN tag"),
        ((*FLOW, "actions"), [*["push_vlan:0x8100"] * 3, "output:warp0"], 2, "knows 2 VLAN tags"),
        ((*FLOW, "actions"), ["push_vlan:0x8100", *["strip_vlan"] * 2, "output:warp0"], 2, "needs a VLAN tag"),
        ((*FLOW, "actions"), ["mod_nw_dst:192.0.2.1", "output:warp0"], 0, "needs ip in match_fields"),
        ((*FLOW, "actions"), ["set_field:80->tcp_dst", "output:warp0"], 0, "does not fit match_fields: tp_dst needs"),
        ((*FLOW, "actions"), ["set_field:80->nw_proto", "output:warp0"], 0, "cannot be written"),
        ((*FLOW, "actions"), ["set_field:192.0.2.0/24->nw_dst", "output:warp0"], 0, "one value without a mask"),
        ((*FLOW, "actions"), ["set_field:5->vlan_vid", "output:warp0"], 0, "needs a VLAN tag"),
        ((*FLOW, "actions"), ["resubmit(,20)"], 0, "unknown action"),
        (("wireguard", "dns"), ["192.0.2.53", "dns.example.com"], 1, "IPv4 address of a DNS server"),
    ],
)
def test_a_wrong_entry_of_a_list(path: tuple[str | int, ...], values: list[object], index: int, message: str) -> None:
    (found,) = problems(changed(_set(*path, value=values)))
    assert found[0] == f"{dotted(path)}[{index}]"
    assert message in found[2]
    assert found[1].rstrip(",") == json.dumps(values[index])


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (("bridge",), "did you mean bridge_name?"),
        (("tunnel_director",), "known here: bridge_name, chain"),
        (("wireguard", "listen_prt"), "did you mean listen_port?"),
        (("xray", "place"), "known here"),
        ((*FLOW, "desciption"), "did you mean description?"),
        (("socket_networking", "mesh_sockets", 1, "port"), "did you mean port_type?"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(path: tuple[str | int, ...], hint: str) -> None:
    (found,) = problems(changed(_set(*path, value={"a": 1})))
    assert found[0] == dotted(path)
    assert found[2].startswith("unknown key; ")
    assert hint in found[2]
    assert found[1].startswith(f'"{path[-1]}"')


def test_an_unknown_key_cannot_forge_a_line() -> None:
    (found,) = problems(changed(_set("a\nb.json:1: fine\x1b[0m", value=1)))
    assert found[0] == 'privacy_router["a\\nb.json:1: fine\\u001b[0m"]'


REQUIRED: list[tuple[str | int, ...]] = [
    (*FLOW, "priority"),
    (*FLOW, "match_fields"),
    (*FLOW, "actions"),
    (*ROUTE, "function"),
    (*ROUTE, "target_socket"),
    (*ROUTE, "match_fields"),
    ("socket_networking", "mesh_sockets", 0, "name"),
    ("socket_networking", "mesh_sockets", 0, "container_id"),
    ("containers", 0, "id"),
    ("containers", 0, "name"),
    ("containers", 0, "container_type"),
    ("containers", 0, "socket_port"),
    ("containers", 0, "network_type"),
]


@pytest.mark.parametrize("path", REQUIRED)
def test_a_missing_key_is_named_with_the_line_of_its_mapping(path: tuple[str | int, ...]) -> None:
    (found,) = problems(changed(_remove(*path)))
    assert found == (dotted(path), "{", "missing: this key must be given")


@pytest.mark.parametrize("path", REQUIRED)
def test_null_is_no_value_of_a_key_that_must_be_given(path: tuple[str | int, ...]) -> None:
    (found,) = problems(changed(_set(*path, value=None)))
    assert (found[0], found[2].endswith("got null")) == (dotted(path), True), found


def test_null_is_no_number_of_a_further_gateway() -> None:
    gateway = {"container_id": None, "listen_port": 51821, "client_subnet": "10.101.0.0/24"}
    (found,) = problems(changed(_set("wireguard", "further", value=[gateway])))
    assert (found[0], "got null" in found[2]) == (dotted(("wireguard", "further", 0, "container_id")), True)


def test_privacy_router_is_the_one_top_level_key() -> None:
    assert problems("{}") == [("privacy_router", "{}", "missing: this key must be given")]
    (found,) = problems('{"privacy_routr": {}}')
    assert found[2] == "unknown key; did you mean privacy_router?"
    (found,) = problems('{\n"privacy_router":\nnull}')
    assert found[:2] == ("privacy_router", "null}")


def test_a_node_id_that_makes_no_interface_name() -> None:
    (found,) = problems(changed(_set("netmaker", value={"node_id": "proxmox-node-1"})))
    assert found[0] == "privacy_router.netmaker.node_id"
    assert 'got "nm-proxmox-node-1"' in found[2]


def test_match_problems_stand_at_their_key() -> None:
    (found,) = problems(changed(_set(*FLOW, "match_fields", value={"in_port": "internal_100", "nw_dst": "x"})))
    assert found[0] == f"{dotted(FLOW)}.match_fields.nw_dst"
    assert found[1] == '"nw_dst": "x"'


def test_all_problems_of_one_document_come_at_once_in_the_order_of_lines() -> None:
    text = """privacy_router:
  bridge_name: ovs br0
  wireguard:
    listen_prt: 51820
    listen_port: "51820"
  xray:
    vps_address: vps.example.com
  chain:
    subnet: 10.100.0.0/16
  socket_networking:
    privacy_sockets:
      - {name: internal_100, container_id: 100}
      - {name: internal_101, container_id: 100}
  openflow:
    privacy_flows:
      - priority: 100
        match_fields: {in_port: internal_100}
        actions: ["output:warp9"]
      - priority: 100
        match_fields: {in_port: warp0}
        actions: ["output:warp0"]
"""
    found = problems(text, "policy.yaml")
    assert [(path.removeprefix("privacy_router."), line) for path, line, _ in found] == [
        ("bridge_name", "bridge_name: ovs br0"),
        ("wireguard.listen_prt", "listen_prt: 51820"),
        ("wireguard.listen_port", 'listen_port: "51820"'),
        ("xray.socket_port", "xray:"),
        ("chain.client_subnet", "chain:"),
        ("socket_networking.privacy_sockets[1].container_id", "- {name: internal_101, container_id: 100}"),
        ("openflow.privacy_flows[0].actions[0]", 'actions: ["output:warp9"]'),
        ("openflow.privacy_flows[1].actions[0]", 'actions: ["output:warp0"]'),
    ]
