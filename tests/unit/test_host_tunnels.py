"""Tunnels: when one counts as dead or alive, and how it is asked."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from ipaddress import IPv4Address

from host_examples import POLICY

from host_agent.drivers.namespaces import Namespaces
from host_agent.facts.values import NodeFacts
from host_agent.run.health import Thresholds, Tunnel, by_handshake, judged, next_endpoint
from host_agent.run.probe import Probe, connects, judged_tunnels, probes
from host_agent.state import Endpoint
from policies.host_model import Policy
from policies.load import parse_policy

LIMITS = Thresholds()


def looks(tunnel: Tunnel, pattern: str) -> str:
    """The states after looks that were good (+) or bad (-), one second apart, long after the first."""
    states = []
    for number, sign in enumerate(pattern):
        tunnel = judged(tunnel, sign == "+", 1000.0 + number, LIMITS)
        states.append(tunnel.state[0])
    return "".join(states)


def test_one_look_is_not_the_end_of_a_tunnel() -> None:
    assert looks(Tunnel(0.0), "+") == "u"
    assert looks(Tunnel(0.0), "-") == "d", "long enough without a first handshake"
    assert looks(Tunnel(0.0, "up"), "-+-+--+-++") == "uuuuudddd" + "u"
    assert looks(Tunnel(0.0, "dead"), "+-+-++") == "dddddu"
    assert judged(Tunnel(999.0), False, 1000.0, LIMITS).state == "new", "it had no time yet"


def test_a_living_tunnel_is_never_taken_for_dead() -> None:
    assert by_handshake(120 + 25 + 5 + 5, LIMITS)[0] and not by_handshake(181, LIMITS)[0]
    assert by_handshake(None, LIMITS) == (False, "no handshake yet")


def test_endpoints_are_tried_in_turn() -> None:
    first, second, third = (Endpoint(IPv4Address("192.0.2.1"), port) for port in (2408, 500, 1701))
    every = (first, second, third)
    assert next_endpoint(every, str(first)) == second and next_endpoint(every, str(third)) == first
    assert next_endpoint(every, "198.51.100.1:9") == first
    assert next_endpoint((first,), str(first)) is None and next_endpoint((), None) is None


def test_a_probe_is_bound_to_the_tunnels_device_or_goes_by_warps_namespace() -> None:
    tunnels = {"wgc1": {"probe": "198.51.100.1:443", "failover": ["wgc9"]}, "main": {"clients": ["192.168.50.20"]}}
    document = {"tunnel_director": {"tunnels": tunnels}}
    policy = parse_policy(json.dumps(document), "policy.json")
    assert policy.director is not None
    assert judged_tunnels(policy.director) == ("wgc1", "wgc9"), "one that is nothing but another's way out, too"
    with Namespaces({}) as namespaces:
        found = probes(policy, NodeFacts(), namespaces)
        assert found == {"wgc1": Probe("", "198.51.100.1", 443, "wgc1")}
        nowhere = probes(policy, NodeFacts(tables={"wgc1": 7654321}), namespaces)
        assert nowhere == {"wgc1": None}, "a table without a default route leads nowhere"
    chain = replace(POLICY, warp=replace(POLICY.warp, probe="198.51.100.2:80"))
    with Namespaces({}) as namespaces:
        assert probes(Policy(chain), NodeFacts(), namespaces) == {"wgcf": Probe("ct101", "198.51.100.2", 80)}


def test_a_refusal_is_an_answer_and_a_device_that_is_gone_is_none() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert connects(Probe("", "127.0.0.1", port), "/proc/self/ns/net", 1.0), "nobody listens, but somebody says so"
        assert not connects(Probe("", "127.0.0.1", port, "nosuch0"), "/proc/self/ns/net", 1.0)
