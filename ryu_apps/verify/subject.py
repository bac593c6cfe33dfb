"""What is proved: the entries of all nodes, and what they are held against."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from policies.model import FunctionRoute, PrivacyRouter
from policies.placement import NodeView
from ryu_apps.flows.flow import FlowEntry


@dataclass(frozen=True)
class Subject:
    """``nodes``: the entries of each by its name; ``views``: what each sees of the policy."""

    nodes: Mapping[str, tuple[FlowEntry, ...]]
    policy: PrivacyRouter
    views: Mapping[str, NodeView]

    @property
    def size(self) -> int:
        return sum(map(len, self.nodes.values()))

    @property
    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """Of every mesh socket."""
        return next(iter(self.views.values())).addresses

    @property
    def is_comparable(self) -> bool:
        """Whether all views know the same addresses, and those of the mesh are not the chain's."""
        mesh, chain = self.policy.netmaker.subnet, self.policy.chain.subnet
        return not any(mesh.overlaps(subnet) for subnet in (chain, *self.policy.client_subnets)) and all(
            view.addresses == self.addresses and view.policy.netmaker.subnet == mesh for view in self.views.values()
        )

    def same_but_for_functions(self, other: Subject) -> bool:
        return (
            self.nodes.keys() == other.nodes.keys()
            and self.views.keys() == other.views.keys()
            and self.policy.with_routes(()) == other.policy.with_routes(())
            and all(view.same_but_for_functions(other.views[name]) for name, view in self.views.items())
        )

    def only(
        self,
        nodes: Mapping[str, tuple[FlowEntry, ...]],
        routes: tuple[FunctionRoute, ...],
        addresses: Collection[str],
    ) -> Subject:
        """With these entries and routes alone, and sockets that own these addresses alone."""
        owned = {
            socket: tuple([address for address in of_socket if address in addresses])
            for socket, of_socket in self.addresses.items()
        }
        places = {id(route.place) for route in routes}
        views = {
            name: replace(
                view,
                policy=view.policy.with_routes(routes),
                functions=tuple([function for function in view.functions if id(function.place) in places]),
                addresses=owned,
            )
            for name, view in self.views.items()
        }
        return Subject(nodes, self.policy.with_routes(routes), views)
