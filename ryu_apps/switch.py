"""One connected switch: asks, waits for the answers, and commits a change as one bundle.

The only module that writes to a switch. Everything it needs of a message is in the message's octets, so an answer is
handed on as ``(xid, octets)`` and decoded by ``wire``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3

from ryu_apps import wire
from ryu_apps.plan import Change
from ryu_apps.wire import Bundle, InstalledEntry, SwitchEntry, SwitchError

ANSWER_TIMEOUT = 10.0  # seconds for the whole of one exchange; a switch commits 50,000 entries in half a second
_MAXIMUM_XID = 0xFFFFFFFF


class SwitchSilent(Exception):
    """The switch did not answer in time, or the connection ended."""


class BundleRefused(Exception):
    """The switch refused a message; nothing of the bundle was installed."""

    def __init__(self, error: SwitchError, entry: SwitchEntry | None) -> None:
        super().__init__(_error_text(error))
        self.error = error
        self.entry = entry  # None: the bundle as a whole


@dataclass(frozen=True)
class Reading:
    """What a switch holds at one moment."""

    ports: Mapping[str, int]
    installed: tuple[InstalledEntry, ...]

    @property
    def name(self) -> str:
        """The bridge's name: that of its LOCAL port."""
        return self.port_names.get(wire.LOCAL_PORT, "")

    @property
    def port_names(self) -> Mapping[int, str]:
        return {number: name for name, number in self.ports.items()}

    @property
    def entries(self) -> tuple[SwitchEntry, ...]:
        return tuple(installed.entry for installed in self.installed)


class Connection:
    """A Ryu datapath, as a place to ask questions. Several greenlets may ask at once."""

    def __init__(self, datapath: Any) -> None:
        self.datapath = datapath
        self._exchanges: dict[range, Any] = {}
        self._bundles = 0

    def receive(self, xid: int, message: bytes) -> None:
        """Hands an answer to whoever asked; answers to others' questions are dropped here."""
        for xids, answers in self._exchanges.items():
            if xid in xids:
                answers.put(message)

    def ended(self) -> None:
        """The connection is gone: nobody shall wait for its answers any more."""
        for answers in self._exchanges.values():
            answers.put(b"")

    def read(self) -> Reading:
        """Raises SwitchSilent."""
        xids = self._take_xids(2)
        answers = self._ask(xids, xids[-1], _questions(xids))
        for error in filter(None, map(wire.decode_error, answers)):
            raise SwitchSilent(f"no answer but {_error_text(error)}")
        return _reading(answers)

    def commit(self, change: Change) -> Reading:
        """Makes the change in one atomic, ordered bundle, and reads back what the switch then holds.

        The bundle is closed in a first exchange and committed in a second: Open vSwitch leaves a message that it
        refuses out of the bundle and would commit the rest, so every message must be known to be in before.

        Raises BundleRefused (nothing was changed) and SwitchSilent (not known what was changed: read again).
        """
        entries = (*change.delete, *change.replace, *change.add)
        xids = self._take_xids(len(entries) + 6)
        opened, close, commit, barrier = xids[0], *xids[-5:-2]
        added = dict(zip(xids[1:-5], entries, strict=True))
        self._bundles += 1
        bundle = self._bundles

        messages = [
            wire.delete_message(entry, xid) if index < len(change.delete) else wire.add_message(entry, xid)
            for index, (xid, entry) in enumerate(added.items())
        ]
        filled = self._ask(
            xids,
            close,
            wire.bundle_control(Bundle.OPEN, bundle, opened)
            + b"".join(wire.bundle_add(message, bundle, xid) for xid, message in zip(added, messages, strict=True))
            + wire.bundle_control(Bundle.CLOSE, bundle, close),
        )
        if any(map(wire.decode_error, filled)):
            self._send(wire.bundle_control(Bundle.DISCARD, bundle, commit))
            raise _refusal(filled, added)
        committed = self._ask(
            xids,
            xids[-1],
            wire.bundle_control(Bundle.COMMIT, bundle, commit) + wire.barrier_request(barrier) + _questions(xids[-2:]),
        )
        if any(map(wire.decode_error, committed)):
            raise _refusal(committed, added)
        return _reading(committed)

    def _take_xids(self, count: int) -> range:
        """Transaction ids that nothing else on this connection uses: Ryu counts its own up from ``datapath.xid``."""
        first = self.datapath.xid + 1
        if first + count > _MAXIMUM_XID:
            first = 1
        self.datapath.xid = first + count - 1
        return range(first, first + count)

    def _ask(self, xids: range, last: int, messages: bytes) -> list[bytes]:
        """Sends the messages as one buffer; returns every answer up to the whole answer to ``last``.

        A switch answers in the order of the questions (an error is an answer too), so that one comes last.
        """
        answers = hub.Queue()
        self._exchanges[xids] = answers
        received: list[bytes] = []
        try:
            with hub.Timeout(ANSWER_TIMEOUT, SwitchSilent(f"no answer within {ANSWER_TIMEOUT:.0f} s")):
                self._send(messages)
                while not received or wire.xid_of(received[-1]) != last or wire.is_more(received[-1]):
                    received.append(answers.get())
                    if not received[-1]:
                        raise SwitchSilent("the connection ended")
        finally:
            del self._exchanges[xids]
        return received

    def _send(self, messages: bytes) -> None:
        if not self.datapath.send(messages):
            raise SwitchSilent("the connection ended")


def _questions(xids: range) -> bytes:
    return wire.port_desc_request(xids[0]) + wire.flow_stats_request(xids[1])


def _reading(answers: Iterable[bytes]) -> Reading:
    ports: dict[str, int] = {}
    installed: list[InstalledEntry] = []
    for message in answers:
        ports.update(wire.decode_ports(message))
        installed += wire.decode_flow_stats(message)
    return Reading(ports, tuple(installed))


def _refusal(answers: Iterable[bytes], added: Mapping[int, SwitchEntry]) -> BundleRefused:
    """The first error that names an entry, else the first error."""
    errors = [error for error in map(wire.decode_error, answers) if error is not None]
    named = [error for error in errors if error.xid in added]
    error = (named or errors)[0]
    return BundleRefused(error, added.get(error.xid))


def _error_text(error: SwitchError) -> str:
    return (
        f"{ofproto_v1_3.ofp_error_type_to_str(error.type)} {ofproto_v1_3.ofp_error_code_to_str(error.type, error.code)}"
    )
