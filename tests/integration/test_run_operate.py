"""What an operator does beside ``run``: mind his own connection, boot, ask the doctor, take over a WARP profile."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from host_examples import WGCF
from host_sandbox import AGENT, ROOT, Node, own_hash_file
from test_confirm import state

UNITS = ROOT / "packaging" / "systemd"


def unit(name: str) -> dict[str, str]:
    lines = (UNITS / f"{name}.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]\w+=", line))


def test_what_may_cut_the_operator_off_needs_his_word(node: Node, tmp_path: Path) -> None:
    """An operator whose way in is the very interface that the policy takes for the LAN."""
    policy = tmp_path / "director.json"
    director = {
        "xray": {"clients": ["192.0.2.0/24"]},
        "advanced": {
            "lan": {"interfaces": ["uplink0"], "subnets": ["192.0.2.0/24"]},
            "tunnel_director": own_hash_file(tmp_path),
        },
    }
    policy.write_text(json.dumps(director))
    where = ("--policy", policy, "--state-dir", node.state, "--config-dir", node.config)
    connected = ("env", "SSH_CONNECTION=192.0.2.1 50000 192.0.2.2 22", AGENT)
    planned = node.attempt(*connected, "plan", *where)
    assert "warning: may cut your connection from 192.0.2.1 by uplink0" in planned.stdout, planned.stderr
    refused = node.attempt(*connected, "apply", *where)
    assert refused.returncode == 2 and "--confirm SECONDS" in refused.stderr
    assert "XRAY_TPROXY" not in node.run("iptables-save")
    assert node.attempt(AGENT, "apply", *where).returncode == 0, "nobody is connected"
    assert node.attempt(AGENT, "stop", *where).returncode == 0
    assert node.attempt(*connected, "apply", "--force", *where).returncode == 0


# --- boot


def test_boot_puts_the_protection_in_force_without_switch_links_and_names(node: Node, tmp_path: Path) -> None:
    assert "no last good policy" in node.agent("boot").stdout
    node.apply()
    everything = state(node)
    assert node.agent("stop").returncode == 0
    node.run("sh", "-c", "kill $(cat /run/openvswitch/*.pid)")
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    (node.state / "pending-confirm").write_bytes(b"of an earlier boot")
    done = node.agent("boot")
    assert done.returncode == 0, done.stderr
    assert not (node.state / "pending-confirm").exists()
    booted = state(node)
    for what in ("ct100 chains of IPv6", "ct101 chains", "ct101 sets", "warp chains", "warp rules"):
        assert [line.replace(" [detached]", "") for line in booted[what]] == everything[what]
    for place in ("ct100", "ct101", "warp"):
        assert "unreachable default" in "".join(booted[f"{place} routes"])
    assert node.agent("boot").stdout.endswith("in force: 0 steps\n")


# --- units


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize(
    ("name", "worst"), [("privacy-agent", 60), ("privacy-agent-boot", 60), ("privacy-controller", 15)]
)
def test_units_are_valid_and_tight(tmp_path: Path, name: str, worst: int) -> None:
    text = (UNITS / f"{name}.service").read_text().replace("/opt/privacy-router/.venv/bin/", f"{AGENT.parent}/")
    file = tmp_path / f"{name}.service"
    file.write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in verified.stderr.splitlines() if name in line]
    assert verified.returncode == 0 and not complaints
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={worst}", "--no-pager", str(file)]
    security = subprocess.run(command, capture_output=True, text=True, check=False)
    assert security.returncode == 0, security.stdout[-2000:]


def test_the_units_capabilities_are_enough(node: Node) -> None:
    """Everything from nothing, repairs and stop, with no more rights than the unit gives."""
    names = unit("privacy-agent")["CapabilityBoundingSet"].lower().replace("cap_", "+").split()
    rights = ("setpriv", "--no-new-privs", f"--bounding-set=-all,{','.join(names)}", "--inh-caps=-all")
    where = ("--policy", node.policy, "--state-dir", node.state, "--config-dir", node.config)
    made = node.attempt(*rights, AGENT, "apply", *where)
    assert made.returncode == 0, made.stderr
    node.run("ip", "netns", "del", "ct101")
    assert node.attempt(*rights, AGENT, "apply", *where).returncode == 0
    assert node.attempt(*rights, AGENT, "status", *where).returncode == 0
    assert node.attempt(*rights, AGENT, "stop", *where).returncode == 0
    too_few = ("setpriv", "--bounding-set=-all,+net_raw", "--inh-caps=-all")
    assert node.attempt(*too_few, AGENT, "apply", *where).returncode != 0, "the check must be able to fail"


# --- doctor


def test_the_doctor_finds_nothing_on_a_good_machine_and_what_was_broken(node: Node) -> None:
    node.apply()
    well = node.agent("doctor")
    assert well.returncode == 0 and "nothing hinders" in well.stdout, well.stdout
    node.run("mv", "/run/openvswitch/db.sock", "/run/openvswitch/aside")
    switchless = node.agent("doctor")
    node.run("mv", "/run/openvswitch/aside", "/run/openvswitch/db.sock")
    assert switchless.returncode == 1 and "node: Open vSwitch does not answer" in switchless.stdout, switchless.stdout
    node.run(
        "ip", "netns", "exec", "ct101", "ip", "rule", "add", "pref", "200", "fwmark", "0x100/0x3f00", "lookup", "7"
    )
    for words in ("default dev lo", "blackhole 203.0.113.0/25", "203.0.113.200 dev lo proto 80"):
        node.inside("ct101", "ip", "route", "add", *words.split(), "metric", "7", "table", "100")
    node.run("ovs-vsctl", "add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev")
    node.run("ovs-vsctl", "set-controller", "theirs", "tcp:127.0.0.1:1")
    node.run("ovs-vsctl", "add-br", "ordinary", "--", "set", "bridge", "ordinary", "datapath_type=netdev")
    node.inside("warp", "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    node.run("ip", "-n", "warp", "route", "add", "198.51.100.7/32", "dev", "lo", "table", "1001")
    looked = node.agent("status")
    assert looked.returncode == 1 and looked.stdout.splitlines()[-1].endswith("something is in the way")
    for words in ("ct101: ip rule pref 200 fwmark 0x100/0x3f00 lookup 7 of", "warp: route 198.51.100.7/32 dev lo of"):
        assert f"in the way: {words} another program" in looked.stdout
    node.inside("ct101", "iptables", "-t", "mangle", "-A", "PREROUTING", "-j", "CONNMARK", "--restore-mark")
    ill = node.agent("doctor", "--json")
    assert ill.returncode == 1
    said = " ".join(f"{it['what']} {it['cure']}" for it in json.loads(ill.stdout)["findings"])
    for words in ("preference of ours", "mwan3", "bridge theirs has no fail_mode", "rp_filter is 1", "CONNMARK --rest"):
        assert words in said
    assert "route default dev lo of another program is in our routing table 100" in said
    assert "route 203.0.113.0/25 of another program" in said and "203.0.113.200" not in said
    assert "rule pref 200 fwmark 0x100/0x3f00 lookup 7" in said
    assert "ordinary" not in said, "a bridge without a controller is meant to forward"
    node.policy = node.state / "none.json"
    assert "none.json" in node.agent("doctor").stdout


# --- WARP


def test_import_takes_what_describes_a_tunnel(node: Node, tmp_path: Path) -> None:
    source = tmp_path / "from-wgcf.conf"
    source.write_text(WGCF)
    done = node.attempt(AGENT, "warp", "import", source, "--config-dir", node.config)
    assert done.returncode == 0, done.stderr
    taken = node.config / "wgcf-profile.conf"
    text = taken.read_text()
    assert taken.stat().st_mode & 0o777 == 0o600
    assert "Endpoint = engage.example.net:2408" in text and "PostUp" not in text and "DNS" not in text
    node.apply()
    for bad, words in (("<html>", "expected [Interface]"), (WGCF.split("[Peer]")[0], "one [Peer], found 0")):
        source.write_text(bad)
        refused = node.attempt(AGENT, "warp", "import", source, "--config-dir", node.config)
        assert refused.returncode == 2 and words in refused.stderr
    assert taken.read_text() == text
    source.write_text(WGCF.replace("engage.example.net", "198.51.100.9"))
    done = node.attempt(AGENT, "warp", "import", source, "--config-dir", node.config)
    assert "the profile that was there is in " in done.stdout
    former = node.config / "wgcf-profile.conf.before-import"
    assert former.read_text() == text and former.stat().st_mode & 0o777 == 0o600


def test_register_runs_wgcf_only_on_the_operators_word(node: Node, tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "wgcf"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\n[ $1 = register ] && exit 0\ncat >wgcf-profile.conf <<'END'\n{WGCF}\nEND\n")
    fake.chmod(0o755)
    config = tmp_path / "empty"
    config.mkdir()
    register = ("warp", "register", "--config-dir", config)
    refused = node.attempt(AGENT, *register)
    assert refused.returncode == 2 and "--accept-tos" in refused.stderr and not list(config.iterdir())
    assert node.attempt(AGENT, *register, "--accept-tos").returncode == 3
    made = node.attempt("env", f"PATH={fake.parent}:/usr/bin:/bin", AGENT, *register, "--accept-tos")
    assert made.returncode == 0, made.stderr
    assert (config / "wgcf-profile.conf").stat().st_mode & 0o777 == 0o600
