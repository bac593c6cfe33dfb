"""What ``doctor`` has read of a machine, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from host_agent.state import Stranger, table_name


@dataclass(frozen=True)
class ForeignRule:
    """An ip rule of somebody else."""

    namespace: str
    family: int
    priority: int
    table: int
    mark: int
    mask: int
    incoming: str | None = None

    def __str__(self) -> str:
        words = ["ip rule" if self.family == 4 else "ip -6 rule", "pref", str(self.priority)]
        words += ["iif", self.incoming] if self.incoming else []
        words += ["fwmark", f"{self.mark:#x}/{self.mask:#x}"] if self.mask else []
        return " ".join([*words, "lookup", table_name(self.table)])


@dataclass(frozen=True)
class ForeignMark:
    """A rule of somebody else that writes marks."""

    namespace: str
    mark: int
    mask: int
    rule: str


@dataclass(frozen=True)
class ForeignRoute:
    namespace: str
    table: int
    text: str


@dataclass(frozen=True)
class Unled:
    """A routing table of the kernel's own that no ip rule leads all packets to. The kernel makes such a rule with each
    network namespace; ``ip rule flush`` takes it away."""

    namespace: str
    family: int
    table: int


@dataclass(frozen=True)
class Trial:
    """A feature that was tried in a namespace made for it."""

    feature: str
    works: bool
    cure: str


@dataclass(frozen=True)
class Backend:
    """Where one family's iptables keeps its rules, and what it does not show of the same family."""

    tool: str  # "iptables" or "ip6tables"
    legacy: bool  # it keeps them in x_tables, else in nf_tables
    beside: tuple[str, ...] = ()  # tables with rules in the other of the two
    ours: bool = False  # some of those rules are ours


@dataclass(frozen=True)
class Machine:
    """What was read of it. Settings are by namespace and key below /proc/sys, without those that are not there."""

    rules: tuple[ForeignRule, ...] = ()
    marks: tuple[ForeignMark, ...] = ()
    routes: tuple[ForeignRoute, ...] = ()
    unled: tuple[Unled, ...] = ()
    settings: Mapping[tuple[str, str], str] = field(default_factory=dict)
    programs: frozenset[str] = frozenset()  # names of running programs
    networkd_keeps_rules: bool | None = None  # None: systemd-networkd does not run
    backends: tuple[Backend, ...] = ()
    bridges_without_fail_mode: tuple[str, ...] = ()  # of others
    trials: tuple[Trial, ...] = ()
    strangers: frozenset[Stranger] = frozenset()
