"""A switch in memory that speaks OpenFlow to a session: bundles, statistics, the flow monitor; no kernel, no daemon.

``TableSwitch`` is what Ryu calls a datapath. What a test does to ``table`` by ``foreign`` is somebody else's doing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from eventlet import sleep

from ryu_apps.openflow.messages import HEADER, LOCAL_PORT, ONF, Bundle, Kind, match, message
from ryu_apps.openflow.wire import Identity, SwitchEntry

ADD, DELETE, DELETE_STRICT = 0, 3, 4
PORT_DESC, FLOW, EXPERIMENTER = 13, 1, 0xFFFF
ADDED, DELETED, OWN = 0, 1, 3
TABLE_FULL = (5, 1)


class TableSwitch:
    def __init__(self, ports: dict[str, int], name: str = "ovsbr0", watchable: bool = True) -> None:
        self.ports = {**ports, name: LOCAL_PORT}
        self.table: dict[Identity, SwitchEntry] = {}
        self.watchable = watchable
        self.refuses: Callable[[SwitchEntry], bool] = lambda _entry: False
        self.opened = 0  # bundles, ever
        self.on_added: Callable[[int], None] = lambda _count: None  # called when a bundle has so many messages
        self.messages: list[tuple[int, SwitchEntry]] = []  # (command, entry) of each flow message, ever
        self.requests: list[str] = []
        self.xid, self.id, self.address, self.state = 1, 7, ("test", 1), "main"
        self.socket = self
        self.closed = self.mute = False
        self.bundles: dict[int, list[tuple[int, int, SwitchEntry, int, int]]] = {}  # neither committed nor discarded
        self._watched = False

    # what Ryu's datapath has

    def send(self, octets: bytes) -> bool:
        while octets and not self.closed:
            length = int.from_bytes(octets[2:4], "big")
            if not self.mute:
                self._handle(octets[1], int.from_bytes(octets[4:8], "big"), octets[HEADER:length])
            octets = octets[length:]
        return not self.closed

    def close(self) -> None:
        self.closed = True

    def shutdown(self, _how: int) -> None:
        pass

    # what others do

    def foreign(self, entry: SwitchEntry | None = None, gone: SwitchEntry | None = None) -> None:
        """Somebody else adds an entry, or deletes one."""
        if entry is not None:
            self.table[entry.identity] = entry
            self._tell(ADDED, entry)
        if gone is not None:
            del self.table[gone.identity]
            self._tell(DELETED, gone)

    def settle(self) -> None:
        """Lets the session's greenlet work until it waits."""
        for _ in range(200):
            sleep(0)
        sleep(0.01)
        for _ in range(50):
            sleep(0)

    # what a switch does

    def _give(self, octets: bytes) -> None:
        taker: Any = getattr(self, "privacy_router_taker", None)
        assert taker is not None
        taker(octets)

    def _handle(self, kind: int, xid: int, body: bytes) -> None:
        if kind == Kind.MULTIPART_REQUEST:
            self._answer(xid, int.from_bytes(body[:2], "big"), body[8:])
        elif kind == Kind.BARRIER_REQUEST:
            self.requests.append("barrier")
            self._give(message(Kind.BARRIER_REPLY, xid, b""))
        elif kind == Kind.EXPERIMENTER:
            self._bundle(xid, body)

    def _answer(self, xid: int, subject: int, body: bytes) -> None:
        answer = b""
        if subject == PORT_DESC:
            self.requests.append("ports")
            for name, number in self.ports.items():
                answer += struct.pack("!I12x16s32x", number, name.encode())
        elif subject == FLOW:
            _, _, _, cookie, mask = struct.unpack_from("!B3xII4xQQ", body)
            self.requests.append("items" if mask else "entries")
            answer = b"".join(_stats(entry) for entry in self.table.values() if entry.cookie & mask == cookie & mask)
        elif subject == EXPERIMENTER:
            self.requests.append("watch")
            if not self.watchable:
                self._give(message(Kind.ERROR, xid, struct.pack("!HH", 1, 4)))
                return
            self._watched = True
            answer = struct.pack("!II", ONF, 1870)
        self._give(message(Kind.MULTIPART_REPLY, xid, struct.pack("!HH4x", subject, 0) + answer))

    def _bundle(self, xid: int, body: bytes) -> None:
        _, subtype, bundle = struct.unpack_from("!III", body)
        if subtype == 2301:
            self.bundles[bundle].append(_flow_mod(body[16:]))
            self.on_added(len(self.bundles[bundle]))
            return
        control, flags = struct.unpack_from("!HH", body, 12)
        if control == Bundle.OPEN:
            assert flags == 3  # atomic and ordered
            self.bundles[bundle] = []
            self.opened += 1
        elif control == Bundle.CLOSE:
            for added, command, entry, _, _ in self.bundles[bundle]:
                if command == ADD and self.refuses(entry):
                    self._give(message(Kind.ERROR, added, struct.pack("!HH", *TABLE_FULL)))
        elif control == Bundle.COMMIT:
            for _, *change in self.bundles.pop(bundle):
                self._apply(*change)
        elif control == Bundle.DISCARD:
            del self.bundles[bundle]
        reply = struct.pack("!IIIHH", ONF, 2300, bundle, control + 1, flags)
        self._give(message(Kind.EXPERIMENTER, xid, reply))

    def _apply(self, command: int, entry: SwitchEntry, cookie: int, mask: int) -> None:
        assert command in (ADD, DELETE_STRICT), "a delete of everything"
        self.messages.append((command, entry))
        found = self.table.get(entry.identity)
        if command == ADD:
            self.table[entry.identity] = entry
        elif found is not None and found.cookie & mask == cookie & mask:
            del self.table[entry.identity]
        if self._watched:
            self._news(struct.pack("!HHI", 8, OWN, 5))

    def _tell(self, event: int, entry: SwitchEntry) -> None:
        if self._watched:
            matched = match(entry.match)
            head = (24 + len(matched) + len(entry.instructions), event, 0, entry.priority, 0, 0, 4 + len(entry.match))
            update = struct.pack("!HHHHHHHBxQ", *head, entry.table, entry.cookie)
            self._news(update + matched + entry.instructions)

    def _news(self, update: bytes) -> None:
        body = struct.pack("!HH4xII", EXPERIMENTER, 0, ONF, 1870) + update
        self._give(message(Kind.MULTIPART_REPLY, 0, body))


def _stats(entry: SwitchEntry) -> bytes:
    matched = match(entry.match)
    length = 48 + len(matched) + len(entry.instructions)
    head = struct.pack("!HBxIIHHHH4xQQQ", length, entry.table, 1, 0, entry.priority, 0, 0, 0, entry.cookie, 0, 0)
    return head + matched + entry.instructions


def _flow_mod(octets: bytes) -> tuple[int, int, SwitchEntry, int, int]:
    """(xid, command, entry, cookie, cookie mask)."""
    xid = int.from_bytes(octets[4:8], "big")
    cookie, mask, table, command, _, _, priority = struct.unpack_from("!QQBBHHH", octets, HEADER)
    (length,) = struct.unpack_from("!H", octets, 50)
    tlvs = octets[52 : 48 + length]
    instructions = octets[48 + (length + 7 & ~7) :]
    return xid, command, SwitchEntry.of(table, priority, tlvs, instructions, cookie), cookie, mask


def commands(messages: list[tuple[int, SwitchEntry]]) -> Iterator[int]:
    for command, _ in messages:
        yield command
