"""A change as the messages of one atomic, ordered bundle (ONF extension 230)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ryu_apps.openflow.messages import Bundle, add_message, bundle_add, bundle_control, delete_message
from ryu_apps.openflow.wire import SwitchEntry
from ryu_apps.switches.plan import Change

_PORTION = 400  # messages, some 50 KiB: what is sent at once, before other greenlets and echo replies get their turn

# Where the parts stand in an added flow message: two headers with the xid, the cookie, and the match's TLVs.
_XID, _INNER_XID, _COOKIE, _TLVS = slice(4, 8), slice(28, 32), slice(32, 40), 76


def filling(bundle: int, opened: int, added: range, change: Change) -> Iterator[bytes]:
    """Opens the bundle and fills it, in portions. ``added``: the xids of the flow messages, one for each entry."""
    yield bundle_control(Bundle.OPEN, bundle, opened)
    yield from _portions(
        bundle_add(delete_message(*each), bundle, each[1]) for each in zip(change.delete, added, strict=False)
    )
    yield from _portions(_adds((*change.replace, *change.add), added[len(change.delete) :], bundle))


def _adds(entries: Iterable[SwitchEntry], xids: range, bundle: int) -> Iterator[bytes]:
    """As ``bundle_add(add_message(...))``, but what two messages have in common is encoded once."""
    frames: dict[tuple[bytes, int, bytes, int], tuple[bytes, bytes, bytes, bytes]] = {}
    for (identity, content), xid in zip(entries, xids, strict=True):
        shape = identity[:3], len(identity), content[:10], len(content)
        frame = frames.get(shape)
        if frame is None:
            frame = frames[shape] = _frame(SwitchEntry(identity, content), bundle)
        start, middle, body, padding = frame
        number = xid.to_bytes(4, "big")
        yield b"".join((start, number, middle, number, content[10:18], body, identity[3:], padding, content[18:]))


def _frame(entry: SwitchEntry, bundle: int) -> tuple[bytes, bytes, bytes, bytes]:
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
