"""From a policy to the flow entries of its bridge: five tables, described in docs/architecture.md.

| table | name          | holds                                                                  |
|-------|---------------|------------------------------------------------------------------------|
| 0     | classify      | which port may send what: privacy ports -> 10, mesh ports -> 20        |
| 10    | privacy_chain | gateway <-> WARP hop <-> Xray, as the document's flows say             |
| 15    | xray_shares   | which of several Xrays a client's packets go to                        |
| 20    | mesh          | function routes, and the way out by the Netmaker port                  |
| 30    | mesh_delivery | answers to containers that not every packet may reach                  |

Every table that is in use ends in a drop entry, so what the policy does not name goes nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, compress
from operator import attrgetter

from policies.model import PrivacyRouter
from policies.placement import NodeView, everything
from policies.reuse import reused
from ryu_apps.flows.classify import ADMISSION, SocketAdmission, classify_entries
from ryu_apps.flows.flow import CLASSIFY, MESH, MESH_DELIVERY, PRIVACY_CHAIN, FlowEntry
from ryu_apps.flows.mesh import ANSWERS, function_entries, further_mesh_entries
from ryu_apps.flows.privacy_chain import MAXIMUM_PRIORITY, chain_entries

_Entries = tuple[FlowEntry, ...]


@dataclass(frozen=True)
class Compiled:
    """What a node sees of a policy, and the entries of its bridge, by table and falling priority.

    The rest is for the next version: those of each function, in the order of the view's; for each mesh socket those
    that admit IPv4 and ARP, in the order of its addresses; and all others.
    """

    view: NodeView
    entries: _Entries
    by_function: tuple[_Entries, ...] = ()
    by_socket: Mapping[str, tuple[_Entries, _Entries]] = field(default_factory=dict)
    others: _Entries = ()


_NOTHING = Compiled(NodeView("", PrivacyRouter(), (), {}), ())


def compile_pipeline(policy: PrivacyRouter) -> _Entries:
    """The entries of a validated policy for a node that has all of its containers."""
    return compile_node(everything(policy))


def compile_node(view: NodeView) -> _Entries:
    return compile_view(view).entries


def compile_view(view: NodeView, earlier: Compiled | None = None) -> Compiled:
    """The entries of one node; those of what is as it was in an ``earlier`` version are the same objects.

    With ``openflow.enabled`` false only the drop entries are left: the bridge is still ours, and forwards nothing.
    """
    if not view.policy.openflow.enabled:
        return Compiled(view, _sorted(_misses()))
    if earlier is None or not view.same_but_for_functions(earlier.view):
        earlier = _NOTHING
    by_function = _by_function(view, earlier)
    by_socket = {
        socket.name: _by_address(socket.name, view, earlier) for socket in view.policy.socket_networking.mesh_sockets
    }
    many = (*chain.from_iterable(chain.from_iterable(by_socket.values())), *chain.from_iterable(by_function))
    few = (*_misses(), *classify_entries(view, view.plan), *chain_entries(view.policy, view.plan))
    further = tuple(further_mesh_entries(view))
    if _all_differ(view, few):
        others = _as_before(_first_of_each((*few, *further)), earlier.others)
        entries = (*others, *many)
    else:
        others = _as_before((*few, *further), earlier.others)
        entries = tuple(_first_of_each((*others[: len(few)], *many, *others[len(few) :])))
    return Compiled(view, _sorted(entries), by_function, by_socket, others)


def _by_function(view: NodeView, earlier: Compiled) -> tuple[_Entries, ...]:
    functions, known = earlier.view.functions, earlier.by_function
    shared = {target for function in view.shared_functions for target in function.targets}
    moved = {port for port in shared if view.addresses.get(port, ())[:1] != earlier.view.addresses.get(port, ())[:1]}
    if moved:  # entries of back ends name their own addresses
        kept = [len(function.targets) == 1 or moved.isdisjoint(function.targets) for function in functions]
        functions, known = tuple(compress(functions, kept)), tuple(compress(known, kept))
    return reused(functions, known, view.functions, partial(function_entries, view))


def _by_address(port: str, view: NodeView, earlier: Compiled) -> tuple[_Entries, _Entries]:
    owned, owned_before = view.addresses.get(port, ()), earlier.view.addresses.get(port, ())
    by_ip, by_arp = earlier.by_socket.get(port, ((), ()))
    if owned is owned_before:
        return by_ip, by_arp
    admission = SocketAdmission(port, MESH)
    return reused(owned_before, by_ip, owned, admission.of_ip), reused(owned_before, by_arp, owned, admission.of_arp)


def _all_differ(view: NodeView, few: Iterable[FlowEntry]) -> bool:
    """Whether it is plain that the many entries, of functions and of sockets' addresses, are told apart.

    So they are, from each other and from all else, if each function has one target and an address of its own.
    """
    addresses, ports = {function.address for function in view.functions}, set(view.addresses)
    return (
        len(addresses) == len(view.functions)
        and None not in addresses
        and not view.shared_functions
        and min(map(attrgetter("priority"), view.functions), default=MAXIMUM_PRIORITY) > ANSWERS
        and not any(entry.priority == ADMISSION and entry.in_port in ports for entry in few)
    )


def _as_before(entries: Iterable[FlowEntry], earlier: _Entries) -> _Entries:
    """The earlier objects in place of equal ones."""
    known = {entry.identity: entry for entry in reversed(earlier)}
    found = ((entry, known.get(entry.identity)) for entry in entries)
    return tuple(old if old == new and old is not None and old.place == new.place else new for new, old in found)


def _misses() -> tuple[FlowEntry, ...]:
    return (
        FlowEntry(CLASSIFY, 0, (), (), "not admitted", "what no port of the policy may send"),
        FlowEntry(PRIVACY_CHAIN, 0, (), (), "privacy chain: no flow", "admitted, but no flow of the chain takes it"),
        FlowEntry(MESH, 0, (), (), "mesh: no function", "admitted, but no function or mesh address takes it"),
        FlowEntry(MESH_DELIVERY, 0, (), (), "mesh: no such address", "an answer to an address that nobody has"),
    )


def _first_of_each(entries: Iterable[FlowEntry]) -> Iterable[FlowEntry]:
    """One entry per identity. What the document wrote comes before what is derived, so the document's word stands."""
    kept: dict[object, FlowEntry] = {}
    for entry in entries:
        kept.setdefault(entry.identity, entry)
    return kept.values()


def _sorted(entries: Iterable[FlowEntry]) -> _Entries:
    """By table and falling priority. Two sorts, whose keys cost next to nothing."""
    by_priority = sorted(entries, key=attrgetter("priority"), reverse=True)
    return tuple(sorted(by_priority, key=attrgetter("table")))
