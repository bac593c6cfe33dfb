"""The flow monitor of ONF's extension 187 for OpenFlow 1.3: the switch says at once who else changed which entry.

Written by hand, because the request of Ryu's parser is refused by Open vSwitch from 3.0 on. The layouts are those of
Open vSwitch's include/openflow/nicira-ext.h (nx_flow_monitor_request, nx_flow_update_full), which it uses for 1.3 as
well. Open vSwitch before 3.0 knows the monitor in OpenFlow 1.0 only and answers with an error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from ryu_apps.openflow.messages import ONF, Kind, match, multipart_kind, multipart_request
from ryu_apps.openflow.wire import Malformed, SwitchEntry, canonical_match, sound_instructions

_MULTIPART_EXPERIMENTER = 0xFFFF
_FLOW_MONITOR, _PAUSED, _RESUMED = 1870, 1870, 1871  # a multipart's subtype; two messages' subtypes
_OWN = 3  # an event beside those of ``Event``: what came by this connection
# Changes, with their instructions; of what came by this connection only its xid; nothing of what is there already.
_FLAGS = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4
_ANY_PORT, _ALL_TABLES = 0xFFFFFFFF, 0xFF
_FULL = struct.Struct("!HHHHHHHBxQ")
_HEAD = struct.Struct("!HH")


class Event(IntEnum):
    ADDED = 0
    DELETED = 1
    MODIFIED = 2


class Update(NamedTuple):
    """One change that somebody else made: the entry as it is now, or as it was when it was deleted."""

    event: Event
    entry: SwitchEntry


def monitor_request(xid: int, monitor: int = 1) -> bytes:
    """Asks to be told of every change in every table from now on."""
    everything = match(b"")
    body = struct.pack("!IHHIB3x", monitor, _FLAGS, len(everything), _ANY_PORT, _ALL_TABLES)
    return multipart_request(_MULTIPART_EXPERIMENTER, xid, struct.pack("!II", ONF, _FLOW_MONITOR) + body + everything)


def is_update(message: bytes) -> bool:
    """Whether the message is a part of the monitor's news."""
    return multipart_kind(message) == _MULTIPART_EXPERIMENTER and message[16:24] == struct.pack(
        "!II", ONF, _FLOW_MONITOR
    )


def is_gap(message: bytes) -> bool:
    """Whether the switch says that it keeps back news (its buffer is full), or that it goes on after that."""
    return message[1] == Kind.EXPERIMENTER and message[8:16] in (
        struct.pack("!II", ONF, _PAUSED),
        struct.pack("!II", ONF, _RESUMED),
    )


def decode_updates(message: bytes) -> Iterator[Update]:
    """What others changed. Our own changes, which the switch abbreviates, are left out. Raises Malformed."""
    offset = 24
    while offset < len(message):
        if len(message) - offset < 8:
            raise Malformed("a flow monitor update that ends too soon")
        length, event = _HEAD.unpack_from(message, offset)
        if length < 8 or offset + length > len(message) or event > _OWN:
            raise Malformed("a flow monitor update whose length or kind cannot be")
        if event != _OWN:
            yield Update(Event(event), _entry(message[offset : offset + length]))
        offset += length


def _entry(update: bytes) -> SwitchEntry:
    if len(update) < _FULL.size:
        raise Malformed("a flow monitor update that ends within its entry")
    _, _, _, priority, idle, hard, match_length, table, cookie = _FULL.unpack_from(update)
    start = _FULL.size
    if match_length < 4 or start + match_length > len(update):
        raise Malformed("a flow monitor update that ends within its match")
    tlvs = canonical_match(update[start + 4 : start + match_length])
    # The switch does not tell an entry's flags here; ours have none.
    instructions = sound_instructions(update[start + (match_length + 7 & ~7) :])
    return SwitchEntry.of(table, priority, tlvs, instructions, cookie, idle, hard)
