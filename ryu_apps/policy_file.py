"""The policy document on disk: what it compiles to, and what is wrong with a later version of it.

The last good version stays in force until a newer one is valid as a whole.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from policies.document import read_text
from policies.errors import DocumentError
from policies.load import parse
from policies.model import PrivacyRouter
from policies.placement import NodeView, everything, view_of
from policies.read_topology import load_topology
from ryu_apps.flow import FlowEntry
from ryu_apps.pipeline import compile_node
from ryu_apps.verify import prove
from topology.nodes import Topology

NO_NODE = ""  # a switch of no node; the topology's names are never empty


@dataclass(frozen=True)
class CompiledPolicy:
    """What a document means for one switch; for all of them as well, if there is no topology."""

    policy: PrivacyRouter
    entries: tuple[FlowEntry, ...]
    revision: str  # SHA-256 of the document's text
    text: str = field(default="", repr=False)
    topology: Topology | None = None
    nodes: Mapping[str, CompiledPolicy] = field(default_factory=dict)  # with a topology: what it means for each node

    def for_switch(self, dpid: int, bridge: str) -> CompiledPolicy:
        """The part of the switch with this datapath id and bridge name; one without entries if it is no node's."""
        if self.topology is None:
            return self
        node = self.topology.of_switch(dpid, bridge, self.policy.bridge_name)
        return self.nodes[node.name] if node else self.nodes[NO_NODE]


def compile_document(text: str, file: str, topology_file: Path | None = None) -> CompiledPolicy:
    """Raises DocumentError with everything that is wrong."""
    with without_collection():
        return _compile(text, file, topology_file)


def _compile(text: str, file: str, topology_file: Path | None) -> CompiledPolicy:
    policy = parse(text, file)
    if topology_file is None:
        view = everything(policy)
        compiled = _compiled(view, text)
        prove({NO_NODE: compiled.entries}, policy, {NO_NODE: view})
        return compiled
    topology = load_topology(topology_file, policy)
    views = {node.name: view_of(policy, topology, node) for node in topology.nodes}
    nodes = {name: _compiled(view, text) for name, view in views.items()}
    prove({name: node.entries for name, node in nodes.items()}, policy, views)
    nodes[NO_NODE] = CompiledPolicy(replace(policy, bridge_name=""), (), revision(text), text)
    entries = nodes[topology.nodes[0].name].entries
    return CompiledPolicy(policy, entries, revision(text), text, topology, nodes)


def _compiled(view: NodeView, text: str) -> CompiledPolicy:
    return CompiledPolicy(view.policy, compile_node(view), revision(text), text)


@contextmanager
def without_collection() -> Iterator[None]:
    """Keeps Python from looking for cycles meanwhile: a large policy has millions of objects, and none of them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def revision(text: str) -> str:
    return sha256(text.encode()).hexdigest()


class PolicyFile:
    """The file, its last good version, and the problems of its newest version (none if it is the good one)."""

    def __init__(self, path: Path, topology_path: Path | None = None) -> None:
        """Raises DocumentError when the files hold no valid policy."""
        self.path = path
        self.topology_path = topology_path
        self.problems: tuple[str, ...] = ()
        self.current = self.compile(read_text(path))

    def compile(self, text: str) -> CompiledPolicy:
        """What the file would mean with this text. Raises DocumentError."""
        return compile_document(text, str(self.path), self.topology_path)

    def reload(self) -> bool:
        """Reads the files again. True if another valid policy is in force now; ``problems`` says why not."""
        try:
            text = read_text(self.path)
            self.problems = ()
            if revision(text) == self.current.revision and self.topology_path is None:
                return False
            compiled = self.compile(text)
            if (compiled.revision, compiled.topology) == (self.current.revision, self.current.topology):
                return False
            self.current = compiled
        except DocumentError as error:
            self.problems = tuple(map(str, error.problems))
            return False
        return True
