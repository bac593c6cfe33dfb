"""One connected switch: asks, waits for the answers, and commits a change as one bundle.

The only module that writes to a switch. Everything it needs of a message is in the message's octets, so ``intake``
hands those on as they come, and ``messages`` and ``monitor`` read them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3

from ryu_apps.openflow import messages, monitor
from ryu_apps.openflow.messages import Bundle, SwitchError
from ryu_apps.openflow.wire import Identity, InstalledEntry, Malformed, SwitchEntry
from ryu_apps.switches.bundle import FilledBundle, filling, noted
from ryu_apps.switches.plan import Change
from ryu_apps.turns import give_way

ANSWER_TIMEOUT = 10.0  # seconds of silence within an exchange; a switch commits 50,000 entries in half a second
MAXIMUM_ENTRIES = 1_000_000  # that a switch is believed to have: half a gigabyte here
MAXIMUM_ANSWER = 256 << 20  # octets of one exchange
_MAXIMUM_PORTS = 0x10000  # of a bridge of Open vSwitch
_MAXIMUM_XID = 0xFFFFFFFF


Decode = Callable[[bytes], Iterable[InstalledEntry]]
"""Gets the entries out of a flow statistics reply: all of them, or those that matter."""


class SwitchSilent(Exception):
    """The switch did not answer in time or not in a sane way, or the connection ended."""


class BundleRefused(Exception):
    """The switch refused a message; nothing of the bundle was installed."""

    def __init__(self, error: SwitchError, identity: Identity | None) -> None:
        super().__init__(_error_text(error))
        self.error = error
        self.identity = identity  # of the entry; None: the bundle as a whole


@dataclass(frozen=True)
class Reading:
    """What a switch holds at one moment."""

    ports: Mapping[str, int]
    installed: tuple[InstalledEntry, ...]
    time: float = 0.0  # Unix time

    @property
    def name(self) -> str:
        return bridge_name(self.ports)

    @property
    def port_names(self) -> Mapping[int, str]:
        return {number: name for name, number in self.ports.items()}

    @property
    def entries(self) -> tuple[SwitchEntry, ...]:
        return tuple(installed.entry for installed in self.installed)


def bridge_name(ports: Mapping[str, int]) -> str:
    """The bridge's name is that of its LOCAL port."""
    return next((name for name, number in ports.items() if number == messages.LOCAL_PORT), "")


class _Exchange:
    """A question under way: its answers, as they come."""

    def __init__(self) -> None:
        self.answers = hub.Queue()
        self.octets = 0

    def put(self, octets: bytes) -> None:
        """Raises Malformed."""
        self.octets += len(octets)
        if self.octets > MAXIMUM_ANSWER:
            raise Malformed("an answer without end")
        self.answers.put(octets)


class Connection:
    """A Ryu datapath, as a place to ask questions. Several greenlets may ask at once.

    ``on_news`` gets what nobody asked for: the octets of the flow monitor's messages. It must not wait.
    """

    def __init__(self, datapath: Any, on_news: Callable[[bytes], None] = lambda _octets: None) -> None:
        self.datapath = datapath
        self.alive = True
        self._on_news = on_news
        self._exchanges: dict[range, _Exchange] = {}
        self._bundles = 0

    def take(self, octets: bytes) -> bool:
        """Hands a message to whoever asked for it; False if it is nobody's here. Raises Malformed."""
        xid = messages.xid_of(octets)
        for xids, exchange in self._exchanges.items():
            if xid in xids:
                exchange.put(octets)
                return True
        if monitor.is_update(octets) or monitor.is_gap(octets):
            self._on_news(octets)
            return True
        return False

    def ended(self) -> None:
        """The connection is gone: nobody shall wait for its answers any more."""
        self.alive = False
        for exchange in self._exchanges.values():
            exchange.put(b"")

    def watch(self) -> bool:
        """Asks for news of what others change; False if the switch cannot tell. Raises SwitchSilent.

        Also asks the switch to send no packets: no entry of ours wants one sent.
        """
        xids = self._take_xids(3)
        quiet, watch, barrier = xids
        questions = (
            messages.no_packets_request(quiet) + monitor.monitor_request(watch) + messages.barrier_request(barrier)
        )
        errors = _errors(self._ask(xids, xids[-1], [questions]))
        return not any(error.xid == watch for error in errors)

    def answers(self, seconds: float) -> bool:
        """Whether the switch at the other end is alive: answers a barrier within so many seconds."""
        xids = self._take_xids(1)
        try:
            list(self._ask(xids, xids[-1], [messages.barrier_request(xids[0])], seconds))
        except SwitchSilent:
            return False
        return True

    def ports(self) -> Mapping[str, int]:
        """The ports' numbers by name. Raises SwitchSilent."""
        xids = self._take_xids(1)
        return _reading(self._ask(xids, xids[-1], [messages.port_desc_request(xids[0])])).ports

    def read(self, cookies: Collection[int] = (), decode: Decode = messages.decode_flow_stats) -> Reading:
        """Ports and entries; of the entries only those with one of the cookies, if any are given, and only the decoded.

        Raises SwitchSilent.
        """
        xids = self._take_xids(1 + max(1, len(cookies)))
        return _reading(self._ask(xids, xids[-1], [_questions(xids, cookies)]), decode)

    def fill(self, changes: Iterable[Change], at_most: int) -> FilledBundle | None:
        """Puts the changes into one atomic, ordered bundle, and returns when the switch has taken every message of it.

        None: nothing had to change, and nothing was sent. The changes may come into being on the way: each is sent
        before the next is asked for. ``at_most``: no more entries than these.

        Open vSwitch leaves a message that it refuses out of the bundle and would commit the rest, so every message must
        be known to be in before ``commit``.

        Raises BundleRefused, SwitchSilent, and what making the changes raises; in every case nothing was changed.
        """
        self._bundles += 1
        bundle = FilledBundle(self._bundles, self._take_xids(at_most + 4), [])
        opened, added, close, discard = bundle.xids[0], bundle.xids[1:-3], bundle.xids[-3], bundle.xids[-2]
        octets = filling(bundle.number, opened, added, noted(changes, bundle.identities, at_most))
        first = next(octets, None)
        if first is None:
            return None
        closed = messages.bundle_control(Bundle.CLOSE, bundle.number, close)
        try:
            _refuse(bundle, _errors(self._ask(bundle.xids, close, chain((first,), octets, (closed,)))))
        except Exception:
            with suppress(SwitchSilent):
                self._send(messages.bundle_control(Bundle.DISCARD, bundle.number, discard))
            raise
        return bundle

    def commit(
        self, bundle: FilledBundle, cookies: Collection[int] = (), decode: Decode = messages.decode_flow_stats
    ) -> Reading:
        """Commits what ``fill`` has filled, and reads back what the switch then holds, as ``read`` does.

        Raises BundleRefused (nothing was changed) and SwitchSilent (not known what was changed: read again).
        """
        commit, barrier = bundle.xids[-2:]
        end = messages.bundle_control(Bundle.COMMIT, bundle.number, commit) + messages.barrier_request(barrier)
        _refuse(bundle, _errors(self._ask(bundle.xids, barrier, [end])))
        return self.read(cookies, decode)

    def _take_xids(self, count: int) -> range:
        """Transaction ids that nothing else on this connection uses: Ryu counts its own up from ``datapath.xid``."""
        first = self.datapath.xid + 1
        if first + count > _MAXIMUM_XID:
            first = 1
        self.datapath.xid = first + count - 1
        return range(first, first + count)

    def _ask(self, xids: range, last: int, sends: Iterable[bytes], patience: float | None = None) -> Iterator[bytes]:
        """Sends the messages; yields every answer to one of the xids up to the whole answer to ``last``.

        A switch answers in the order of the questions (an error is an answer too), so that one comes last.
        """
        exchange = self._exchanges[xids] = _Exchange()
        try:
            for octets in sends:
                self._send(octets)
                give_way()
            while True:
                answer = _within(patience or ANSWER_TIMEOUT, exchange.answers)
                yield answer
                if messages.xid_of(answer) == last and not messages.is_more(answer):
                    return
        finally:
            del self._exchanges[xids]

    def _send(self, octets: bytes) -> None:
        if not self.alive or not self.datapath.send(octets):
            raise SwitchSilent("the connection ended")


def _within(seconds: float, answers: Any) -> bytes:
    try:
        answer: bytes = answers.get(timeout=seconds)
    except hub.QueueEmpty:
        raise SwitchSilent(f"no answer within {seconds:.0f} s") from None
    if not answer:
        raise SwitchSilent("the connection ended")
    return answer


def _questions(xids: range, cookies: Collection[int]) -> bytes:
    """What asks for the ports and for the entries: one xid for each question."""
    ports = messages.port_desc_request(xids[0])
    if not cookies:
        return ports + messages.flow_stats_request(xids[1])
    return ports + b"".join(map(messages.item_stats_request, xids[1:], cookies))


def _reading(answers: Iterable[bytes], decode: Decode = messages.decode_flow_stats) -> Reading:
    """Raises SwitchSilent."""
    ports: dict[str, int] = {}
    installed: list[InstalledEntry] = []
    try:
        for answer in answers:
            error = messages.decode_error(answer)
            if error is not None:
                raise SwitchSilent(f"no answer but {_error_text(error)}")
            ports.update(messages.decode_ports(answer))
            installed += decode(answer)
            if len(installed) > MAXIMUM_ENTRIES or len(ports) > _MAXIMUM_PORTS:
                raise SwitchSilent(f"an answer of more than {MAXIMUM_ENTRIES} entries or {_MAXIMUM_PORTS} ports")
            give_way()  # the next part may be there already, and others wait for their turn
    except Malformed as error:
        raise SwitchSilent(f"a malformed answer: {error}") from None
    return Reading(ports, tuple(installed), time.time())


def _errors(answers: Iterable[bytes]) -> list[SwitchError]:
    return [error for error in map(messages.decode_error, answers) if error is not None]


def _refuse(bundle: FilledBundle, errors: Sequence[SwitchError]) -> None:
    """Raises BundleRefused if there are errors: over the first that names an entry, else over the first."""
    if errors:
        error = next((error for error in errors if bundle.identity(error.xid)), errors[0])
        raise BundleRefused(error, bundle.identity(error.xid))


def _error_text(error: SwitchError) -> str:
    return (
        f"{ofproto_v1_3.ofp_error_type_to_str(error.type)} {ofproto_v1_3.ofp_error_code_to_str(error.type, error.code)}"
    )
