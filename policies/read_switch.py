"""The switch's objects of the document: sockets, flows, function routes, the mesh interface, containers."""

from __future__ import annotations

from typing import Literal

from policies.actions import action, impossible
from policies.kinds import (
    boolean,
    container_number,
    controller,
    described,
    host_address,
    identifier,
    integer,
    kernel_name,
    one_of,
    or_null,
    subnet,
    text,
)
from policies.match import Match, MatchError, normalise
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

_PRIVACY: NetworkType = "privacy"
_MESH: NetworkType = "mesh"
_REMOVE: Literal["remove"] = "remove"
_KEEP: Literal["keep"] = "keep"
network_type = one_of(_PRIVACY, _MESH)

# 0 is the last entry of each table. The chain's direction entries stand 10 above the highest privacy flow, and 1 to 9
# are the mesh's own entries (docs/policy.md).
privacy_priority = integer(1, 65525)
function_priority = integer(10, 65535)


def read_socket_networking(section: Section) -> SocketNetworking:
    return SocketNetworking(
        enabled=section.read("enabled", boolean, SocketNetworking.enabled),
        network_type=section.read("network_type", network_type, SocketNetworking.network_type),
        privacy_sockets=_sockets(section, "privacy_sockets", _PRIVACY),
        mesh_sockets=_sockets(section, "mesh_sockets", _MESH),
    )


def _sockets(section: Section, key: str, expected: NetworkType) -> tuple[Socket, ...]:
    sockets = []
    for entry in section.sections(key, Socket):
        name = entry.require("name", kernel_name)
        number = entry.require("container_id", container_number)
        port_type = entry.read("port_type", one_of(expected), expected)
        if name is not None and number is not None:
            sockets.append(Socket(name, number, port_type, entry.place))
    return tuple(sockets)


def read_openflow(section: Section) -> OpenFlow:
    flows = (_privacy_flow(entry) for entry in section.sections("privacy_flows", PrivacyFlow))
    routes = (_function_route(entry) for entry in section.sections("function_routing", FunctionRoute))
    return OpenFlow(
        enabled=section.read("enabled", boolean, OpenFlow.enabled),
        controller=section.read("controller", controller, OpenFlow.controller),
        foreign_flows=section.read("foreign_flows", one_of(_REMOVE, _KEEP), OpenFlow.foreign_flows),
        privacy_flows=tuple(flow for flow in flows if flow is not None),
        function_routing=tuple(route for route in routes if route is not None),
    )


def _privacy_flow(section: Section) -> PrivacyFlow | None:
    priority = section.require("priority", privacy_priority)
    match = _match(section)
    actions = section.values("actions", action, ()) if section.needs("actions") else ()
    description = section.read("description", or_null(text), None)
    for index, message in impossible(actions, match or ()) if match is not None else ():
        section.lose("actions", message, index)
    if priority is None or match is None or not actions:
        return None
    return PrivacyFlow(priority, match, actions, description, section.place)


def _function_route(section: Section) -> FunctionRoute | None:
    function = section.require("function", identifier)
    target = section.require("target_socket", kernel_name)
    match = _match(section)
    priority = section.read("priority", function_priority, FunctionRoute.priority)
    if function is None or target is None or match is None:
        return None
    return FunctionRoute(function, target, match, priority, section.place)


def _match(section: Section) -> Match | None:
    if not section.needs("match_fields"):
        return None
    value = section.get("match_fields").value
    if not isinstance(value, (dict, str)):
        section.lose("match_fields", f"expected a map of match fields, or ovs-ofctl text, got {described(value)}")
        return None
    try:
        return normalise(value if isinstance(value, str) else {key: node.value for key, node in value.items()})
    except MatchError as error:
        for key, message in error.problems:
            section.lose("match_fields", message, key)
        return None


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


def read_containers(root: Section) -> tuple[Container, ...]:
    containers = []
    for entry in root.sections("containers", Container):
        number = entry.require("id", container_number)
        name = entry.require("name", identifier)
        container_type = entry.require("container_type", identifier)
        socket_port = entry.require("socket_port", kernel_name)
        network = entry.require("network_type", network_type)
        address = entry.read("address", or_null(host_address), None)
        if number and name and container_type and socket_port and network:
            containers.append(Container(number, name, container_type, socket_port, network, address, entry.place))
    return tuple(containers)
