"""The policy document on disk: what it compiles to, and what is wrong with a later version of it.

The last good version stays in force until a newer one is valid as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from policies.document import read_text
from policies.errors import DocumentError, Problem
from policies.load import parse
from policies.model import Place, PrivacyRouter
from ryu_apps.flow import FlowEntry
from ryu_apps.pipeline import compile_pipeline, crossings


@dataclass(frozen=True)
class CompiledPolicy:
    policy: PrivacyRouter
    entries: tuple[FlowEntry, ...]
    revision: str  # SHA-256 of the document's text


def compile_document(text: str, file: str) -> CompiledPolicy:
    """Raises DocumentError with everything that is wrong."""
    policy = parse(text, file)
    entries = compile_pipeline(policy)
    wrong = crossings(policy, entries)
    if wrong:
        raise DocumentError(Problem(Place(file, 0, "privacy_router.openflow"), message) for message in wrong)
    return CompiledPolicy(policy, entries, revision(text))


def revision(text: str) -> str:
    return sha256(text.encode()).hexdigest()


class PolicyFile:
    """The file, its last good version, and the problems of its newest version (none if it is the good one)."""

    def __init__(self, path: Path) -> None:
        """Raises DocumentError when the file holds no valid policy."""
        self.path = path
        self.problems: tuple[str, ...] = ()
        self.current = compile_document(read_text(path), str(path))

    def reload(self) -> bool:
        """Reads the file again. True if another valid policy is in force now; ``problems`` says why not."""
        try:
            text = read_text(self.path)
            self.problems = ()
            if revision(text) == self.current.revision:
                return False
            self.current = compile_document(text, str(self.path))
        except DocumentError as error:
            self.problems = tuple(map(str, error.problems))
            return False
        return True
