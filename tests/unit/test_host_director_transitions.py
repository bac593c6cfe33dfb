"""No leak while changing: between any two instants of a plan every packet meets the old policy or the new one."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from director_examples import (
    MACHINE,
    NODE_FACTS,
    country,
    packets,
    random_document,
    random_machine,
    state,
    with_ranges_of,
)
from host_kernel import Kernel, Packet

from host_agent.plan import plan
from host_agent.state import NODE, Family, HostState, NamespaceState

PACKETS = packets()
ROUNDS = 400 if os.environ.get("SOAK") else 12
MOVED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "client added": (
        {"xray": {"clients": ["192.168.50.10"]}},
        {"xray": {"clients": ["192.168.50.10", "192.168.50.20"]}},
    ),
    "client from xray to a tunnel": (
        {"xray": {"clients": ["192.168.50.10", "192.168.50.20"]}},
        {
            "xray": {"clients": ["192.168.50.10"]},
            "tunnel_director": {"tunnels": {"wgc1": {"clients": ["192.168.50.20"]}}},
        },
    ),
    "client from a tunnel to xray": (
        {
            "xray": {"clients": ["192.168.50.10"]},
            "tunnel_director": {"tunnels": {"wgc1": {"clients": ["192.168.50.20"]}}},
        },
        {"xray": {"clients": ["192.168.50.10", "192.168.50.20"], "exclude_sets": ["ru"]}},
    ),
    "country added": (
        {"xray": {"clients": ["192.168.50.10"]}},
        {"xray": {"clients": ["192.168.50.10"], "exclude_sets": ["ru"]}},
    ),
    "tunnel removed": (
        {
            "tunnel_director": {
                "tunnels": {"wgc1": {"clients": ["192.168.50.10"]}, "wgc2": {"clients": ["192.168.50.20"]}}
            }
        },
        {"tunnel_director": {"tunnels": {"wgc2": {"clients": ["192.168.50.20"]}}}},
    ),
    "tunnels in another order": (
        {
            "tunnel_director": {
                "tunnels": {"wgc1": {"clients": ["192.168.50.10"]}, "wgc2": {"clients": ["192.168.50.20"]}}
            }
        },
        {
            "tunnel_director": {
                "tunnels": {"wgc2": {"clients": ["192.168.50.20"]}, "wgc1": {"clients": ["192.168.50.10"]}}
            }
        },
    ),
    "everything emptied": (
        {
            "xray": {"clients": ["192.168.50.10"]},
            "tunnel_director": {"tunnels": {"wgc1": {"clients": ["192.168.50.20"]}}},
        },
        {"tunnel_director": {"tunnels": {}}},
    ),
}


def decisions(kernel: Kernel) -> dict[Packet, str]:
    return {packet: kernel.decide(packet) for packet in PACKETS}


def met_under(wanted: HostState) -> dict[Packet, str]:
    kernel = Kernel()
    list(kernel.carry_out(plan(wanted, HostState())))
    return decisions(kernel)


def _is_guarded(family: Family, state: HostState) -> bool:
    chains = state.namespaces.get(NODE, NamespaceState()).chains
    return any((chain.family, chain.table) == (family, "security") for chain in chains)


def change(kernel: Kernel, wanted: HostState, also: Iterable[dict[Packet, str]] = ()) -> list[Kernel]:
    """Carry the plan out on the model, judge every packet at every instant; returns the kernel at each of them.

    ``also``: what packets may meet besides the old decisions and the new. The guard comes first and goes last: when a
    family gets its first policy, or loses its last, it may drop for an instant what neither carries yet, or any more.
    """
    new = met_under(wanted)
    bare = {
        family for family in ("ipv4", "ipv6") if not _is_guarded(family, kernel.state()) & _is_guarded(family, wanted)
    }
    allowed = [decisions(kernel), new, *also]
    instants = []
    for words in kernel.carry_out(plan(wanted, kernel.state())):
        for packet in PACKETS:
            met, right = kernel.decide(packet), [each[packet] for each in allowed]
            right += ["dropped"] if packet.family in bare else []
            assert met in right, f"{words}\n{packet}: {met}, but {right}"
        instants.append(kernel.copy())
    assert plan(wanted, kernel.state()) == ()
    assert decisions(kernel) == new, "apply A, apply B is apply B"
    return instants


@pytest.mark.parametrize("name", MOVED)
def test_each_change_by_itself(name: str) -> None:
    before, after = MOVED[name]
    kernel = Kernel()
    change(kernel, state(before))
    change(kernel, state(after))
    change(kernel, state(before))
    change(kernel, HostState())
    assert kernel.state() == HostState(), "stop leaves nothing"


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_any_policy_to_any_other(seed: int) -> None:
    """Tunnels come and go meanwhile, and an apply may be killed at any instant; the next one finds what is there."""
    chance = random.Random(seed)
    kernel, before = Kernel(), [(random_document(chance), MACHINE)]
    change(kernel, state(before[0][0]))
    for _ in range(4):
        document, machine = random_document(chance), random_machine(chance)
        kernel.lose_links(machine.node.links)
        # The old policies, with the ranges of then, on the machine as it is now are no leak either. A table that gets
        # or loses its last resort with the kill switch may refuse for an instant; a tunnel that was held for dead may
        # carry its clients again.
        alive = replace(machine, node=replace(machine.node, dead=frozenset()))
        also = [met_under(state(old, with_ranges_of(then, it))) for old, then in before for it in (machine, alive)]
        instants = change(kernel, state(document, machine), [*also, dict.fromkeys(PACKETS, "refused")])
        killed = bool(instants) and chance.random() < 0.5
        kernel = chance.choice(instants) if killed else kernel
        before = [*before, (document, machine)] if killed else [(document, machine)]


def test_rules_that_a_killed_change_left_behind_take_nobody() -> None:
    """They ask for a mark that nobody sets by then, and that the next policy gives to packets it means otherwise."""
    hijacked, carried = (
        {"tunnel_director": {"tunnels": {"wgc1": {"clients": ["192.168.50.10"], "dns": dns}}}}
        for dns in ("hijack", "tunnel")
    )
    kernel = Kernel()
    change(kernel, state(hijacked))
    instants = change(kernel, state({"xray": {"clients": ["192.168.50.10"]}}))
    late = [it for it in instants if decisions(it) == decisions(kernel)]
    assert len(late) > 1
    for instant in late:
        change(instant, state(carried))


def test_the_model_sees_a_mixture() -> None:
    """Positive control: a plan in a wrong order is caught."""
    before, after = MOVED["client from xray to a tunnel"]
    kernel = Kernel()
    change(kernel, state(before))
    wanted = state(after)
    steps = sorted(plan(wanted, kernel.state()), key=lambda step: "ipset" not in str(step))
    old = decisions(kernel)
    target = Kernel()
    list(target.carry_out(plan(wanted, HostState())))
    new = decisions(target)
    with pytest.raises((AssertionError, KeyError)):
        for _ in kernel.carry_out(steps):
            assert all(kernel.decide(packet) in (old[packet], new[packet]) for packet in PACKETS)


def test_countries_that_are_refreshed_change_at_one_instant() -> None:
    """Two sets get new ranges and no rule changes: a packet meets the old ranges of both, or the new of both."""
    both = {"tunnel_director": {"tunnels": {"wgc1": {"clients": ["192.168.50.10"], "exclude": ["ru", "by"]}}}}
    swapped = dict(NODE_FACTS.countries)
    swapped["ru", "ipv4"], swapped["by", "ipv4"] = country("8.8.8.0/24"), country("77.88.0.0/16", "100.64.0.0/16")
    kernel = Kernel()
    change(kernel, state(both))
    old = decisions(kernel)
    instants = change(kernel, state(both, replace(MACHINE, node=replace(NODE_FACTS, countries=swapped))))
    new = decisions(kernel)
    moved = [packet for packet in PACKETS if old[packet] != new[packet]]
    assert moved
    for instant in instants:
        assert decisions(instant) in (old, new)
