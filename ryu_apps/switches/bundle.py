"""Changes as the messages of one atomic, ordered bundle (ONF extension 230)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

from ryu_apps.openflow.messages import Bundle, add_message, bundle_add, bundle_control, delete_message
from ryu_apps.openflow.wire import Identity, SwitchEntry
from ryu_apps.switches.plan import Change

_PORTION = 400  # messages, some 50 KiB: what is sent at once, before other greenlets and echo replies get their turn

# Where the parts stand in an added flow message: two headers with the xid, the cookie, and the match's TLVs.
_XID, _INNER_XID, _COOKIE, _TLVS = slice(4, 8), slice(28, 32), slice(32, 40), 76

_Frame = tuple[bytes, bytes, bytes, bytes]
_Shape = tuple[bytes, int, bytes, int]


@dataclass(frozen=True)
class FilledBundle:
    """A bundle that the switch has taken and not committed."""

    number: int
    xids: range  # to open it, for each entry that it may have, to close, commit and wait for it
    identities: list[Identity]  # of its entries, in the order in which they were sent

    def identity(self, xid: int) -> Identity | None:
        """Of the entry that was sent with this xid; None if none was."""
        place = xid - self.xids[1]
        return self.identities[place] if 0 <= place < len(self.identities) else None


def noted(changes: Iterable[Change], identities: list[Identity], at_most: int) -> Iterator[Change]:
    """The changes; their entries' identities are noted in the order in which they are sent."""
    for change in changes:
        identities += map(itemgetter(0), change.entries)
        if len(identities) > at_most:
            raise ValueError(f"a change of more than the {at_most} entries that were announced")
        yield change


def filling(bundle: int, opened: int, added: Iterable[int], changes: Iterable[Change]) -> Iterator[bytes]:
    """Fills the bundle with one change after the other, in portions; the first of them opens it.

    So the first change may be on its way while the next one is being made, and of no change nothing is sent.
    ``added``: the xids of the flow messages, one for each entry.
    """
    start, xids = bundle_control(Bundle.OPEN, bundle, opened), iter(added)
    frames: dict[_Shape, _Frame] = {}
    for change in changes:
        deletes = (
            bundle_add(delete_message(*each), bundle, each[1]) for each in zip(change.delete, xids, strict=False)
        )
        for portion in _portions(chain(deletes, _adds((*change.replace, *change.add), xids, bundle, frames))):
            yield start + portion
            start = b""


def _adds(
    entries: Iterable[SwitchEntry], xids: Iterator[int], bundle: int, frames: dict[_Shape, _Frame]
) -> Iterator[bytes]:
    """As ``bundle_add(add_message(...))``, but what two messages have in common is encoded once, into ``frames``."""
    for (identity, content), xid in zip(entries, xids, strict=False):
        shape = identity[:3], len(identity), content[:10], len(content)
        frame = frames.get(shape)
        if frame is None:
            frame = frames[shape] = _frame(SwitchEntry(identity, content), bundle)
        start, middle, body, padding = frame
        number = xid.to_bytes(4, "big")
        yield b"".join((start, number, middle, number, content[10:18], body, identity[3:], padding, content[18:]))


def _frame(entry: SwitchEntry, bundle: int) -> _Frame:
    """What stands before the first xid, between the two, between cookie and TLVs, and behind those."""
    octets = bundle_add(add_message(entry, 0), bundle, 0)
    end = _TLVS + len(entry.match)
    padding = octets[end : len(octets) - len(entry.instructions)]
    return octets[: _XID.start], octets[_XID.stop : _INNER_XID.start], octets[_COOKIE.stop : _TLVS], padding


def _portions(messages: Iterable[bytes]) -> Iterator[bytes]:
    portion: list[bytes] = []
    for message in messages:
        portion.append(message)
        if len(portion) == _PORTION:
            yield b"".join(portion)
            portion.clear()
    if portion:
        yield b"".join(portion)
