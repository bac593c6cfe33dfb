"""The switch itself. Fail mode, controller and ports are set in one transaction, so it never forwards on its own."""

from __future__ import annotations

from host_agent.facts import Facts
from host_agent.state import Bridge, HostState
from policies.model import PrivacyRouter
from topology.plan import AddressPlan


def bridge(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> HostState:
    plugged = {socket.port for socket in plan.mesh if socket.namespace in facts.namespaces}
    ports = frozenset({*plan.privacy_ports, *plugged})
    return HostState(bridges=frozenset({Bridge(policy.bridge_name, facts.datapath_type, ports)}))
