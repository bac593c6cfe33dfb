"""The state a policy asks of this machine. Pure: the same policy and facts give the same state."""

from __future__ import annotations

from host_agent.facts import Facts
from host_agent.roles.bridge import bridge
from host_agent.roles.gateway import gateway
from host_agent.roles.sockets import sockets
from host_agent.roles.warp_hop import warp_hop
from host_agent.roles.xray import xray
from host_agent.state import HostState, combine
from policies.addresses import address_plan
from policies.model import PrivacyRouter

ROLES = (bridge, sockets, gateway, warp_hop, xray)


def desired(policy: PrivacyRouter, facts: Facts) -> HostState:
    """Raises Refused if the policy's hops do not make a chain."""
    plan = address_plan(policy)
    kept = HostState(files=facts.identity.files(facts.state_dir))
    return combine([kept, *(role(policy, plan, facts) for role in ROLES)])
