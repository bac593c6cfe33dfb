"""The last documents that were put in force and found so: what a boot starts from, and what serves while the policy's
file holds something invalid or unconfirmed. The addresses of their host names are remembered beside (``names``)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from host_agent.drivers import files
from host_agent.facts import survey
from host_agent.state import File
from policies.document import read_text
from policies.errors import DocumentError
from policies.host_model import Policy
from policies.load_node import load_for_node

DIRECTORY = "last-good"
SUFFIXES = (".json", ".yaml", ".yml")
Documents = Mapping[str, str]  # file name -> text: of the policy and, if there are several nodes, the topology


def documents(policy: Path, topology: Path | None) -> Documents:
    """As they are now. Raises DocumentError for one that cannot be read."""
    paths = {"policy": policy, **({"topology": topology} if topology else {})}
    return {
        f"{name}{path.suffix if path.suffix in SUFFIXES else '.json'}": read_text(path) for name, path in paths.items()
    }


def keep(state_dir: Path, wanted: Documents) -> None:
    """Remember these and no others. Writes nothing if they are what is remembered already."""
    directory = state_dir / DIRECTORY
    new = {File(str(directory / name), text.encode()) for name, text in wanted.items()}
    for file in new - files.read(new):
        files.write(file)
    for path in directory.iterdir():
        if path.name not in wanted:
            path.unlink()


def policy_path(state_dir: Path) -> Path | None:
    return _path(state_dir, "policy")


def load(state_dir: Path, node: str) -> Policy | None:
    """This node's part of them; None if none are remembered. Raises DocumentError."""
    path = policy_path(state_dir)
    return load_for_node(path, _path(state_dir, "topology"), node) if path else None


def namespaces(state_dir: Path, node: str) -> dict[str, str]:
    """Of containers that the last good policy was in force in: what a policy that does not name them has to clear."""
    with suppress(DocumentError):
        policy = load(state_dir, node) if shutil.which("lxc-info") else None
        return survey.namespaces(policy) if policy else {}
    return {}


def digest(text: str) -> str:
    """What tells one text of a policy from another."""
    return sha256(text.encode()).hexdigest()


def _path(state_dir: Path, name: str) -> Path | None:
    paths = [state_dir / DIRECTORY / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((path for path in paths if path.exists()), None)
