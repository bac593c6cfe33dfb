"""Each thing that hinders is found, with its cure, and nothing is where nothing is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from host_examples import FACTS, wanted

from host_agent.desired import desired
from host_agent.doctor.checks import STRICT, Finding, findings, in_the_way, unfinished
from host_agent.doctor.facts import _networkd
from host_agent.doctor.machine import Backend, ForeignMark, ForeignRoute, ForeignRule, Machine, Trial, Unled
from host_agent.doctor.tools import whose
from host_agent.errors import Missing
from host_agent.state import NODE, Chain, HostState, NamespaceState, Route, Rule, filter_rule
from policies.errors import DocumentError, Problem
from policies.load import load_policy
from policies.model import Place

DOCUMENTS = Path(__file__).resolve().parents[2] / "policies" / "documents"
DIRECTOR = HostState(
    namespaces={
        NODE: NamespaceState(
            rules=frozenset(
                {Rule(200, 100, None, None, 0x100, 0x100), Rule(16384, 1001, None, None, 0x10000, 0xFF0000)}
            ),
            routes=frozenset({Route(ip_network("0.0.0.0/0"), "local", "lo", table=100)}),
            chains=frozenset({Chain("ipv4", "mangle", "XRAY_TPROXY", (filter_rule("-p tcp -j TPROXY --on-port 1"),))}),
        )
    }
)
CASES: dict[str, tuple[Machine, str, str]] = {
    "preference": (Machine(rules=(ForeignRule(NODE, 4, 16384, 7, 0, 0),)), "preference of ours", "another preference"),
    "Tailscale": (
        Machine(rules=(ForeignRule(NODE, 4, 5210, 254, 0x80000, 0xFF0000),)),
        "Tailscale uses bits",
        "tailscale",
    ),
    "mwan3": (Machine(marks=(ForeignMark(NODE, 0x100, 0x3F00, "x -j MARK"),)), "mwan3 uses bits 0x100", "mmx_mask"),
    "Calico": (Machine(marks=(ForeignMark(NODE, 0x10000, 0xFFFF0000, "x -j MARK"),)), "Calico", "IptablesMarkMask"),
    "unmasked mark": (
        Machine(marks=(ForeignMark(NODE, 0x7, 0xFFFFFFFF, "x -j MARK"),)),
        "another program",
        "other bits",
    ),
    "table": (Machine(routes=(ForeignRoute(NODE, 100, "default dev eth1"),)), "our routing table 100", "another table"),
    "local table": (
        Machine(unled=(Unled("warp", 6, 255),)),
        "IPv6 routing table local",
        "ip -n warp -6 rule add pref 0 lookup local",
    ),
    "main table": (
        Machine(unled=(Unled(NODE, 4, 254),)),
        "IPv4 routing table main",
        "ip rule add pref 32766 lookup main",
    ),
    "valid mark": (
        Machine(settings={(NODE, "net/ipv4/conf/all/src_valid_mark"): "1"}),
        "src_valid_mark is 1",
        "src_valid_mark=0",
    ),
    "networkd": (Machine(networkd_keeps_rules=False), "systemd-networkd removes", "ManageForeignRoutingPolicyRules=no"),
    "mixed iptables": (
        Machine(backends=(Backend("iptables", False, ("mangle", "nat")),)),
        "legacy iptables has rules (tables mangle, nat)",
        "iptables-legacy -t TABLE -F",
    ),
    "mixed nftables": (
        Machine(backends=(Backend("iptables", True), Backend("ip6tables", True, ("inet filter",)))),
        "ip6tables is the legacy one, and nftables has rules as well (tables inet filter)",
        "update-alternatives --set ip6tables /usr/sbin/ip6tables-nft",
    ),
    "left in nf_tables": (
        Machine(backends=(Backend("iptables", True, ("ip mangle",), ours=True),)),
        "iptables-nft holds rules of ours (tables ip mangle)",
        "/usr/sbin/iptables-nft; privacy-agent stop (some sets may be in use still); "
        "update-alternatives --set iptables /usr/sbin/iptables-legacy; privacy-agent apply",
    ),
    "bridge": (
        Machine(bridges_without_fail_mode=("br-int",)),
        "br-int has no fail_mode",
        "set-fail-mode br-int secure",
    ),
    "kernel": (Machine(trials=(Trial("TPROXY", False, "modprobe xt_TPROXY"),)), "TPROXY does not work", "modprobe"),
    "warp-cli": (Machine(programs=frozenset({"warp-svc", "bash"})), "warp-cli", "warp-cli disconnect"),
}


@pytest.mark.parametrize("what", CASES)
def test_it_is_found_with_its_cure(what: str) -> None:
    machine, words, cure = CASES[what]
    (finding,) = findings(machine, replace(DIRECTOR))
    assert words in finding.what and cure in finding.cure


def test_a_setting_of_ours_is_cured_by_apply_where_it_is() -> None:
    """``sysctl -w`` without the namespace's name changes the node, and /etc/sysctl.d reaches no namespace."""
    strict = Machine(settings={("ct100", STRICT): "1", (NODE, STRICT): "1"})
    assert findings(strict, wanted()) == (
        Finding(
            "ct100",
            "net.ipv4.conf.all.rp_filter is 1: replies that come by another way than the main table's are dropped",
            "privacy-agent apply, which sets it to 0",
        ),
    )
    assert findings(strict, DIRECTOR) == (), "of the node's own it is said for each tunnel that it hinders"


def test_what_the_plan_calls_degraded_is_found() -> None:
    said = (
        "degraded: it does not forward; not at all; sysctl -w x=1",
        "internal_200 waits for container 200",
        "note: so it is",
    )
    assert findings(Machine(), HostState(waiting=said)) == (
        Finding("node", "it does not forward; not at all", "sysctl -w x=1"),
    )


def test_every_degraded_remark_has_a_cure() -> None:
    """Which ``doctor`` shows: of a LAN director on a machine that lacks everything."""
    policy = load_policy(DOCUMENTS / "vpn-director-2.json")
    said = desired(policy, FACTS).waiting
    found = findings(Machine(), HostState(waiting=said))
    assert len(found) == sum(it.startswith("degraded: ") for it in said) == 3
    for words, cure in (("ranges of ru", "apply asks"), ("interface br0", "lan.interfaces"), ("ovpnc3", "bring it up")):
        assert [cure in it.cure for it in found if words in it.what] == [True]


def test_what_others_have_where_we_decide_is_in_the_way() -> None:
    others = Machine(rules=(ForeignRule(NODE, 4, 200, 7, 0, 0),), routes=(ForeignRoute(NODE, 100, "default dev eth1"),))
    rule, route = in_the_way(others, DIRECTOR)
    assert rule.startswith("node: ip rule pref 200 lookup 7 of another program stands at a preference of ours")
    assert route.startswith("node: route default dev eth1 of another program is in our routing table 100; ")
    calm = Machine(rules=(ForeignRule(NODE, 4, 5000, 254, 0, 0),), routes=(ForeignRoute(NODE, 254, "default"),))
    assert in_the_way(calm, DIRECTOR) == ()


def test_what_is_missing_is_the_machines_and_what_is_invalid_the_policys() -> None:
    missing = unfinished(Missing("xray: not installed; apt install v2ray"))
    assert missing == (Finding("node", "xray: not installed", "apt install v2ray"),)
    (invalid,) = unfinished(DocumentError([Problem(Place("policy.json", 3, "xray"), "expected an object")]))
    assert (invalid.where, invalid.what) == ("policy", "policy.json:3: xray: expected an object")
    assert "privacyctl check" in invalid.cure


def test_nothing_is_found_where_nothing_is() -> None:
    calm = Machine(
        rules=(ForeignRule(NODE, 4, 5000, 7, 0x1, 0xFF), ForeignRule("ct101", 4, 200, 7, 0, 0, "eth0")),
        marks=(ForeignMark(NODE, 0x4, 0x4, "x"),),
        routes=(ForeignRoute(NODE, 254, "default"), ForeignRoute("ct101", 100, "default")),
        settings={(NODE, "net/ipv4/conf/all/src_valid_mark"): "0", (NODE, "net/ipv4/conf/all/rp_filter"): "2"},
        networkd_keeps_rules=True,
        backends=(Backend("iptables", False), Backend("ip6tables", True)),
        trials=(Trial("TPROXY", True, ""),),
        programs=frozenset({"tailscaled"}),
    )
    assert findings(calm, DIRECTOR) == ()


def test_a_rule_with_an_interface_is_safe_from_src_valid_mark() -> None:
    """As the chain's is: what the kernel checks backwards has no incoming interface."""
    machine = Machine(settings={("ct101", "net/ipv4/conf/all/src_valid_mark"): "1"})
    assert findings(machine, wanted()) == ()


def test_known_tools_are_known_by_their_marks() -> None:
    for mark, mask, name in ((0x40000, 0xFF0000, "Tailscale"), (0x100CF, 0xFFFFFFFF, "warp-cli (Cloudflare WARP)")):
        tool = whose(mark, mask)
        assert tool is not None and tool.name == name
    assert whose(0x7, 0x7) is None and whose(0x7, 0xFFFFFFFF) is None


@pytest.mark.parametrize(
    ("files", "keeps"),
    [
        ({}, None),
        ({"run/systemd/netif/state": ""}, False),
        ({"run/systemd/netif/state": "", "etc/systemd/networkd.conf": "#ManageForeignRoutingPolicyRules=no\n"}, False),
        ({"run/systemd/netif/state": "", "etc/systemd/networkd.conf": "ManageForeignRoutingPolicyRules = no\n"}, True),
        (
            {
                "run/systemd/netif/state": "",
                "etc/systemd/networkd.conf": "ManageForeignRoutingPolicyRules=no\n",
                "etc/systemd/networkd.conf.d/9.conf": "[Network]\nManageForeignRoutingPolicyRules=yes\n",
            },
            False,
        ),
    ],
)
def test_networkd_is_read_as_it_reads_itself(tmp_path: Path, files: dict[str, str], keeps: bool | None) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert _networkd(tmp_path) is keeps
