"""One round of mending is enough: what is wrong with one value hides nothing that can be said without it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from policy_documents import DOCUMENTS, EXAMPLE, Change, changed

from policies.errors import DocumentError, Problem
from policies.load import parse, parse_policy
from ryu_apps.policy.edit import plain


def told(text: str) -> list[tuple[str, str]]:
    """(path, message) of every problem, in the order of the lines."""
    return [(it.place.path.removeprefix("privacy_router."), it.message) for it in _problems(text)]


def _problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(DocumentError) as caught:
        parse(text, "policy.json")
    return caught.value.problems


def test_a_key_given_twice_hides_nothing() -> None:
    def change(router: dict[str, Any]) -> None:
        router["wireguard"]["listen_port"] = "51,820"
        router["warp"]["interface"] = "abcdefghijklmnopqrstuvwxyz"
        router["netmaker"]["subnet"] = "100.104.70.1/24"
        router["vps"]["xray_port"] = 444

    text = changed(change).replace('"zero_config": true', '"zero_config": true,\n"zero_config": 5')
    found = told(text)
    assert [path for path, _ in found] == [
        "wireguard.zero_config",
        "wireguard.zero_config",  # the second one, which is no boolean either
        "wireguard.listen_port",
        "warp.interface",
        "vps.xray_port",
        "netmaker.subnet",
    ]
    assert "given twice, first in line" in found[0][1] + found[1][1]


def test_a_value_given_twice_is_not_held_against_others() -> None:
    """Nobody knows which of the two is meant."""
    text = EXAMPLE.replace('"vps_port": 443', '"vps_port": 443, "vps_port": 8443')
    assert [path for path, _ in told(text)] == ["xray.vps_port"]


def test_a_document_with_a_key_given_twice_is_not_edited() -> None:
    with pytest.raises(DocumentError, match="given twice"):
        plain('{"a": 1, "a": 2}', "policy.json")


def _further(*entries: dict[str, Any]) -> Change:
    sockets = [
        {"name": f"internal_{entry['container_id']}", "container_id": entry["container_id"], "port_type": "privacy"}
        for entry in entries
        if isinstance(entry["container_id"], int) and entry["container_id"] > 101
    ]

    def change(router: dict[str, Any]) -> None:
        router["wireguard"]["further"] = list(entries)
        router["socket_networking"]["privacy_sockets"] += sockets

    return change


def gateway(number: object, port: object, subnet: object) -> dict[str, Any]:
    return {"container_id": number, "listen_port": port, "client_subnet": subnet}


SOUND = gateway(102, 51821, "10.100.1.0/24")


@pytest.mark.parametrize(
    ("first", "other", "paths"),
    [
        (SOUND, gateway(103, "51822", "10.100.1.0/25"), ["[1].client_subnet", "[1].listen_port"]),
        (SOUND, gateway(103, 51821, "10.100.2.0"), ["[1].client_subnet", "[1].listen_port"]),
        (SOUND, gateway(102, 51822, 5), ["[1].client_subnet", "[1].container_id", "[1].socket_port"]),
        (gateway(102, "51821", "10.100.1.0/24"), gateway(103, 51820, "10.100.2.0/24"),
         ["[0].listen_port", "[1].listen_port"]),
        (gateway(102, 51821, "10.99.0.0/28"), gateway("103", 51823, "10.100.3.0/24"),
         ["[0].client_subnet", "[1].container_id"]),
    ],
)  # fmt: skip
def test_what_spans_values_is_judged_where_they_are_sound(
    first: dict[str, Any], other: dict[str, Any], paths: list[str]
) -> None:
    found = {path.removeprefix("wireguard.further") for path, _ in told(changed(_further(first, other)))}
    assert found - {"socket_networking.privacy_sockets[3].container_id", "[1].device"} >= set(paths)
    assert all(path.startswith(("[", "socket_networking")) for path in found)


def _number_in_quotes(router: dict[str, Any]) -> None:
    router["wireguard"]["container_id"] = "100"


@pytest.mark.parametrize(
    ("more", "path"),
    [
        (lambda router: router["vps"].update(xray_server="other.example.com"), "vps.xray_server"),
        (lambda router: router["xray"].update(tproxy_port=1080, socks_port=1080), "xray.tproxy_port"),
        (lambda router: router.update(chain={"client_subnet": "10.99.0.0/25"}), "chain.client_subnet"),
        (lambda router: router["warp"].update(device="ovsbr0"), "warp.device"),
        (lambda router: router["xray"].update(socket_port="internal_105"), "xray.socket_port"),
        (lambda router: router["containers"][0].update(socket_port="internal_201"), "containers[0].socket_port"),
        (lambda router: router["socket_networking"]["mesh_sockets"][1].update(container_id=200),
         "socket_networking.mesh_sockets[1].container_id"),
    ],
)  # fmt: skip
def test_what_has_nothing_to_do_with_it_is_told_as_well(more: Change, path: str) -> None:
    def change(router: dict[str, Any]) -> None:
        _number_in_quotes(router)
        more(router)

    found = [path for path, _ in told(changed(change))]
    assert {"wireguard.container_id", path} <= set(found)


def test_an_unread_mesh_subnet_does_not_hide_a_port_that_is_none() -> None:
    def change(router: dict[str, Any]) -> None:
        router["netmaker"]["subnet"] = "100.104.70.1/24"
        router["openflow"]["function_routing"][1]["target_socket"] = "internal_250"
        router["openflow"]["privacy_flows"][0]["actions"] = ["output:warp1"]

    assert [path for path, _ in told(changed(change))] == [
        "openflow.privacy_flows[0].actions[0]",
        "openflow.function_routing[1].target_socket",
        "netmaker.subnet",
    ]


def test_a_misspelt_key_is_one_problem() -> None:
    def change(router: dict[str, Any]) -> None:
        router["xray"]["vps_adress"] = router["xray"].pop("vps_address")
        flow = router["openflow"]["privacy_flows"][0]
        flow["prioritty"] = flow.pop("priority")

    assert told(changed(change)) == [
        ("xray.vps_adress", "unknown key; did you mean vps_address?"),
        ("openflow.privacy_flows[0].prioritty", "unknown key; did you mean priority?"),
    ]
    assert told(EXAMPLE.replace('"privacy_router"', '"privacy_routr"')) == [
        ("privacy_routr", "unknown key; did you mean privacy_router?")
    ]


def test_quotes_round_a_number_are_named() -> None:
    def change(router: dict[str, Any]) -> None:
        router["xray"]["vps_port"] = "443"
        router["warp"]["enabled"] = "true"
        router["wireguard"]["listen_port"] = "70000"

    assert [message for _, message in told(changed(change))] == [
        'expected a whole number from 1 to 65535, got "70000"',
        'expected true or false, without quotes, got "true"',
        'expected a whole number from 1 to 65535, without quotes, got "443"',
    ]


def test_advanced_settings_that_could_be_read_are_held_against_each_other() -> None:
    advanced = {
        "xray": {"fwmark": "x", "tproxy_port": 1080, "socks_port": 1080, "route_table": 254, "rule_pref": 16384}
    }
    with pytest.raises(DocumentError) as caught:
        parse_policy(json.dumps({"xray": {"clients": ["192.168.50.10"]}, "advanced": advanced}), "policy.json")
    assert sorted(problem.place.path.removeprefix("advanced.xray.") for problem in caught.value.problems) == [
        *("fwmark", "route_table", "rule_pref", "tproxy_port"),
    ]


MARK = "doubled or misspelt here"
Path = tuple[str | int, ...]


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*path, key)
        yield from _paths(child, (*path, key))


def _with(document: Any, path: Path, change: Callable[[Any, Any], Any]) -> str:
    """The document as text, after ``change`` of what holds the key, or the number in a list, that ends the path."""
    copy = json.loads(json.dumps(document))
    holder = copy
    for step in path[:-1]:
        holder = holder[step]
    change(holder, path[-1])
    return json.dumps(copy, indent=1)


def _of_a_wrong_type(holder: Any, key: Any) -> None:
    holder[key] = 7 if isinstance(holder[key], list) else [5.5]


def _marked(holder: dict[str, Any], key: str) -> None:
    """MARK stands before the key, in the same mapping."""
    entries = list(holder.items())
    holder.clear()
    for name, value in entries:
        holder |= {MARK: value, name: value} if name == key else {name: value}


def _mistakes(document: Any, path: Path) -> Iterator[str]:
    yield _with(document, path, _of_a_wrong_type)
    if isinstance(path[-1], str):
        yield _with(document, path, _marked).replace(json.dumps(MARK), json.dumps(path[-1]))
        yield _with(document, path, lambda holder, key: holder.update({f"{key[:-1]}zz": holder.pop(key)}))


@pytest.mark.parametrize("name", ["privacy-router.json", "all-keys.yaml"])
def test_one_mistake_blames_nothing_else(name: str) -> None:
    """Of every value in turn: a wrong type, its key given twice, its key misspelt. The rest is right, and stays so."""
    document = yaml.safe_load((DOCUMENTS / name).read_text())
    for path in _paths(document):
        begins = dotted(path)[:-1]  # a misspelt key is like it but for its last letter
        for text in _mistakes(document, path):
            found = [it.place.path for it in _problems(text)]
            assert found, path
            assert all(each.startswith(begins) for each in found), (path, found)


def dotted(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
