"""Plans are minimal, ordered so that they fail closed, and lead to the wanted state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from host_examples import POLICY, wanted

from host_agent.plan import plan
from host_agent.state import Chain, Daemon, HostState, NamespaceState
from host_agent.steps import (
    Add,
    ChangeBridge,
    CreateNamespace,
    MoveLink,
    RemoveBridge,
    RemoveNamespace,
    Replug,
    SetLink,
    StartDaemon,
    StopDaemon,
)

WANTED = wanted()


def with_namespace(name: str, **changes: Any) -> HostState:
    """The wanted state, but for one namespace: a machine on which something was changed by hand."""
    namespaces = {**WANTED.namespaces, name: replace(WANTED.namespaces[name], **changes)}
    return replace(WANTED, namespaces=namespaces)


def words(found: HostState, want: HostState = WANTED) -> list[str]:
    return [str(step) for step in plan(want, found)]


def test_nothing_to_do_when_all_is_as_wanted() -> None:
    assert plan(WANTED, WANTED) == ()
    assert plan(HostState(), HostState()) == ()


def test_from_nothing_blocks_first_and_starts_programs_last() -> None:
    steps = plan(WANTED, HostState())
    place = {str(step): number for number, step in enumerate(steps)}
    kinds = [type(step) for step in steps]
    tunnel = place["warp: add route default dev wgcf table 1002"]
    assert place["warp: add route unreachable default table 1002 metric 4278198272"] < tunnel
    assert place["warp: add ip rule pref 220 iif warp0 from 10.99.0.101/32 lookup 1002"] < tunnel
    first_link = kinds.index(SetLink)
    assert max(n for n, step in enumerate(steps) if "iptables" in str(step) or "ipset" in str(step)) < first_link
    assert max(n for n, step in enumerate(steps) if str(step).endswith("metric 4278198272")) < first_link
    assert place["warp: add route 10.100.0.0/24 via 10.99.0.100 dev warp0 table 1002"] < tunnel
    assert kinds.index(CreateNamespace) < kinds.index(ChangeBridge) < kinds.index(MoveLink)
    assert kinds[-1] is StartDaemon
    made = place["warp: create WireGuard device wgcf, its socket on the node"]
    for text, number in place.items():
        if "/conf/wgcf/" in text:
            assert made < number < place["warp: set link wgcf mtu 1280 up"], "it has its settings before it comes up"
        if "ip_forward" in text or "/conf/all/" in text:
            assert number < first_link


def test_ip_forward_is_set_before_what_it_resets() -> None:
    sysctls = [text for text in words(HostState()) if text.startswith("warp: set sysctl")]
    assert sysctls[0] == "warp: set sysctl net/ipv4/ip_forward=1"


def test_what_ip_forward_resets_is_set_again() -> None:
    """The plan says all of it at once: whoever carries out its commands by hand has no second look."""
    less = (it for it in WANTED.namespaces["ct101"].sysctls if not it.key.endswith("ip_forward"))
    assert words(with_namespace("ct101", sysctls=frozenset(less))) == [
        "ct101: set sysctl net/ipv4/ip_forward=0",
        "ct101: set sysctl net/ipv4/conf/all/accept_redirects=0",
    ]


def without_third_rule(chain: Chain) -> Chain:
    return replace(chain, rules=chain.rules[:2] + chain.rules[3:])


CASES: dict[str, tuple[HostState, list[str]]] = {
    "ip rule": (
        with_namespace("ct101", rules=frozenset()),
        ["ct101: add ip rule pref 200 iif internal_101 fwmark 0x100/0x100 lookup 100"],
    ),
    "sets": (
        with_namespace("ct101", sets=frozenset()),
        ["ct101: put in place ipset XRAY_CLIENTS (1 entry), ipset XRAY_SERVERS (1 entry)"],
    ),
    "chains": (
        with_namespace("ct101", chains=frozenset()),
        ["ct101: put in place iptables mangle PREROUTING (1 rule), iptables mangle XRAY_TPROXY (16 rules)"],
    ),
    "a rule of many": (
        with_namespace("ct101", chains=frozenset(map(without_third_rule, WANTED.namespaces["ct101"].chains))),
        ["ct101: put in place iptables mangle XRAY_TPROXY (1 of 16 rules)"],
    ),
    "addresses": (
        with_namespace("ct200", addresses=frozenset()),
        ["ct200: add address 100.104.70.10/24 dev internal_200"],
    ),
    "daemon": (replace(WANTED, daemons=frozenset()), ["ct101: start xray (/usr/bin/v2ray)"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_missing_is_one_step(case: str) -> None:
    found, steps = CASES[case]
    assert words(found) == steps


def test_a_link_that_went_down_is_brought_up() -> None:
    links = frozenset(replace(link, up=False) for link in WANTED.namespaces["ct200"].links)
    assert words(with_namespace("ct200", links=links)) == ["ct200: set link internal_200 up"]


def test_a_link_of_another_size_is_set() -> None:
    links = frozenset(replace(link, mtu=1500) for link in WANTED.namespaces["warp"].links)
    assert words(with_namespace("warp", links=links)) == ["warp: set link wgcf mtu 1280 up"]


def test_a_port_that_is_on_the_node_again_is_moved_and_addressed() -> None:
    lost = with_namespace("ct200", links=frozenset(), addresses=frozenset())
    found = replace(lost, namespaces={**lost.namespaces, "": NamespaceState(links=WANTED.namespaces["ct200"].links)})
    assert words(found) == [
        "ct200: move link internal_200 here from node",
        "ct200: set link internal_200 up",
        "ct200: add address 100.104.70.10/24 dev internal_200",
    ]


def test_a_port_whose_device_is_gone_gets_a_new_one() -> None:
    steps = plan(WANTED, with_namespace("ct200", links=frozenset(), addresses=frozenset()))
    assert [type(step) for step in steps] == [Replug, MoveLink, SetLink, Add]


def test_a_new_port_needs_no_other_device() -> None:
    (bridge,) = WANTED.bridges
    before = with_namespace("ct200", links=frozenset(), addresses=frozenset())
    found = replace(before, bridges=frozenset({replace(bridge, ports=bridge.ports - {"internal_200"})}))
    assert [type(step) for step in plan(WANTED, found)] == [ChangeBridge, MoveLink, SetLink, Add]


def test_a_dead_link_makes_room_for_its_successor() -> None:
    """After a restart of ovs-vswitchd: the old device is in the container, the new one on the node."""
    (link,) = WANTED.namespaces["ct200"].links
    dead = with_namespace("ct200", links=frozenset({replace(link, alive=False)}), addresses=frozenset())
    found = replace(dead, namespaces={**dead.namespaces, "": NamespaceState(links=frozenset({link}))})
    assert words(found) == [
        "ct200: remove link internal_200, nothing is behind it any more",
        "ct200: move link internal_200 here from node",
        "ct200: set link internal_200 up",
        "ct200: add address 100.104.70.10/24 dev internal_200",
    ]
    assert "ct200: remove link internal_200, nothing is behind it any more" in words(found, HostState())


def test_only_what_differs_of_a_bridge_is_named() -> None:
    (bridge,) = WANTED.bridges
    found = replace(WANTED, bridges=frozenset({replace(bridge, fail_mode="standalone")}))
    assert words(found) == ["bridge ovsbr0: fail_mode secure (was standalone)"]
    altered = replace(bridge, protocols=(), controller="", max_backoff=0, disable_in_band=False)
    assert words(replace(WANTED, bridges=frozenset({altered}))) == [
        "bridge ovsbr0: protocols OpenFlow13 (was none); controller tcp:127.0.0.1:6653 (was none); "
        "max_backoff 1000 (was none); disable_in_band true (was false)"
    ]
    found = replace(WANTED, bridges=frozenset({replace(bridge, ports=bridge.ports - {"internal_200"})}))
    assert words(found)[0] == "bridge ovsbr0: add ports internal_200"
    controllers = [step.controller for step in plan(WANTED, found) if isinstance(step, ChangeBridge)]
    assert controllers == [False], "the connection to the controller stays"


def test_a_route_takes_the_place_of_an_earlier_one() -> None:
    routes = WANTED.namespaces["ct100"].routes
    earlier = {replace(route, via=route.via + 1) if route.via else route for route in routes}
    assert words(with_namespace("ct100", routes=frozenset(earlier))) == [
        "ct100: replace route default via 10.99.0.1 dev internal_100 table main"
    ]


def test_another_configuration_restarts_the_program_and_removes_the_old_file() -> None:
    other = wanted(replace(POLICY, xray=replace(POLICY.xray, tproxy_port=4000)))
    steps = words(WANTED, other)
    assert steps[-3:-1] == ["ct101: stop xray (/usr/bin/v2ray)", "ct101: start xray (/usr/bin/v2ray)"]
    assert steps[-1].startswith("remove file /state/xray/client-")
    chain = next(n for n, text in enumerate(steps) if "XRAY_TPROXY" in text)
    assert chain < steps.index("ct101: stop xray (/usr/bin/v2ray)")


def test_without_xray_its_configuration_goes_too() -> None:
    state = wanted(replace(POLICY, xray=replace(POLICY.xray, enabled=False)))
    assert state.swept == {"/state/xray/client-*.json"}
    assert words(WANTED, state)[-1].startswith("remove file /state/xray/client-")


def test_a_program_that_starts_again_leaves_the_others_alone() -> None:
    (xray,) = WANTED.daemons
    other = replace(xray, name="xray-102")
    want, earlier = replace(WANTED, daemons=frozenset({xray, other})), replace(other, argv=("/usr/bin/v2ray",))
    steps = plan(want, replace(WANTED, daemons=frozenset({xray, earlier})))
    assert steps == (StopDaemon(earlier), StartDaemon(other))


def test_a_stray_process_of_ours_is_ended_first() -> None:
    stray = Daemon("wireguard-wgcf", ("wireguard-go", "--foreground", "wgcf"), "")
    steps = plan(WANTED, replace(WANTED, daemons=WANTED.daemons | {stray}))
    assert steps == (StopDaemon(stray),)


def test_stop_removes_what_is_ours() -> None:
    found = replace(
        WANTED,
        files=frozenset(),
        namespaces={n: replace(s, created=n == "warp") for n, s in WANTED.namespaces.items()},
    )
    steps = plan(HostState(), found)
    texts = [str(step) for step in steps]
    assert [step for step in steps if isinstance(step, RemoveNamespace)] == [RemoveNamespace("warp")]
    assert RemoveBridge("ovsbr0") in steps
    assert texts[0] == "ct101: stop xray (/usr/bin/v2ray)"
    assert {"ct100: remove WireGuard device wg100", "warp: remove WireGuard device wgcf"} <= set(texts)
    assert "ct101: remove ip rule pref 200 iif internal_101 fwmark 0x100/0x100 lookup 100" in texts
    assert not [text for text in texts if text.startswith("warp: remove route")], "it goes with its namespace"
    chains = texts.index("ct101: remove iptables mangle PREROUTING (1 rule), iptables mangle XRAY_TPROXY (16 rules)")
    sets = next(n for n, text in enumerate(texts) if "remove ipset" in text)
    assert chains < sets, "a set that a rule uses cannot be removed"
    assert not [text for text in texts if "file" in text], "keys stay"


def test_a_renamed_warp_namespace_takes_the_devices_along() -> None:
    other = wanted(replace(POLICY, warp=replace(POLICY.warp, namespace="hub")))
    steps = words(WANTED, other)
    assert "hub: move link wgcf here from warp" in steps and "hub: move link warp0 here from warp" in steps
    assert steps[-1] == "remove network namespace warp"
    assert not [text for text in steps if "remove WireGuard" in text]


CHANGES: list[Callable[[NamespaceState], NamespaceState]] = [
    lambda state: replace(state, routes=frozenset()),
    lambda state: replace(state, rules=frozenset()),
    lambda state: replace(state, sysctls=frozenset()),
    lambda state: replace(state, wireguard=frozenset()),
    lambda state: replace(state, chains=frozenset(list(state.chains)[1:])),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["ct100", "ct101", "warp"])
def test_any_difference_is_seen(name: str, change: Callable[[NamespaceState], NamespaceState]) -> None:
    changed = change(WANTED.namespaces[name])
    found = replace(WANTED, namespaces={**WANTED.namespaces, name: changed})
    assert bool(plan(WANTED, found)) == (changed != WANTED.namespaces[name])
