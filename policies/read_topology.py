"""The topology document, which node has which container: text -> a valid topology, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from policies.document import parse_document, read_text
from policies.errors import DocumentError, Problem
from policies.functions import addresses, functions
from policies.kinds import container_number, datapath_id, host_address, identifier, kernel_name, or_null
from policies.model import PrivacyRouter
from policies.reader import Findings, Section
from policies.rules import Found, hops, sockets, touches
from policies.words import first_of
from topology.nodes import Node, Topology


@dataclass(frozen=True)
class _TopLevel:
    topology: Topology


def load_topology(path: Path, policy: PrivacyRouter) -> Topology:
    """The topology in a JSON or YAML file, which must fit the policy. Raises DocumentError."""
    return parse_topology(read_text(path), str(path), policy)


def parse_topology(text: str, file: str, policy: PrivacyRouter) -> Topology:
    """Raises DocumentError with every problem of the document."""
    document = parse_document(text, file)
    findings = Findings(document)
    top = Section(findings, document.root, "", _TopLevel)
    top.needs("topology")
    section = top.section("topology", Topology)
    if section.needs("nodes") and not section.get("nodes").value:
        section.lose("nodes", "expected at least one node in this list")
    read = [(node, entry) for entry in section.sections("nodes", Node) if (node := _node(entry)) is not None]
    topology = Topology(tuple(node for node, _ in read))
    paths = [entry.place.path for _, entry in read]
    judged = _judge(topology, paths, policy) if not findings.unread else _judge_what_was_read(topology, paths, policy)
    problems = [
        Problem(document.place(path), message)
        for path, message in judged
        if not any(touches(unread, path) for unread in findings.unread)
    ]
    if findings.problems or problems:
        raise DocumentError([*findings.problems, *problems])
    return topology


def _node(entry: Section) -> Node | None:
    name = entry.require("name", identifier)
    containers = entry.several("containers", container_number)  # none: all of them may have moved away
    node = Node(
        name or "",
        frozenset(containers),
        entry.read("mesh_address", or_null(host_address), None),
        entry.read("datapath_id", or_null(datapath_id), None),
        entry.read("bridge", or_null(kernel_name), None),
    )
    for index, number in enumerate(containers):
        if number in containers[:index]:
            entry.lose("containers", f"container {number} is listed twice: remove one", index)
    return node if name else None


def _judge(topology: Topology, paths: list[str], policy: PrivacyRouter) -> Found:
    yield from _judge_what_was_read(topology, paths, policy)
    yield from _one_node_has_the_chain(topology, paths, policy)


def _judge_what_was_read(topology: Topology, paths: list[str], policy: PrivacyRouter) -> Found:
    """What can be said of some nodes without knowing the others."""
    for rule in (_once_each, _containers_of_the_policy, _addresses_of_the_mesh):
        yield from rule(topology, paths, policy)


def _once_each(topology: Topology, paths: list[str], policy: PrivacyRouter) -> Found:
    kinds: tuple[tuple[str, Callable[[Node], object]], ...] = (
        ("name", lambda node: node.name),
        ("datapath_id", lambda node: node.datapath_id),
        ("mesh_address", lambda node: node.mesh_address),
    )
    for key, value_of in kinds:
        first: dict[object, str] = {}
        for node, path in zip(topology.nodes, paths, strict=True):
            value = value_of(node)
            if value is not None and value in first:
                yield f"{path}.{key}", f'{_said(value)} is that of node "{first[value]}" already: each node has its own'
            first.setdefault(value, node.name)
    owner: dict[int, str] = {}
    for node, path in zip(topology.nodes, paths, strict=True):
        for number in sorted(node.containers):
            if number in owner:
                yield f"{path}.containers", f'container {number} runs on node "{owner[number]}" already: remove one'
            owner.setdefault(number, node.name)
    unnamed = [path for node, path in zip(topology.nodes, paths, strict=True) if node.datapath_id is None]
    if len(topology.nodes) > 1:
        for path in unnamed:
            yield f"{path}.datapath_id", "missing: with several nodes a switch is known by its datapath id alone"


def _said(value: object) -> str:
    return f"{value:016x}" if isinstance(value, int) else f'"{value}"'


def _containers_of_the_policy(topology: Topology, paths: list[str], policy: PrivacyRouter) -> Found:
    known = {socket.container_id for socket in sockets(policy)}
    known |= {container.id for container in policy.containers}
    known |= {hop.container_id for hop in hops(policy) if hop.container_id is not None}
    for node, path in zip(topology.nodes, paths, strict=True):
        for number in sorted(node.containers - known):
            yield f"{path}.containers", f"the policy has no container {number}; it has {first_of(sorted(known))}"


def _addresses_of_the_mesh(topology: Topology, paths: list[str], policy: PrivacyRouter) -> Found:
    mesh = policy.netmaker.subnet
    owned = addresses(policy, functions(policy)).items()
    taken: dict[str, str] = {address: port for port, of_port in owned for address in of_port}
    for node, path in zip(topology.nodes, paths, strict=True):
        address = node.mesh_address
        if address is None:
            if policy.netmaker.enabled and len(topology.nodes) > 1:
                yield f"{path}.mesh_address", f"missing: the node's own address in the mesh subnet {mesh}"
        elif address not in mesh or address in (mesh.network_address, mesh.broadcast_address):
            yield f"{path}.mesh_address", f"{address} is no address in the mesh subnet {mesh} (netmaker.subnet)"
        elif str(address) in taken:
            owner = taken[str(address)]
            yield f"{path}.mesh_address", f'{address} is an address of "{owner}": choose another for the node'


def _one_node_has_the_chain(topology: Topology, paths: list[str], policy: PrivacyRouter) -> Found:
    """The hops of the chain speak through one switch."""
    if not topology.nodes:
        return
    homes = {}
    for hop in hops(policy):
        if hop.container_id is None:
            continue
        home = topology.home(hop.container_id)
        if home is None:
            yield "topology.nodes", f"no node has container {hop.container_id}, the {hop.title}: list it where it runs"
        else:
            homes[home.name] = hop
    if len(homes) > 1:
        told = " and ".join(f'the {hop.title} on "{name}"' for name, hop in homes.items())
        yield "topology.nodes", f"the chain's hops must be on one node, but it has {told}"
