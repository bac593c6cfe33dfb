"""What every step can say and do."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from host_agent.drivers.namespaces import Namespaces
from host_agent.state import NODE, HostState

ASKED = "/dev/tty"  # standard input may be the script itself, or nothing, which would empty a file and take a key away
OF_PROCESS = re.compile(r"/proc/([0-9]+)/ns/net")


@dataclass(frozen=True)
class Machine:
    """Where steps are carried out."""

    namespaces: Namespaces
    state_dir: Path


class Step(ABC):
    """One change of the machine; plain data until it is carried out.

    As text it says what it does, in the words of ip(8) and its neighbours.
    """

    @abstractmethod
    def carry_out(self, machine: Machine) -> None:
        """Raises AgentError or OSError."""

    @abstractmethod
    def commands(self) -> list[str]:
        """What an operator could type for it: lines for a shell that ends where one fails (sh -e). Pure.

        The agent does not run these: it speaks netlink, so that nothing is half done and no key stands in an
        argument. What a command cannot say without a key is asked of the operator (``ASKED``).
        """

    @property
    def place(self) -> str | None:
        """The network namespace that it changes; None if it changes none."""
        return getattr(self, "namespace", None)

    @property
    def objects(self) -> tuple[str, ...]:
        """What it repairs, one name per object: a fight is counted by object."""
        return (str(self),)

    def was(self, found: HostState) -> str:
        """For a log: what was found instead of what was wanted, in one line. Pure."""
        return "it differed"


def script(steps: Sequence[Step], paths: Mapping[str, str]) -> list[str]:
    """The commands of all, each step's words as a comment above. ``paths``: of the namespaces that exist. One that is
    known by its process alone, as an LXC container's, has a name for ip(8) until the shell ends."""
    processes = {name: found[1] for name, path in paths.items() if (found := OF_PROCESS.fullmatch(path))}
    nameless = sorted(processes.keys() & {step.place for step in steps})
    lines = [f"trap '{'; '.join(f'ip netns del {name}' for name in nameless)}' EXIT"] if nameless else []
    lines += [f"ip netns attach {name} {processes[name]}" for name in nameless]
    return [*lines, *(line for step in steps for line in (f"# {step}", *step.commands()))]


def at(namespace: str) -> str:
    """The prefix of a step's words: where it happens."""
    return "node" if namespace == NODE else namespace


def inside(place: str) -> str:
    """The start of a command in a namespace."""
    return "" if place == NODE else f"ip netns exec {place} "


def ip(place: str, option: str = "") -> str:
    """ip(8) in a namespace; ``option`` as of state.FAMILY_OPTION."""
    return f"ip{'' if place == NODE else f' -n {place}'}{option}"
