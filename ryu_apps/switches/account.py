"""What the controller remembers of a switch, for people: who it is, and what was last done to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Why a switch took nothing of a change, over which entry, and where the document asks for that."""

    error: str  # the switch's own word
    item: str = ""
    entry: str = ""  # as ovs-ofctl text; empty: the switch refused the bundle as a whole
    document: str | None = None  # file, line and path
    line: int | None = None

    def __str__(self) -> str:
        place = f" ({self.document})" if self.document else ""
        return ": ".join(filter(None, (self.error, self.item, self.entry))) + place


@dataclass(frozen=True)
class LastChange:
    """The last attempt to change a switch."""

    time: float  # Unix time of its end
    added: int
    replaced: int
    deleted: int
    messages: int  # flow messages sent
    bundles: int
    milliseconds: float  # from the first question to the read-back
    confirmed: bool  # the read-back showed exactly what was wanted
    reason: str | None  # why not
    trigger: str
    refusal: Refusal | None = None


@dataclass(frozen=True)
class SwitchAccount:
    dpid: int
    name: str = ""  # of the LOCAL port; empty until the switch has been read
    ours: bool = False  # the policy is for this bridge
    connected: bool = False
    last_change: LastChange | None = None
    changes_total: int = 0  # bundles committed
