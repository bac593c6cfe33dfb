"""The policy that ``run`` follows: a file, or where that holds nothing usable at the start, the last good policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from host_agent import last_good
from host_agent.confirm import file as confirm_file
from host_agent.errors import AgentError
from host_agent.run.log import Log
from policies.errors import DocumentError
from policies.host_model import Policy
from policies.load_node import load_for_node


@dataclass(frozen=True)
class Places:
    policy: Path
    state_dir: Path
    config_dir: Path
    topology: Path | None = None
    node: str = ""


@dataclass(frozen=True)
class Source:
    """A valid policy and the documents it was read from."""

    policy: Policy
    documents: last_good.Documents | None  # None: they are the last good ones


class PolicyFile:
    """Reads the file again when asked to. What is invalid or was never confirmed changes nothing, and is said once."""

    def __init__(self, places: Places, log: Log) -> None:
        self._places, self._log = places, log
        self._seen = ""  # digest of what was last read
        self._said: tuple[str, ...] = ()
        self.source: Source | None = None  # what is to be in force

    def forget(self) -> None:
        """Take the next reading for new, whatever it holds."""
        self._seen = ""

    def read(self, asked: bool) -> bool:
        """Whether there is a policy to be put in force, which there always is if the operator asked for it.

        Raises DocumentError or AgentError if there is no policy at all.
        """
        path, more = self._places.policy, self._places.topology
        try:
            documents = last_good.documents(path, more)
            seen = last_good.digest("\0".join(documents.values()))
            if seen == self._seen and not asked:
                return False
            self._seen = seen
            policy = load_for_node(path, more, self._places.node)
        except DocumentError as error:
            return self._unusable("invalid", [str(problem) for problem in error.problems], error)
        if last_good.digest(next(iter(documents.values()))) == confirm_file.refused(self._places.state_dir):
            words = f"{path}: this policy was applied with --confirm and never confirmed; apply it again, or edit it"
            return self._unusable("unconfirmed", [words], AgentError(words))
        if self.source is not None and not asked and self.source.documents != documents:
            self._log("info", "policy", f"{path} changed")
        self.source, self._said = Source(policy, documents), ()
        return True

    def _unusable(self, event: str, problems: list[str], error: DocumentError | AgentError) -> bool:
        """Stay with the policy in force; at the start, fall back to the last good one."""
        if tuple(problems) != self._said:
            self._said = tuple(problems)
            for problem in problems:
                self._log("error", event, problem)
        if self.source is not None:
            return False
        policy = last_good.load(self._places.state_dir, self._places.node)
        if policy is None:
            raise error
        directory = self._places.state_dir / last_good.DIRECTORY
        self._log("warning", "policy", f"the last good policy is put in force: {directory}")
        self.source = Source(policy, None)
        return True
