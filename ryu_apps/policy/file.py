"""The policy document on disk: what it compiles to, and what is wrong with a later version of it.

The last good version stays in force until a newer one is valid as a whole.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from policies.document import read_text
from policies.errors import DocumentError
from policies.load import Reading, read
from policies.model import PrivacyRouter
from policies.placement import NodeView, everything, view_of
from policies.read_topology import load_topology
from ryu_apps.flows.flow import FlowEntry
from ryu_apps.flows.pipeline import Compiled, compile_view
from ryu_apps.verify import Proof, prove
from topology.nodes import Topology

MANY_OBJECTS = 100_000  # to look through them takes some 20 ms
NO_NODE = ""  # a switch of no node; the topology's names are never empty


@dataclass(frozen=True)
class Making:
    """How a document became a policy: what makes the next version of it quick."""

    reading: Reading
    whole: NodeView
    nodes: Mapping[str, Compiled]
    proof: Proof


@dataclass(frozen=True)
class CompiledPolicy:
    """What a document means for one switch; for all of them as well, if there is no topology."""

    policy: PrivacyRouter
    entries: tuple[FlowEntry, ...]
    revision: str  # SHA-256 of the document's text
    text: str = field(default="", repr=False)
    topology: Topology | None = None
    nodes: Mapping[str, CompiledPolicy] = field(default_factory=dict)  # with a topology: what it means for each node
    making: Making | None = field(default=None, repr=False, compare=False)
    milliseconds: float = field(default=0.0, compare=False)  # that it took to read and prove it

    def for_switch(self, dpid: int, bridge: str) -> CompiledPolicy:
        """The part of the switch with this datapath id and bridge name; one without entries if it is no node's."""
        if self.topology is None:
            return self
        node = self.topology.of_switch(dpid, bridge, self.policy.bridge_name)
        return self.nodes[node.name] if node else self.nodes[NO_NODE]


def compile_document(
    text: str, file: str, topology_file: Path | None = None, earlier: CompiledPolicy | None = None
) -> CompiledPolicy:
    """Raises DocumentError with everything that is wrong.

    ``earlier``, an earlier version of the same file, makes it quick: the result is the same, but the entries of what
    has not changed are the earlier objects.
    """
    started, making = time.monotonic(), earlier.making if earlier else None
    with without_collection():
        compiled = compile_reading(read(text, file, making.reading if making else None), topology_file, making)
    return replace(compiled, milliseconds=round((time.monotonic() - started) * 1000, 1))


def compile_reading(reading: Reading, topology_file: Path | None, earlier: Making | None = None) -> CompiledPolicy:
    """The same for a document that was read, and has a chain's policy."""
    text = reading.text
    policy, known = reading.chain, earlier.nodes if earlier else {}
    whole = everything(policy, earlier.whole if earlier else None)
    topology = _topology(topology_file, policy)
    if topology is None:
        views = {NO_NODE: whole}
    else:
        views = {node.name: view_of(policy, topology, node, whole) for node in topology.nodes}
    made = {name: compile_view(view, known.get(name)) for name, view in views.items()}
    proof = prove(
        {name: node.entries for name, node in made.items()}, policy, views, earlier.proof if earlier else None
    )
    digest, making = revision(text), Making(reading, whole, made, proof)
    if topology is None:
        return CompiledPolicy(policy, made[NO_NODE].entries, digest, text, making=making)
    nodes = {name: CompiledPolicy(node.view.policy, node.entries, digest, text) for name, node in made.items()}
    nodes[NO_NODE] = CompiledPolicy(replace(policy, bridge_name=""), (), digest, text)
    return CompiledPolicy(policy, nodes[topology.nodes[0].name].entries, digest, text, topology, nodes, making)


def _topology(file: Path | None, policy: PrivacyRouter) -> Topology | None:
    return load_topology(file, policy) if file else None


@contextmanager
def without_collection() -> Iterator[None]:
    """Keeps Python from looking for cycles meanwhile: a large policy has millions of objects, and none of them.

    Nor afterwards, if there are very many new ones: a search among them would hold up every thread, for a third of a
    second at 100,000 routes. They go when nobody refers to them, as ever; the few cycles that the reading itself leaves
    (10 KB) then stay. What has failed may leave many, so it is searched.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        if collecting and gc.get_count()[0] > MANY_OBJECTS:
            gc.freeze()
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
        self.current = compile_document(read_text(path), str(path), topology_path)

    def compile(self, text: str) -> CompiledPolicy:
        """What the file would mean with this text. Raises DocumentError."""
        return compile_document(text, str(self.path), self.topology_path, self.current)

    def newest(self, known: CompiledPolicy | None = None) -> CompiledPolicy:
        """What the files say now: ``current`` if it is that, or ``known`` if it is that. Raises DocumentError."""
        text = read_text(self.path)
        for each in (self.current, known):
            if each and each.text == text and each.topology == _topology(self.topology_path, each.policy):
                return each
        return self.compile(text)

    def accept(self, compiled: CompiledPolicy) -> bool:
        """From now on this is in force. True if it is another one than before."""
        before, self.current, self.problems = self.current, compiled, ()
        return compiled is not before

    def refuse(self, error: DocumentError) -> None:
        self.problems = tuple(map(str, error.problems))
