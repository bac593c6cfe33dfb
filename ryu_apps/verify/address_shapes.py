"""What entries say of an address, but for which address it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from policies.field_forms import ipv4_number
from policies.match_fields import FIELDS, WORDS
from policies.model import FunctionRoute, Place, PrivacyFlow
from policies.rules import mesh_ports, privacy_ports
from ryu_apps.flows.flow import CLASSIFY, MESH, MESH_DELIVERY, Action, FlowEntry, Match, SetField
from ryu_apps.verify.subject import Subject

ALONE = -1  # the number of what is like nothing else

_IN_IP, _IN_ARP = frozenset(("nw_src", "nw_dst")), frozenset(("arp_spa", "arp_tpa"))
_IN = _IN_IP | _IN_ARP
_IP_WORDS = frozenset(word for word, (ethernet, _) in WORDS.items() if ethernet == 0x0800)
_ALL_OF_IT = True  # an entry that is just what the document says

_PLACE = attrgetter("place")

_Key = tuple[object, ...]


def named(entry: FlowEntry) -> list[str]:
    """The single addresses that an entry's match names."""
    return [text for name, text in entry.match if name in _IN and "/" not in text]


class Shapes:
    """Numbers for shapes of entries, and for signatures of addresses, which are made up of those. They only grow."""

    def __init__(self, subject: Subject, earlier: Shapes | None = None) -> None:
        self._shapes: dict[_Key, int] = {}
        self._signatures: dict[_Key, int] = {}
        self._actions: dict[int, tuple[Action, ...]] = {}  # by their ids, which keys name: so they stay theirs
        self._masks: set[str] = set()  # masked addresses
        self.fixed: set[str] = set()  # single addresses that no shape leaves open
        if earlier is not None:
            self._shapes |= earlier._shapes
            self._signatures |= earlier._signatures
            self._actions |= earlier._actions
            self._masks |= earlier._masks
            self.fixed |= earlier.fixed
        policy, openflow = subject.policy, subject.policy.openflow
        self._written: dict[int, PrivacyFlow | FunctionRoute] = {
            id(flow.place): flow for flow in openflow.privacy_flows
        }
        routes = openflow.function_routing
        self._written |= dict(zip(map(id, map(_PLACE, routes)), routes, strict=True))
        self._mesh, self._privacy = mesh_ports(policy), privacy_ports(policy)
        subnet = policy.netmaker.subnet
        self._network, self._netmask = int(subnet.network_address), int(subnet.netmask)

    def __len__(self) -> int:
        return len(self._shapes) + len(self._signatures)

    def number(self, node: str, entry: FlowEntry, address: str) -> int:
        """The number of an entry's shape, which leaves this address open.

        Raises KeyError for an entry of a place that the policy does not have.
        """
        match = entry.match
        about: object = None
        if entry.place is not None:
            said = self._written[id(entry.place)].match_fields
            about = _ALL_OF_IT if said is match or said == match else _but_for(said, address)
        key = (node, entry.table, entry.priority, id(entry.actions), about, *_but_for(match, address))
        number = self._shapes.get(key)
        if number is None:
            number = self._shapes[key] = len(self._shapes) if self._is_regular(entry, address) else ALONE
            self._actions[id(entry.actions)] = entry.actions
            self.note((pair for pair in match if pair[1] != address), entry.actions)
        return number

    def _is_regular(self, entry: FlowEntry, address: str) -> bool:
        """Whether it is an entry of the mesh, about IPv4 or ARP, and plain what of the document it stands for."""
        names = {name for name, _ in entry.match}
        words = {name for name, text in entry.match if not text}
        open_names = [name for name, text in entry.match if text == address]
        in_port = entry.in_port
        said = self._written[id(entry.place)].match_fields if entry.place is not None else entry.match
        return (
            len(open_names) == 1
            and not words.isdisjoint(_IP_WORDS if open_names[0] in _IN_IP else ("arp",))
            and entry.table in (CLASSIFY, MESH, MESH_DELIVERY)
            and (in_port in self._mesh if entry.table == CLASSIFY else in_port not in self._privacy)
            # It matches all that the document's object says, or surely more than that.
            and (said == entry.match or any(text and name not in names for name, text in said))
        )

    def routes(self, entries: Iterable[FlowEntry]) -> tuple[FunctionRoute, ...]:
        """The function routes that entries stand for."""
        places = dict.fromkeys(id(entry.place) for entry in entries)
        found = (self._written.get(place) for place in places)
        return tuple([each for each in found if isinstance(each, FunctionRoute)])

    def note(self, match: Iterable[tuple[str, str]], actions: Iterable[Action]) -> None:
        """Addresses that are no shape's to leave open."""
        for name, text in match:
            if name in _IN:
                (self._masks if "/" in text else self.fixed).add(text)
        self.fixed.update(action.value for action in actions if isinstance(action, SetField))

    @property
    def dividing(self) -> tuple[int, ...]:
        """The masks that tell addresses of the mesh apart."""
        found = set()
        for value, mask in map(FIELDS["nw_dst"].parse, self._masks):
            if mask & ~self._netmask and not (value ^ self._network) & mask & self._netmask:
                found.add(mask)
        return tuple(sorted(found))

    def class_of(
        self, address: str, said: Sequence[tuple[int, Place | None]], owners: tuple[str, ...], dividing: Sequence[int]
    ) -> int:
        """The number of an address's class. ``said``: of entries that name it, the shapes' numbers and the places."""
        numbers = tuple(sorted([number for number, _ in said]))
        bits = self._in_mesh(address)
        if bits is None or numbers[0] == ALONE or address in self.fixed:
            return ALONE
        signature = (numbers, _places(said), owners, *[bits & mask for mask in dividing])
        return self._signatures.setdefault(signature, len(self._signatures))

    def _in_mesh(self, address: str) -> int | None:
        """As a number, if it is one of the mesh and written as usual."""
        try:
            number = ipv4_number(address)
        except OSError:
            return None
        return number if number & self._netmask == self._network else None


def _but_for(match: Match, address: str) -> tuple[object, ...]:
    return tuple([pair if pair[1] != address else pair[0] for pair in match])


def _places(said: Sequence[tuple[int, Place | None]]) -> tuple[int, ...]:
    """Which of the entries stand for the same object of the document, in the order of their shapes."""
    met: dict[int, int] = {}
    ordered = sorted((number, id(place)) for number, place in said if place is not None)
    return tuple([met.setdefault(place, len(met)) for _, place in ordered])
