"""Tunnels: when one counts as dead or alive, and how it is asked."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest
from director_examples import FACTS
from host_examples import POLICY

from host_agent.drivers.namespaces import Namespaces
from host_agent.facts.values import NodeFacts, NodeLink
from host_agent.roles import director_tunnels as tunnels
from host_agent.run import health
from host_agent.run.health import Thresholds, Tunnel, by_handshake, judged, next_endpoint
from host_agent.run.probe import NoWay, Probe, connects, judged_tunnels, probes
from host_agent.state import Endpoint, HostState, Route, Rule
from policies.host_model import Policy
from policies.load import parse_policy
from policies.model import Target

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


def target(text: str, port: int) -> Target:
    return Target(ip_address(text), port)


FOUR, SIX = target("198.51.100.1", 443), target("2001:db8::1", 443)


def with_probe(probe: object) -> Policy:
    tunnels = {
        "wgc1": {"clients": ["192.168.50.10"], "probe": probe, "failover": ["wgc9"]},
        "main": {"clients": ["192.168.50.20"]},
    }
    return parse_policy(json.dumps({"tunnel_director": {"tunnels": tunnels}}), "policy.json")


def test_a_probe_is_bound_to_the_tunnels_device_or_goes_by_warps_namespace() -> None:
    policy = with_probe([str(FOUR), str(SIX)])
    assert policy.director is not None
    assert judged_tunnels(policy.director) == ("wgc1", "wgc9"), "one that is nothing but another's way out, too"
    with Namespaces({}) as namespaces:
        found = probes(policy, NodeFacts(), namespaces)
        assert found == {"wgc1": (Probe("", FOUR, "wgc1"), Probe("", SIX, "wgc1"))}
        nowhere = probes(policy, NodeFacts(tables={"wgc1": 7654321}), namespaces)
        assert nowhere == {"wgc1": (NoWay(FOUR), NoWay(SIX))}, "a table without a default route leads nowhere"
    chain = replace(POLICY, warp=replace(POLICY.warp, probe=target("198.51.100.2", 80)))
    with Namespaces({}) as namespaces:
        expected = {"wgcf": (Probe("ct101", target("198.51.100.2", 80)),)}
        assert probes(Policy(chain), NodeFacts(), namespaces) == expected


@pytest.mark.parametrize(("probe", "families"), [(str(FOUR), {"ipv4"}), (str(SIX), {"ipv6"}), (None, set())])
def test_what_a_probe_sends_is_looked_up_in_the_tunnels_table(probe: str | None, families: set[str]) -> None:
    """Of a tunnel that is a table, by the device of the default route of the same family."""
    director = with_probe(probe).director
    assert director is not None
    facts = replace(FACTS, node=NodeFacts(links={"wgc1": NodeLink(True, True)}))
    (slot, _) = tunnels.slots(director, facts.node)
    assert tunnels.probing((slot,), director, facts) == {
        Rule(16383, slot.table, family=family, outgoing="wgc1") for family in families
    }
    assert tunnels.probing((slot,), director, replace(facts, ipv6=False)) <= {Rule(16383, slot.table, outgoing="wgc1")}
    assert tunnels.probing((), director, facts) == frozenset(), "nobody is sent to it"
    defaults = frozenset({Route(ip_network("0.0.0.0/0"), link="tun3", table=103), Route(ip_network("::/0"), table=103)})
    table = NodeFacts(tables={"wgc1": 103}, routes=defaults)
    found = tunnels.probing(tunnels.slots(director, table), director, replace(facts, node=table))
    assert found == {Rule(16383, 103, family=it, outgoing="tun3") for it in families & {"ipv4"}}


def test_a_refusal_is_an_answer_and_a_device_that_is_gone_is_none() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as listener:
            listener.bind((address, 0))
            there = target(address, listener.getsockname()[1])
            asked = Probe("", there)
            assert connects(asked, "/proc/self/ns/net", 1.0), "nobody listens, but somebody says so"
            assert not connects(replace(asked, device="nosuch0"), "/proc/self/ns/net", 1.0)


class Log(list[str]):
    def __call__(self, level: str, event: str, message: str, **values: object) -> None:
        self.append(message)


@pytest.mark.parametrize("silent", [FOUR, SIX])
def test_of_two_probes_both_have_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: Target) -> None:
    """The one that answers at once is not taken for the verdict while the other is awaited."""
    answered = threading.Semaphore(0)

    def connects(probe: Probe, path: str, seconds: float) -> bool:
        if probe.target != silent:
            return True
        answered.acquire()
        return False

    monkeypatch.setattr(health, "connects", connects)
    log = Log()
    looking = health.Health(tmp_path, log)  # type: ignore[arg-type]
    both = {"wgc1": (Probe("", FOUR, "wgc1"), Probe("", SIX, "wgc1"))}
    with Namespaces({}) as namespaces:
        for now in range(20, 40, 2):
            looking.look(HostState(), namespaces, ("wgc1",), both, float(now))
            time.sleep(0.01)
        assert not looking.dead and log == [], "nothing is known yet"
        for now in range(40, 4000, 2):
            if looking.dead:
                break
            answered.release()
            time.sleep(0.01)
            looking.look(HostState(), namespaces, ("wgc1",), both, float(now))
        assert looking.dead == {"wgc1"} and log == [f"wgc1 is dead: no connection to {silent} through it; endpoint -"]
        for _ in range(20):
            answered.release()
        looking.look(HostState(), namespaces, ("ovpnc3",), {"ovpnc3": (NoWay(SIX),)}, 100.0)
        looking.look(HostState(), namespaces, ("ovpnc3",), {"ovpnc3": (NoWay(SIX),)}, 200.0)
        assert log[-1] == "ovpnc3 is dead: its table has no default route to [2001:db8::1]:443; endpoint -"
