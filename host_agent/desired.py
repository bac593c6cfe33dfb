"""The state a policy asks of this machine. Pure: the same policy and facts give the same state."""

from __future__ import annotations

from host_agent.facts.values import Facts
from host_agent.roles.bridge import bridge
from host_agent.roles.director import director
from host_agent.roles.gateway import gateways
from host_agent.roles.mesh import mesh
from host_agent.roles.sockets import sockets
from host_agent.roles.warp_hop import warp_hop
from host_agent.roles.xray import all_configurations, xrays
from host_agent.state import HostState, NamespaceState, Sysctl, combine
from policies.addresses import address_plan
from policies.host_model import Policy
from policies.model import PrivacyRouter

ROLES = (bridge, sockets, mesh, gateways, warp_hop, xrays)


def desired(policy: Policy | PrivacyRouter, facts: Facts) -> HostState:
    """Raises Refused if the policy's hops do not make a chain, or its tunnels would share a table."""
    whole = policy if isinstance(policy, Policy) else Policy(policy)
    parts = [HostState(waiting=facts.remarks, swept=frozenset({all_configurations(facts.state_dir)}))]
    if whole.privacy_router and facts.identity:
        chain, plan = whole.privacy_router, address_plan(whole.privacy_router)
        parts += [HostState(files=facts.identity.files(facts.state_dir))]
        parts += [role(chain, plan, facts) for role in ROLES]
    if whole.director:
        parts.append(director(whole.director, facts))
    return _promoting(combine(parts))


def _promoting(wanted: HostState) -> HostState:
    """With links whose second address of a subnet stays when the first goes: so one can take another's place.

    Else the kernel takes both away (ip-sysctl: promote_secondaries).
    """
    parts = [wanted]
    for name, state in wanted.namespaces.items():
        links = {address.link for address in state.addresses if address.interface.version == 4}
        settings = frozenset(Sysctl(f"net/ipv4/conf/{link}/promote_secondaries", "1") for link in links)
        parts.append(HostState(namespaces={name: NamespaceState(sysctls=settings)}))
    return combine(parts)
