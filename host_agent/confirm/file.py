"""The file of a change that waits to be confirmed: what was in force before it, and until when it waits.

It holds keys (the state of WireGuard devices), so it is for root only and never shown.
"""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from host_agent.drivers import files
from host_agent.facts.names import Answer
from host_agent.state import NODE, Chain, File, HostState, NamespaceState, log_path

PENDING, REFUSED = "pending-confirm", "unconfirmed-policy"
VALUES = (
    "ipaddress",
    "host_agent.facts.names",
    "host_agent.state.filtering",
    "host_agent.state.host",
    "host_agent.state.routing",
    "host_agent.state.wireguard",
    "host_agent.prefixes",
)  # modules whose values a state is made of


@dataclass(frozen=True)
class Pending:
    token: str  # tells this change from a later one
    boot: str  # the kernel's boot id: after a boot, what was applied is gone by itself
    deadline: float  # on the boot-time clock, which runs on while the machine is suspended
    policy: str  # path of the policy that waits
    documents: Mapping[str, str] = field(repr=False)  # file name -> text: the policy and, if there is one, the topology
    former: HostState = field(repr=False)
    paths: Mapping[str, str] = field(default_factory=dict)  # of namespaces that have no entry in /run/netns
    answers: Mapping[str, Answer] = field(default_factory=dict)  # of name servers, for the policy's host names

    @property
    def text(self) -> str:
        """Of the policy."""
        return next(text for name, text in self.documents.items() if name.startswith("policy"))


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read(state_dir: Path) -> Pending | None:
    """The change that waits; None if none does, or if what is there cannot be read."""
    with suppress(FileNotFoundError, pickle.UnpicklingError, EOFError, AttributeError, TypeError):
        found = _Values(io.BytesIO((state_dir / PENDING).read_bytes())).load()
        return found if isinstance(found, Pending) else None
    return None


def write(state_dir: Path, pending: Pending, digest: str) -> None:
    """From now on the policy with this digest counts as refused, until it is confirmed."""
    files.write(File(str(state_dir / REFUSED), f"{digest}\n".encode()))
    files.write(File(str(state_dir / PENDING), pickle.dumps(pending)))


def words(state_dir: Path) -> str | None:
    """Of the change that waits, for the operator; None if none does."""
    pending = read(state_dir)
    if pending is None or pending.boot != boot_id():
        return None
    left = max(0.0, pending.deadline - clock())
    return (
        f"{pending.policy} was applied and waits for its confirmation, {left:.0f} s more: "
        "run privacy-agent confirm, or wait until the former state is back"
    )


def waits(state_dir: Path) -> bool:
    return (state_dir / PENDING).exists()


def forget(state_dir: Path) -> None:
    (state_dir / PENDING).unlink(missing_ok=True)


def forget_refusal(state_dir: Path) -> None:
    (state_dir / REFUSED).unlink(missing_ok=True)


def refused(state_dir: Path) -> str | None:
    """The digest of the policy that was applied, never confirmed, and so undone."""
    with suppress(FileNotFoundError):
        return (state_dir / REFUSED).read_text().strip()
    return None


class _Values(pickle.Unpickler):
    """Makes values of a host's state and nothing else: a damaged file runs no code."""

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name == "Pending":
            return Pending
        if module in VALUES or (module, name) == ("builtins", "frozenset"):
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:  # not what the module merely has at hand
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a host's state")


def restorable(found: HostState, state_dir: Path) -> HostState:
    """The state to go back to, from what was found: of ours only, and with what a daemon needs to start again. Pure."""
    namespaces = {name: _ours(state) for name, state in found.namespaces.items()}
    daemons = {replace(it, argv=it.command, log=str(log_path(state_dir, it.name))) for it in found.daemons}
    return replace(
        found,
        namespaces={name: it for name, it in namespaces.items() if name != NODE or _more_than_links(it)},
        daemons=frozenset(daemons),
        waiting=(),
        strangers=frozenset(),
    )


def _ours(found: NamespaceState) -> NamespaceState:
    chains = (
        Chain(it.family, it.table, it.name, tuple(rule for rule in it.rules if rule.digest)) if it.shared else it
        for it in found.chains
    )
    return replace(
        found,
        chains=frozenset(chain for chain in chains if chain.rules or not chain.shared),
        links=frozenset(link for link in found.links if link.alive),
    )


def _more_than_links(found: NamespaceState) -> bool:
    return replace(found, links=frozenset()) != NamespaceState()
