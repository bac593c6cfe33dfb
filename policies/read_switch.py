"""The switch's objects of the document: sockets, flows, function routes, the mesh interface, containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from policies.actions import action, impossible
from policies.kinds import (
    boolean,
    container_number,
    controller,
    host_address,
    identifier,
    integer,
    kernel_name,
    listed,
    one_of,
    or_null,
    subnet,
    text,
)
from policies.match import match
from policies.model import (
    Container,
    FunctionRoute,
    Netmaker,
    NetworkType,
    OpenFlow,
    PrivacyFlow,
    Socket,
    SocketNetworking,
)
from policies.reader import Section
from policies.records import Key, Record

_PRIVACY: NetworkType = "privacy"
_MESH: NetworkType = "mesh"
_REMOVE: Literal["remove"] = "remove"
_KEEP: Literal["keep"] = "keep"
network_type = one_of(_PRIVACY, _MESH)

# 0 is the last entry of each table. The chain's direction entries stand 10 above the highest privacy flow, and 1 to 9
# are the mesh's own entries (docs/policy.md).
PRIVACY_PRIORITY = integer(1, 65525)
FUNCTION_PRIORITY = integer(10, 65535)


def _actions_fit(values: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    if "actions" in values and "match_fields" in values:
        for index, message in impossible(values["actions"], values["match_fields"]):
            yield "actions", index, message


def _socket(port_type: NetworkType) -> Record[Socket]:
    return Record(
        Socket,
        (
            Key("name", kernel_name),
            Key("container_id", container_number),
            Key("port_type", one_of(port_type), port_type),
        ),
    )


_PRIVACY_SOCKET, _MESH_SOCKET = _socket(_PRIVACY), _socket(_MESH)
_PRIVACY_FLOW = Record(
    PrivacyFlow,
    (
        Key("priority", PRIVACY_PRIORITY),
        Key("match_fields", match),
        Key("actions", listed(action)),
        Key("description", or_null(text), None),
    ),
    _actions_fit,
)
_FUNCTION_ROUTE = Record(
    FunctionRoute,
    (
        Key("function", identifier),
        Key("target_socket", kernel_name),
        Key("match_fields", match),
        Key("priority", FUNCTION_PRIORITY, FunctionRoute.priority),
    ),
)
_CONTAINER = Record(
    Container,
    (
        Key("id", container_number),
        Key("name", identifier),
        Key("container_type", identifier),
        Key("socket_port", kernel_name),
        Key("network_type", network_type),
        Key("address", or_null(host_address), None),
    ),
)


def read_socket_networking(section: Section, earlier: SocketNetworking) -> SocketNetworking:
    return SocketNetworking(
        enabled=section.read("enabled", boolean, SocketNetworking.enabled),
        network_type=section.read("network_type", network_type, SocketNetworking.network_type),
        privacy_sockets=_PRIVACY_SOCKET.read(section, "privacy_sockets", earlier.privacy_sockets),
        mesh_sockets=_MESH_SOCKET.read(section, "mesh_sockets", earlier.mesh_sockets),
    )


def read_openflow(section: Section, earlier: OpenFlow) -> OpenFlow:
    return OpenFlow(
        enabled=section.read("enabled", boolean, OpenFlow.enabled),
        controller=section.read("controller", controller, OpenFlow.controller),
        foreign_flows=section.read("foreign_flows", one_of(_REMOVE, _KEEP), OpenFlow.foreign_flows),
        privacy_flows=_PRIVACY_FLOW.read(section, "privacy_flows", earlier.privacy_flows),
        function_routing=_FUNCTION_ROUTE.read(section, "function_routing", earlier.function_routing),
    )


def read_netmaker(section: Section) -> Netmaker:
    node_id = section.read("node_id", or_null(identifier), Netmaker.node_id)
    interface = section.read("interface", kernel_name, Netmaker.interface)
    if node_id is not None and not section.has("interface"):
        interface = section.read("node_id", lambda value: kernel_name(f"nm-{value}"), Netmaker.interface)
    return Netmaker(
        enabled=section.read("enabled", boolean, Netmaker.enabled),
        interface=interface,
        network_name=section.read("network_name", identifier, Netmaker.network_name),
        per_node_interface=section.read("per_node_interface", boolean, Netmaker.per_node_interface),
        node_id=node_id,
        device=section.read("device", kernel_name, Netmaker.device),
        subnet=section.read("subnet", subnet, Netmaker.subnet),
        mesh_address=section.read("mesh_address", or_null(host_address), Netmaker.mesh_address),
    )


def read_containers(root: Section, earlier: tuple[Container, ...]) -> tuple[Container, ...]:
    return _CONTAINER.read(root, "containers", earlier)
