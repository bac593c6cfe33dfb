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
from host_agent.state import HostState, combine
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
    return combine(parts)
