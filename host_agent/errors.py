"""What can stop a run of the agent, each with its exit code.

0 done or in sync, 1 differences or not converged, 2 bad usage or invalid document, 3 something missing on this
machine, 4 another run holds the lock.
"""

from __future__ import annotations

from collections.abc import Sequence


class AgentError(Exception):
    """A reason to stop, in words for the operator: one problem per line."""

    exit_code = 1

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Conflict(AgentError):
    """A name or place we need belongs to somebody else. Nothing was touched."""

    exit_code = 1


class NotConverged(AgentError):
    """A step failed, or the machine still differs after all steps."""

    exit_code = 1


class Refused(AgentError):
    """The document or a file it names cannot be carried out. Nothing was touched."""

    exit_code = 2


class Missing(AgentError):
    """A program, service, kernel feature or input file is not on this machine. Nothing was touched."""

    exit_code = 3


class Locked(AgentError):
    """Another run of the agent works on the same state directory."""

    exit_code = 4


class CommandFailed(AgentError):
    """A program we ran ended badly. Its input is never shown (it may hold secrets)."""

    def __init__(self, argv: Sequence[str], returncode: int | None, stderr: str) -> None:
        ending = "gave no answer in time" if returncode is None else f"exit code {returncode}"
        super().__init__(f"{argv[0]}: {ending}: {stderr.strip() or 'no message'}")
        self.ended = returncode is not None and returncode >= 0  # by itself, not by a signal or for want of time
