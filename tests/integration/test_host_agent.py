"""privacy-agent on a real kernel, real Open vSwitch and real daemons, in a sandbox."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_sandbox import AGENT, EXAMPLE, Node, own_hash_file
from processes import wait_for

MESH_WAITS = "nm-privacy waits for the device netmaker, which Netmaker makes"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node")) as node:
        node.run("ip", "netns", "add", "ct200")
        yield node


@pytest.fixture
def node(kept: Node) -> Node:
    """One for all tests, with the policy in force."""
    kept.apply()
    return kept


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Node]:
    """A node of the test's own, with nothing applied."""
    with Node(tmp_path) as node:
        yield node


def test_from_nothing_and_back(fresh: Node) -> None:
    before = fresh.snapshot()
    planned = fresh.agent("plan", "--json")
    assert planned.returncode == 1
    assert fresh.snapshot() == before and not fresh.state.exists(), "a plan writes nothing"
    shown = json.loads(planned.stdout)["steps"]
    assert sum("(new)" in step for step in shown) == 2 and fresh.agent("plan", "--json").stdout == planned.stdout
    made_anew = r"(?<=client-)[0-9a-f]{12}|(?<=wg100: private key, port 51820, peer )\S+"  # keys, and what they are in
    assert [re.sub(made_anew, "(new)", step) for step in fresh.apply()] == shown, "apply does what plan said"

    status = fresh.status()
    assert status["in_sync"] and status["differences"] == []
    waiting = ["internal_200 waits for container 200", "internal_201 waits for container 201", MESH_WAITS]
    assert status["waiting"] == waiting
    assert {row["name"] for row in status["daemons"]} == {"wireguard-wg100", "wireguard-wgcf", "xray"}
    assert fresh.run("ovs-vsctl", "get-fail-mode", "ovsbr0") == "secure\n"
    assert "internal_200" not in fresh.run("ovs-vsctl", "list-ports", "ovsbr0")

    assert fresh.agent("stop").returncode == 0
    assert fresh.snapshot() == before
    again = fresh.agent("stop")
    assert again.returncode == 0 and "removed: 0 steps" in again.stdout
    assert "nothing of ours is in force: privacy-agent apply" in fresh.agent("status").stdout.splitlines()[-1]
    assert (fresh.state / "keys" / "gateway.key").exists(), "keys are the operator's"


def test_second_apply_writes_nothing(node: Node) -> None:
    files = {path: path.stat().st_mtime_ns for path in node.state.rglob("*") if path.is_file()}
    database = node.run("ovs-vsctl", "get", "Open_vSwitch", ".", "next_cfg")
    assert node.apply() == []
    assert node.agent("plan").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in node.state.rglob("*") if path.is_file()} == files
    assert node.run("ovs-vsctl", "get", "Open_vSwitch", ".", "next_cfg") == database


def test_nothing_but_the_hops_devices_leaves_the_hops(node: Node) -> None:
    """No hop has an uplink: the WireGuard sockets are the node's."""
    for name in ("ct100", "ct101", "warp"):
        links = {line.split()[0] for line in node.inside(name, "ip", "-br", "link").splitlines()}
        assert links <= {"lo", "internal_100", "internal_101", "warp0", "wg100", "wgcf"}
        assert "51820" not in node.inside(name, "ss", "-uln")
    wait_for(lambda: ":51820 " in node.run("ss", "-uln"), "the gateway's port on the node")
    refused = node.attempt("ip", "netns", "exec", "warp", "ip", "route", "get", "198.51.100.9")
    assert refused.returncode != 0 and "No route to host" in refused.stderr


def test_secrets_are_in_root_only_files_and_nowhere_else(node: Node) -> None:
    secrets = [(node.state / name).read_text().strip() for name in ("keys/gateway.key", "keys/client-1.key")]
    secrets.append((node.state / "xray" / "user-id").read_text().strip())
    said = "".join(
        node.agent(verb, *options).stdout for verb in ("apply", "plan", "status") for options in ((), ("--json",))
    )
    said += node.run("ps", "-wweo", "args", "e")
    said += "".join(path.read_text() for path in (node.state / "log").iterdir())
    assert not [secret for secret in secrets if secret in said]
    for path in [node.state, *node.state.rglob("*")]:
        assert path.stat().st_mode & 0o77 == 0, path


REPAIRS: dict[str, tuple[list[str], str]] = {
    "ip rule": (["ip", "-n", "warp", "rule", "del", "pref", "220"], "warp: add ip rule pref 220"),
    "route": (["ip", "-n", "warp", "route", "del", "default", "table", "1001", "via", "10.99.0.101"],
              "warp: add route default via 10.99.0.101 dev warp0 table 1001"),
    "last resort": (["ip", "-n", "ct100", "route", "del", "unreachable", "default", "metric", "4278198272"],
                    "ct100: add route unreachable default"),
    "jump": (["ip", "netns", "exec", "ct101", "iptables", "-t", "mangle", "-F", "PREROUTING"],
             "ct101: put in place iptables mangle PREROUTING (1 rule)"),
    "chain": (["ip", "netns", "exec", "ct101", "iptables", "-t", "mangle", "-D", "XRAY_TPROXY", "1"],
              "ct101: put in place iptables mangle XRAY_TPROXY (1 of 16 rules)"),
    "NAT": (["ip", "netns", "exec", "warp", "iptables", "-t", "nat", "-F"],
            "warp: put in place iptables nat POSTROUTING (1 rule)"),
    "IPv6 drop": (["ip", "netns", "exec", "ct100", "ip6tables", "-t", "mangle", "-F"],
                  "ct100: put in place ip6tables mangle PREROUTING (1 rule)"),
    "set entry": (["ip", "netns", "exec", "ct101", "ipset", "add", "XRAY_SERVERS", "198.51.100.0/24"],
                  "ct101: put in place ipset XRAY_SERVERS (1 entry)"),
    "address": (["ip", "-n", "warp", "address", "del", "10.99.0.1/24", "dev", "warp0"],
                "warp: add address 10.99.0.1/24 dev warp0"),
    "foreign address": (["ip", "-n", "warp", "address", "add", "10.99.0.9/24", "dev", "warp0"],
                        "warp: remove address 10.99.0.9/24 dev warp0"),
    "sysctl": (["ip", "netns", "exec", "warp", "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1"],
               "warp: set sysctl net/ipv4/conf/all/rp_filter=0"),
    "link down": (["ip", "-n", "ct100", "link", "set", "internal_100", "down"],
                  "ct100: set link internal_100 up"),
    "WireGuard peer": (["ip", "netns", "exec", "warp", "wg", "set", "wgcf", "peer",
                        "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=", "remove"],
                       "warp: configure WireGuard device wgcf: peer"),
    "WireGuard device": (["ip", "-n", "warp", "link", "del", "wgcf"], "warp: create WireGuard device wgcf"),
    "fail mode": (["ovs-vsctl", "del-fail-mode", "ovsbr0"], "bridge ovsbr0: fail_mode secure (was none)"),
    "controller": (["ovs-vsctl", "del-controller", "ovsbr0"],
                   "bridge ovsbr0: controller tcp:127.0.0.1:6653 (was none); max_backoff 1000 (was none)"),
    "switch port": (["ovs-vsctl", "del-port", "internal_101"], "bridge ovsbr0: add ports internal_101"),
    "bridge": (["ovs-vsctl", "del-br", "ovsbr0"], "bridge ovsbr0: create"),
    "namespace": (["ip", "netns", "del", "ct101"], "create network namespace ct101"),
    "mesh link": (["ip", "-n", "ct200", "link", "set", "internal_200", "netns", "1"],
                  "ct200: move link internal_200 here from node"),
}  # fmt: skip


@pytest.mark.parametrize("what", REPAIRS)
def test_what_is_changed_by_hand_comes_back(node: Node, what: str) -> None:
    damage, repair = REPAIRS[what]
    node.run(*damage)
    assert node.agent("plan").returncode == 1
    steps = node.apply()
    assert [step for step in steps if step.startswith(repair)], steps
    assert node.apply() == []


@pytest.mark.parametrize("daemon", ["xray", "wireguard-wg100", "wireguard-wgcf"])
def test_a_killed_daemon_comes_back(node: Node, daemon: str) -> None:
    before = node.pid(daemon)
    node.run("kill", "-KILL", before)
    wait_for(lambda: node.has_ended(before), f"{daemon} to end")
    assert node.agent("status").returncode == 1
    node.apply()
    assert node.pid(daemon) != before and node.apply() == []


def test_ports_are_plugged_again_after_a_restart_of_the_switch(node: Node) -> None:
    old = node.run("cat", "/run/openvswitch/ovs-vswitchd.pid").strip()
    node.run("kill", old)
    wait_for(lambda: node.has_ended(old), "ovs-vswitchd to end")
    node.run("ovs-vswitchd", "unix:/run/openvswitch/db.sock", "--pidfile", "--detach", "-vconsole:off")
    wait_for(lambda: node.attempt("ip", "link", "show", "internal_100").returncode == 0, "the switch's new port")
    steps = node.apply()
    assert "ct100: move link internal_100 here from node" in steps
    assert "ct100: add route default via 10.99.0.1 dev internal_100 table main" in steps
    assert node.apply() == []
    packets = node.attempt("ip", "netns", "exec", "ct100", "ping", "-c", "1", "-W", "1", "10.99.0.101")
    assert packets.returncode != 0, "fail mode is secure and there is no controller"
    node.run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", "ovsbr0", "actions=NORMAL")
    node.inside("ct100", "ping", "-c", "3", "-i", "0.2", "-W", "2", "10.99.0.101")


def test_status_shows_what_the_kernel_holds_of_the_chain_when_asked(node: Node) -> None:
    assert "ip netns exec" not in node.agent("status").stdout
    shown = node.agent("status", "--kernel").stdout.splitlines()
    chain = shown.index("ip netns exec ct101 iptables -t mangle -S XRAY_TPROXY")
    rules = node.inside("ct101", "iptables", "-t", "mangle", "-S", "XRAY_TPROXY").splitlines()[1:]
    there = shown[chain + 1 : chain + 1 + len(rules)]
    assert [line.split(":")[0].strip() for line in there] == [str(place) for place in range(1, len(rules) + 1)]
    assert all("packet" in line and "byte" in line for line in there) and any("-j TPROXY" in line for line in there)
    routes = shown[shown.index("ip netns exec warp ip route show table 1001") + 1 :]
    assert any(line.startswith("  route default via 10.99.0.101 dev warp0") for line in routes)
    masquerades = shown[shown.index("ip netns exec warp iptables -t nat -S POSTROUTING") + 1]
    assert masquerades.startswith("  1: -o wgcf -j MASQUERADE")


def test_a_switch_that_has_ended_is_said_before_anything_is_done(fresh: Node) -> None:
    """Its database lives on and holds what we want; whoever asks only that takes the dead ports for ours to repair."""
    fresh.apply()
    links = fresh.inside("ct100", "ip", "-br", "link", "show", "internal_100")
    daemon = fresh.run("cat", "/run/openvswitch/ovs-vswitchd.pid").strip()
    fresh.run("ovs-appctl", "-t", "ovs-vswitchd", "exit")
    wait_for(lambda: fresh.has_ended(daemon), "ovs-vswitchd to end")
    for verb in ("status", "apply", "stop"):
        done = fresh.agent(verb)
        assert (done.returncode, done.stdout) == (3, "") and "ovs-vswitchd does not answer" in done.stderr, verb
    ill = fresh.agent("doctor")
    assert ill.returncode == 1 and "node: ovs-vswitchd does not answer\n    cure: start it" in ill.stdout
    assert fresh.inside("ct100", "ip", "-br", "link", "show", "internal_100").split()[0] == links.split()[0]


def test_after_a_bad_edit_the_last_good_policy_is_what_is_looked_at_by(node: Node, tmp_path: Path) -> None:
    node.policy, original = tmp_path / "bad.json", node.policy
    node.policy.write_text(original.read_text().replace('"vps_port": 443', '"vps_prot": 443'))
    try:
        for verb, last in (("status", "in sync"), ("plan", "in sync: nothing to do")):
            done = node.agent(verb)
            assert done.returncode == 2 and done.stdout.splitlines()[-1] == last
            assert "vps_prot" in done.stderr and f"the last good policy: {node.state}/last-good/policy" in done.stderr
        report = json.loads(node.agent("status", "--json").stdout)
        assert "vps_prot" in report["problems"][0] and report["places"]
        assert node.agent("apply").returncode == 2
        node.policy.unlink()
        assert "name a document by --policy FILE" in node.agent("plan").stderr
    finally:
        node.policy = original


def test_stop_after_a_restart_of_the_switch_leaves_no_dead_link(fresh: Node) -> None:
    fresh.run("ip", "netns", "add", "ct100")
    before = fresh.inside("ct100", "ip", "-br", "link")
    fresh.apply()
    old = fresh.run("cat", "/run/openvswitch/ovs-vswitchd.pid").strip()
    fresh.run("kill", old)
    wait_for(lambda: fresh.has_ended(old), "ovs-vswitchd to end")
    fresh.run("ovs-vswitchd", "unix:/run/openvswitch/db.sock", "--pidfile", "--detach", "-vconsole:off")
    assert fresh.agent("stop").returncode == 0
    assert fresh.inside("ct100", "ip", "-br", "link") == before


def test_a_mesh_container_that_comes_and_goes(node: Node) -> None:
    assert node.status()["waiting"] == ["internal_201 waits for container 201", MESH_WAITS]
    node.run("ip", "netns", "add", "ct201")
    assert "ct201: add address 100.104.70.11/24 dev internal_201" in node.apply()
    node.run("ip", "netns", "del", "ct201")
    assert node.apply() == ["bridge ovsbr0: remove ports internal_201"]
    assert node.status()["waiting"] == ["internal_201 waits for container 201", MESH_WAITS]


def test_a_container_that_only_lxc_knows(fresh: Node, tmp_path: Path) -> None:
    """A container runtime that names no namespaces: ``lxc-info`` tells the first process of a running container."""
    started = tmp_path / "pid"
    container = fresh.start("unshare", "--net", "sh", "-c", f"echo $$ >{started}; exec sleep 1000")
    wait_for(lambda: started.exists() and started.read_text().endswith("\n"), "the container to start")
    pid = started.read_text().strip()
    fake = tmp_path / "lxc-info"
    fake.write_text(f'#!/bin/sh\n[ "$2" = 200 ] && echo {pid} || {{ echo "$2: no such container" >&2; exit 1; }}\n')
    fake.chmod(0o755)
    fresh.run("mount", "-t", "tmpfs", "tmpfs", "/usr/local/sbin")
    fresh.run("cp", fake, "/usr/local/sbin/lxc-info")
    assert "ct200: move link internal_200 here from node" in fresh.apply()
    inside = ("nsenter", "--target", pid, "--net", "ip", "-br", "address")
    assert "100.104.70.10/24" in fresh.run(*inside)
    assert fresh.namespaces() == {"ct100", "ct101", "warp"} and fresh.apply() == []
    assert fresh.status()["waiting"] == ["internal_201 waits for container 201", MESH_WAITS]
    assert fresh.agent("stop").returncode == 0
    assert "internal_200" not in fresh.run(*inside)
    container.kill()


def test_a_changed_policy_moves_the_machine_to_the_new_state(node: Node, tmp_path: Path) -> None:
    document = json.loads(EXAMPLE.read_text())
    document["privacy_router"]["xray"]["tproxy_port"] = 23456
    document["privacy_router"]["warp"]["namespace"] = "hub"
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(document))
    before = node.pid("xray"), node.pid("wireguard-wgcf")
    original, node.policy = node.policy, policy
    try:
        node.apply()
        assert node.apply() == []
        assert "--on-port 23456" in node.inside("ct101", "iptables", "-t", "mangle", "-S", "XRAY_TPROXY")
        assert ":23456 " in node.inside("ct101", "ss", "-tln")
        assert "warp" not in node.namespaces()
        assert len(list((node.state / "xray").glob("client-*.json"))) == 1
        after = node.pid("xray"), node.pid("wireguard-wgcf")
        assert (before[0] != after[0], before[1] == after[1]) == (True, True), "the tunnel's process goes on"
        document["privacy_router"]["xray"]["enabled"] = False
        policy.write_text(json.dumps(document))
        assert node.apply()[-1].startswith(f"remove file {node.state}/xray/client-")
        assert [path.name for path in (node.state / "xray").iterdir()] == ["user-id"] and node.apply() == []
    finally:
        node.policy = original
    node.apply()
    assert "hub" not in node.namespaces()


@pytest.mark.parametrize("way", ["apply", "plan --commands"])
def test_a_link_whose_address_changes_is_never_without_one(fresh: Node, tmp_path: Path, way: str) -> None:
    """Also where the kernel's own default is to take the second address of a subnet away with the first."""
    fresh.run("ip", "netns", "add", "ct200")
    fresh.inside("ct200", "sysctl", "-qw", *(f"net.ipv4.conf.{it}.promote_secondaries=0" for it in ("all", "default")))
    fresh.apply()
    routes = fresh.inside("ct200", "ip", "route")
    fresh.policy = tmp_path / "policy.json"
    fresh.policy.write_text(EXAMPLE.read_text().replace("100.104.70.10", "100.104.70.20"))
    planned = json.loads(fresh.agent("plan", "--json").stdout)["steps"]
    log = tmp_path / "addresses"
    watching = fresh.start("ip", "-n", "ct200", "-4", "monitor", "address", log=log)
    wait_for(lambda: _heard(fresh, log, "127.0.0.2"), "the monitor")
    if way == "apply":
        assert fresh.apply() == planned
    else:
        (tmp_path / "script").write_text(fresh.agent("plan", "--commands").stdout)
        fresh.run("sh", "-e", tmp_path / "script")
    wait_for(lambda: _heard(fresh, log, "127.0.0.3"), "the monitor")
    watching.kill()
    gone = [line for line in log.read_text().splitlines() if line.startswith("Deleted")]
    assert not any("100.104.70.20" in line for line in gone) and any("100.104.70.10" in line for line in gone)
    assert fresh.inside("ct200", "ip", "route") == routes.replace("100.104.70.10", "100.104.70.20")
    assert fresh.apply() == []


def _heard(node: Node, log: Path, address: str) -> bool:
    """Whether a monitor of container 200 knows what has been done by now: this, too."""
    node.attempt("ip", "-n", "ct200", "address", "add", f"{address}/32", "dev", "lo")
    node.attempt("ip", "-n", "ct200", "address", "del", f"{address}/32", "dev", "lo")
    return address in log.read_text()


def test_a_client_shakes_hands_with_the_gateway(node: Node) -> None:
    """The profile is complete: a WireGuard client with nothing else reaches the gateway, and its IPv6 ends there."""
    profile = dict(
        re.findall(r"^(\w+) = (.*)$", (node.state / "clients" / "client-1.conf").read_text(), flags=re.MULTILINE)
    )
    assert profile["Endpoint"] == "192.0.2.2:51820"
    node.run("ip", "netns", "add", "client")
    node.run("ip", "link", "set", "isp0", "netns", "client")
    for words in ("link set isp0 up", "address add 192.0.2.1/24 dev isp0"):
        node.run("ip", "-n", "client", *words.split())
    process = node.start("ip", "netns", "exec", "client", "wireguard-go", "--foreground", "wg0")
    try:
        wait_for(lambda: node.attempt("wg", "show", "wg0").returncode == 0, "the client's device")
        keys = node.state.parent / "client.conf"
        keys.write_text(
            f"[Interface]\nPrivateKey = {profile['PrivateKey']}\n[Peer]\nPublicKey = {profile['PublicKey']}\n"
            f"PresharedKey = {profile['PresharedKey']}\nAllowedIPs = {profile['AllowedIPs']}\n"
            f"Endpoint = {profile['Endpoint']}\n"
        )
        node.inside("client", "wg", "setconf", "wg0", str(keys))
        for address in profile["Address"].split(", "):
            node.run("ip", "-n", "client", "address", "add", address, "dev", "wg0")
        node.run("ip", "-n", "client", "link", "set", "wg0", "up")
        node.run("ip", "-n", "client", "route", "add", "10.100.0.1", "dev", "wg0")
        node.run("ip", "-n", "client", "-6", "route", "add", "2001:db8::/32", "dev", "wg0")
        wait_for(lambda: ":51820 " in node.run("ss", "-uln"), "the gateway's port")
        ping = ("ip", "netns", "exec", "client", "ping", "-c", "1", "-W", "1")
        wait_for(lambda: node.attempt(*ping, "10.100.0.1").returncode == 0, "an answer from the gateway")
        node.attempt(*ping, "2001:db8::1")
        (peer,) = (row for row in node.status()["peers"] if row["device"] == "wg100")
        assert peer["handshake_age"] is not None and peer["handshake_age"] < 30
        look = ("ip6tables", "-t", "mangle", "-L", "PREROUTING", "-nvx")
        wait_for(lambda: int(node.inside("ct100", *look).splitlines()[2].split()[0]), "dropped IPv6 to be counted")
        assert node.apply() == [], "a client that roams is no difference"
    finally:
        process.kill()
        node.run("ip", "netns", "del", "client")


def test_strangers_objects_survive_apply_and_stop(fresh: Node) -> None:
    """Namespaces of a container runtime and objects in our places: not one of them is changed."""
    for name in ("ct100", "ct101", "ct200", "theirs"):
        fresh.run("ip", "netns", "add", name)
    fresh.run("ip", "-n", "theirs", "link", "set", "lo", "up")
    for words in (
        "ip rule add pref 200 fwmark 0x100/0x100 lookup 100",
        "ip rule add pref 210 from 10.100.0.0/24 lookup 1001",
        "ipset create THEIRS hash:net",
        "ipset create XRAY_CLIENTS hash:net",
        "iptables -t mangle -N XRAY_TPROXY",
        "iptables -t mangle -A PREROUTING -j XRAY_TPROXY",
        "ip netns exec ct101 ip rule add pref 200 fwmark 0x100/0x100 lookup 100",
        "ip netns exec ct101 ip rule add pref 200 iif internal_101 fwmark 0x100/0x100 lookup 100 protocol static",
        "ip netns exec ct101 ipset create THEIRS hash:net",
        "ip netns exec ct101 iptables -t mangle -A PREROUTING -s 192.0.2.9 -j ACCEPT",
        "ip netns exec ct100 ip6tables -t mangle -A PREROUTING -j ACCEPT",
        "ip netns exec ct101 ip link set lo up",
        "ip netns exec ct101 ip route add 198.51.100.0/24 dev lo table 100",
        "ovs-vsctl add-br theirbr -- set bridge theirbr datapath_type=netdev",
    ):
        fresh.run(*words.split())
    others = fresh.start("ip", "netns", "exec", "ct101", "sleep", "1000")
    wait_for(lambda: fresh.inside("ct101", "ps", "-wweo", "args").count("\nsleep 1000\n") == 1, "their program")

    def theirs() -> list[str]:
        return [
            fresh.run("ip", "rule"),
            *(
                line.replace(" [detached]", "")  # how a rule for a link that is not there is printed
                for line in fresh.inside("ct101", "ip", "rule").splitlines()
                if "proto 80" not in line
            ),
            fresh.run("ipset", "save"),
            fresh.inside("ct101", "ipset", "save", "THEIRS"),
            fresh.run("iptables", "-t", "mangle", "-S"),
            *(
                line
                for line in fresh.inside("ct101", "iptables", "-t", "mangle", "-S").splitlines()
                if "privacy-router" not in line and line != "-N XRAY_TPROXY"
            ),
            fresh.inside("ct101", "ip", "route", "show", "table", "100", "proto", "boot"),
            fresh.run("ovs-vsctl", "--columns=name,datapath_type,fail_mode,external_ids", "list", "bridge", "theirbr"),
            fresh.run("ps", "-o", "pid=", "-C", "sleep"),
        ]

    before = theirs()
    fresh.apply()
    assert theirs() == before
    assert fresh.inside("ct101", "iptables", "-t", "mangle", "-S", "PREROUTING").splitlines()[1].endswith("XRAY_TPROXY")
    assert fresh.apply() == []
    assert fresh.agent("stop").returncode == 0
    assert theirs() == before
    assert {"ct100", "ct101", "ct200", "theirs"} == fresh.namespaces()
    for name in ("ct100", "ct101", "ct200"):
        assert "proto 80" not in fresh.run("ip", "-n", name, "rule") + fresh.run(
            "ip", "-n", name, "route", "show", "table", "all"
        )
        for tool in ("iptables-save", "ip6tables-save"):
            assert "privacy-router" not in fresh.inside(name, tool) and "TPROXY" not in fresh.inside(name, tool)
        assert fresh.inside(name, "ip", "-br", "link").split()[0] == "lo"
    assert "XRAY" not in fresh.inside("ct101", "ipset", "list", "-name")
    others.kill()


def test_a_taken_udp_port_is_said_before_anything_is_done(fresh: Node) -> None:
    words = "import socket, time; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 51820))"
    holder = fresh.start(sys.executable, "-c", f"{words}; time.sleep(1000)")
    wait_for(lambda: ":51820 " in fresh.run("ss", "-uln"), "the port to be taken")
    done = fresh.agent("apply")
    pid = fresh.run("pgrep", "-f", words.split(";")[0]).strip()
    assert done.returncode == 1 and re.search(rf"node: UDP port 51820 of python\S* \(pid {pid}\) is not", done.stderr)
    assert fresh.namespaces() == set()
    holder.kill()


IN_THE_WAY: dict[str, tuple[str, str]] = {
    "bridge": ("ovs-vsctl add-br ovsbr0 -- set bridge ovsbr0 datapath_type=netdev", "bridge ovsbr0 is not ours"),
    "port": (
        "ovs-vsctl add-br other -- set bridge other datapath_type=netdev -- add-port other warp0 "
        "-- set interface warp0 type=internal",
        "switch port warp0 is not ours",
    ),
    "device": ("ip link add wgcf type veth peer name w1", "node: link wgcf is not ours"),
}


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_stands_in_the_way_is_named_and_nothing_is_touched(fresh: Node, what: str) -> None:
    command, complaint = IN_THE_WAY[what]
    fresh.run(*command.split())
    before = fresh.snapshot()
    for verb in ("apply", "plan"):
        done = fresh.agent(verb)
        assert done.returncode == 1 and complaint in done.stderr and "remove it" in done.stderr
    assert fresh.snapshot() == before
    assert not (fresh.state / "keys").exists()
    assert fresh.agent("stop").returncode == 0
    assert fresh.snapshot() == before, "stop leaves it alone, too"


def test_a_container_with_an_uplink_of_its_own_is_refused(fresh: Node) -> None:
    fresh.run("ip", "netns", "add", "ct100")
    fresh.run("ip", "-n", "ct100", "link", "set", "lo", "up")
    fresh.run("ip", "-n", "ct100", "route", "add", "default", "dev", "lo")
    done = fresh.agent("apply")
    assert done.returncode == 1 and "ct100: route default dev lo table main is not ours" in done.stderr
    assert fresh.run("ovs-vsctl", "list-br") == ""


def test_a_held_lock_is_exit_4(node: Node, tmp_path: Path) -> None:
    started = tmp_path / "pid"
    node.start("sh", "-c", f"exec 9>{node.state}/lock; flock 9; echo $$ >{started}; exec sleep 1000")
    try:
        wait_for(started.exists, "the lock to be held")
        assert node.agent("apply").returncode == 4
        assert "holds" in node.agent("stop").stderr
        assert node.agent("plan").returncode == 0, "looking needs no lock"
    finally:
        node.run("kill", started.read_text().strip())


def test_stop_without_a_policy_goes_by_the_marks(node: Node) -> None:
    node.policy, original = node.state / "nothing.json", node.policy
    try:
        done = node.agent("stop")
        assert done.returncode == 0 and "going by the last good one and the marks" in done.stdout
        assert node.namespaces() == {"ct200"}
        assert node.run("ovs-vsctl", "list-br") == ""
        assert node.inside("ct200", "ip", "-br", "link").split()[0] == "lo"
    finally:
        node.policy = original


def test_bad_document_and_missing_inputs(fresh: Node, tmp_path: Path) -> None:
    before = fresh.snapshot()
    bad = tmp_path / "bad.json"
    bad.write_text(EXAMPLE.read_text().replace('"vps_port": 443', '"vps_prot": 443'))
    fresh.policy = bad
    done = fresh.agent("apply")
    assert done.returncode == 2 and f"{bad}:" in done.stderr and "vps_prot" in done.stderr
    fresh.policy = EXAMPLE
    (fresh.config / "wgcf-profile.conf").unlink()
    done = fresh.agent("apply")
    assert done.returncode == 3 and "wgcf register && wgcf generate" in done.stderr
    (fresh.config / "wgcf-profile.conf").write_text("[Interface]\nPrivateKey = x\n")
    done = fresh.agent("apply")
    assert done.returncode == 2 and "wgcf-profile.conf:2: PrivateKey" in done.stderr
    assert fresh.snapshot() == before


def test_missing_tools_are_named_all_at_once_with_their_packages(fresh: Node, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    for directory in ("/usr/sbin", "/sbin", "/usr/local/sbin"):
        fresh.run("mount", "--bind", empty, directory)
    where = ("--policy", fresh.policy, "--state-dir", fresh.state, "--config-dir", fresh.config)
    done = fresh.attempt("/usr/bin/env", f"PATH={empty}", AGENT, "apply", *where)
    assert done.returncode == 3
    for package in ("openvswitch-switch", "iptables", "ipset", "wireguard-go", "v2ray"):
        assert f"apt install {package}" in done.stderr
    assert not (fresh.state / "keys").exists()


def test_open_vswitch_that_does_not_run_is_exit_3(fresh: Node) -> None:
    fresh.run("sh", "-c", "kill $(cat /run/openvswitch/*.pid)")
    wait_for(lambda: fresh.attempt("ovs-vsctl", "--timeout=1", "show").returncode != 0, "Open vSwitch to end")
    done = fresh.agent("apply")
    assert done.returncode == 3 and "systemctl start openvswitch-switch" in done.stderr


def test_not_root_is_said_at_once(node: Node) -> None:
    # The interpreter and its libraries may stand where only root can read: they are loaded before root is given up.
    script = "import os, sys; from host_agent.cli import main; os.setuid(65534); sys.exit(main(sys.argv[1:]))"
    done = node.attempt(sys.executable, "-c", script, "apply", "--policy", node.policy)
    assert done.returncode == 2 and "needs root" in done.stderr


def test_a_chain_a_mesh_and_a_director_on_one_node(tmp_path: Path) -> None:
    """A chain of the kernel's that several of them have rules in holds the rules of all, and stop takes all back."""
    policy = tmp_path / "policy.json"
    director = {
        "tunnel_director": {"tunnels": {"wgc1": {"clients": ["192.168.50.10"]}}},
        "advanced": {"tunnel_director": own_hash_file(tmp_path)},
    }
    policy.write_text(json.dumps({**json.loads(EXAMPLE.read_text()), **director}))
    with Node(tmp_path, policy) as node:
        for link, address in (("netmaker", "100.104.70.1/24"), ("br0", "192.168.50.1/24"), ("wgc1", "10.9.0.2/24")):
            node.run("ip", "link", "add", link, "up", "type", "bridge")
            node.run("ip", "address", "add", address, "dev", link)
        before = node.snapshot()["chains"]
        node.apply()
        assert node.apply() == []
        assert sum("TCPMSS" in line for line in node.snapshot()["chains"]) == 4
        assert node.agent("stop").returncode == 0
        assert node.snapshot()["chains"] == before
