"""Addresses that are alike: what is proved of two of them holds for all.

A mesh of 100,000 functions has 400,000 entries, and most of them say the same of another address. Two addresses are
alike when each entry that names the one has its counterpart that names the other, in the same place of the same match
and with the same actions, when the same sockets own them, and when no mask tells them apart. To exchange the two in all
headers then changes nothing in what the switches do. A packet names two addresses at most, so whatever can happen to
some packet can happen to one that names two chosen ones of each class, and those are in the part that is looked at.

So a part in which nothing happens that must not happen proves the whole. That something is possible for some packet is
shown by a packet that names no address that was left out. docs/verification.md has the argument.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from policies.model import Place
from policies.reuse import difference
from ryu_apps.flows.flow import FlowEntry
from ryu_apps.verify.address_shapes import ALONE, Shapes, named
from ryu_apps.verify.subject import Subject

_CHOSEN = 2  # a packet's source and destination
_FEW = 1000  # edits that are followed one by one

_Entries = tuple[FlowEntry, ...]


@dataclass(frozen=True)
class Likeness:
    """The classes of the addresses that entries name."""

    subject: Subject
    shapes: Shapes
    by_address: Mapping[str, Mapping[str, _Entries]]  # by node: the entries that name one address
    others: Mapping[str, _Entries]  # by node: those that name none, or several
    classes: Mapping[str, int]
    chosen: Mapping[int, tuple[str, ...]]
    at_first: int  # how many shapes there were when it was made from nothing

    def left_out(self, address: str) -> bool:
        """Whether entries name it, but none of the part."""
        number = self.classes.get(address, ALONE)
        return number != ALONE and address not in self.chosen[number]

    def part(self) -> Subject:
        """What stands for all of the subject: some addresses of each class, and those that are like no other."""
        kept = dict.fromkeys(chain.from_iterable(self.chosen.values()))
        kept |= dict.fromkeys(address for address, number in self.classes.items() if number == ALONE)
        nodes = {
            node: (*self.others[node], *chain.from_iterable(of_one.get(address, ()) for address in kept))
            for node, of_one in self.by_address.items()
        }
        return self.subject.only(nodes, self.shapes.routes(chain.from_iterable(nodes.values())), kept)


def likeness(subject: Subject, earlier: Likeness | None = None) -> Likeness | None:
    """None if it is not easily told. Of an ``earlier`` version only what has changed is looked at anew."""
    if not subject.is_comparable:
        return None
    try:
        return (_edited(subject, earlier) if earlier else None) or _from_nothing(subject)
    except KeyError:  # an entry of a place that the policy does not have
        return None


def _from_nothing(subject: Subject) -> Likeness:
    shapes = Shapes(subject)
    by_address: dict[str, dict[str, _Entries]] = {}
    others: dict[str, _Entries] = {}
    for node, entries in subject.nodes.items():
        found: dict[str, list[FlowEntry]] = {}
        rest = []
        for entry in entries:
            addresses = named(entry)
            if len(addresses) == 1:
                found.setdefault(addresses[0], []).append(entry)
            else:
                rest.append(entry)
        by_address[node] = {address: tuple(of_one) for address, of_one in found.items()}
        others[node] = tuple(rest)
    said = _said(shapes, by_address, others, dict.fromkeys(chain.from_iterable(by_address.values())))
    classes = _classes(subject, shapes, said)
    return Likeness(subject, shapes, by_address, others, classes, _chosen(classes, {}), len(shapes))


_Said = dict[str, Sequence[tuple[int, Place | None]]]  # of each address


def _said(
    shapes: Shapes,
    by_address: Mapping[str, Mapping[str, _Entries]],
    others: Mapping[str, _Entries],
    addresses: Iterable[str],
) -> _Said:
    """What entries say of these addresses; meanwhile ``shapes`` learn all that is said of any."""
    for entry in chain.from_iterable(others.values()):
        shapes.note(entry.match, entry.actions)
    nodes = list(by_address.items())
    return {
        address: [
            (shapes.number(node, entry, address), entry.place)
            for node, of_one in nodes
            for entry in of_one.get(address, ())
        ]
        for address in addresses
    }


def _classes(subject: Subject, shapes: Shapes, said: _Said) -> dict[str, int]:
    owners, dividing = _owners(subject, said), shapes.dividing
    return {
        address: shapes.class_of(address, of_one, owners.get(address, ()), dividing)
        for address, of_one in said.items()
        if of_one
    }


def _owners(subject: Subject, addresses: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The sockets that own each of these addresses."""
    found: dict[str, tuple[str, ...]] = {}
    wanted = set(addresses)
    for port, owned in subject.addresses.items():
        alone = (port,)
        for address in wanted.intersection(owned):
            found[address] = found[address] + alone if address in found else alone
    return found


def _chosen(classes: Mapping[str, int], earlier: Mapping[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
    """Some of each class, and of an earlier version's those that still belong to it."""
    found = {
        number: tuple(address for address in of_one if classes.get(address) == number)
        for number, of_one in earlier.items()
    }
    full = {ALONE, *(number for number, of_one in found.items() if len(of_one) == _CHOSEN)}
    for address, number in classes.items():
        if number not in full:
            so_far = found.get(number, ())
            if address not in so_far:
                found[number] = (*so_far, address)
                if len(so_far) + 1 == _CHOSEN:
                    full.add(number)
    return found


def _edited(subject: Subject, earlier: Likeness) -> Likeness | None:
    """None if it is better made from nothing."""
    if not subject.same_but_for_functions(earlier.subject):
        return None
    edits = {node: difference(earlier.subject.nodes[node], entries) for node, entries in subject.nodes.items()}
    if sum(len(gone) + len(come) for gone, come in edits.values()) > _FEW:
        return None
    shapes = Shapes(subject, earlier.shapes)
    by_address, others = {}, {}
    touched = dict.fromkeys(_changed_owners(subject, earlier.subject))
    for node, (gone, come) in edits.items():
        by_address[node], others[node] = _after(earlier.by_address[node], earlier.others[node], gone, come)
        touched |= dict.fromkeys(chain.from_iterable(map(named, chain(gone, come))))
    said = _said(shapes, by_address, others, touched)
    again = shapes.fixed ^ earlier.shapes.fixed
    if shapes.dividing != earlier.shapes.dividing or len(shapes) > 2 * earlier.at_first + _FEW:
        return None
    classes = dict(earlier.classes)
    said |= _said(shapes, by_address, others, again)
    for address in said:
        classes.pop(address, None)
    classes |= _classes(subject, shapes, said)
    chosen = _chosen(classes, earlier.chosen)
    return Likeness(subject, shapes, by_address, others, classes, chosen, earlier.at_first)


def _after(
    by_address: Mapping[str, _Entries], others: _Entries, gone: Sequence[FlowEntry], come: Sequence[FlowEntry]
) -> tuple[dict[str, _Entries], _Entries]:
    """``by_address`` and ``others`` of one node after an edit."""
    ids, found = set(map(id, gone)), dict(by_address)
    for address in chain.from_iterable(map(named, gone)):
        found[address] = tuple([entry for entry in found.get(address, ()) if id(entry) not in ids])
        if not found[address]:
            del found[address]
    rest = [entry for entry in others if id(entry) not in ids]
    for entry in come:
        addresses = named(entry)
        if len(addresses) == 1:
            found[addresses[0]] = (*found.get(addresses[0], ()), entry)
        else:
            rest.append(entry)
    return found, tuple(rest)


def _changed_owners(subject: Subject, earlier: Subject) -> Iterator[str]:
    for port in subject.addresses.keys() | earlier.addresses.keys():
        now, before = subject.addresses.get(port, ()), earlier.addresses.get(port, ())
        if now is not before:
            yield from set(now) ^ set(before)
