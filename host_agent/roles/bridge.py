"""The switch itself. Fail mode, controller and ports are set in one transaction, so it never forwards on its own."""

from __future__ import annotations

from host_agent.facts.values import Facts
from host_agent.roles import mesh
from host_agent.state import Bridge, HostState
from policies.model import PrivacyRouter
from topology.plan import AddressPlan


def bridge(policy: PrivacyRouter, plan: AddressPlan, facts: Facts) -> HostState:
    plugged = frozenset(socket.port for socket in plan.mesh if socket.namespace in facts.namespaces)
    uplink = frozenset({port} if (port := mesh.port(policy, facts)) else ())
    ports = frozenset({*plan.privacy_ports, *plugged, *uplink})
    adopted = uplink if mesh.is_adopted(policy) else frozenset()
    wanted = Bridge(
        policy.bridge_name,
        facts.datapath_type,
        ports,
        controller=policy.openflow.controller,
        datapath_id=policy.datapath_id,
        adopted=adopted,
        mesh=plugged | uplink - adopted,
    )
    return HostState(bridges=frozenset({wanted}))
