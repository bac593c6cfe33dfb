"""The units under a real systemd: boot, readiness, watchdog, reload, end; with the rights that the units give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from host_sandbox import ROOT
from systemd_sandbox import SYSTEMD, Machine

pytestmark = [pytest.mark.soak, pytest.mark.skipif(not SYSTEMD.exists(), reason="no systemd here")]

AGENT = "privacy-agent.service"
BOOT = "privacy-agent-boot.service"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """One whose last good policy and policy are the director's third example."""
    example = (ROOT / "policies" / "documents" / "vpn-director-3.json").read_text()
    for place in ("state/last-good", "etc/privacy-router"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "policy.json").write_text(example)
    drop_in = tmp_path / "etc/systemd/system" / f"{AGENT}.d"
    drop_in.mkdir(parents=True)
    (drop_in / "quick.conf").write_text("[Service]\nWatchdogSec=3\n")
    with Machine(tmp_path) as it:
        yield it


def test_the_units_do_what_they_say(machine: Machine) -> None:
    machine.wait_for(AGENT, "ActiveState", "active", 40)
    assert machine.shown(BOOT, "Result") == "success"
    moments = [
        int(machine.shown(unit, "ActiveEnterTimestampMonotonic")) for unit in (BOOT, "network-pre.target", AGENT)
    ]
    assert 0 < moments[0] <= moments[1] < moments[2], "protection, then network, then all the rest"
    assert "in force: 0 steps" not in machine.run("journalctl", "--no-pager", "--unit", BOOT)
    assert "in sync" in machine.shown(AGENT, "StatusText")
    assert "XRAY_TPROXY" in machine.run("iptables-save") and "TUN_DIR" in machine.run("ip6tables-save")

    before = machine.shown(AGENT, "MainPID")
    machine.run("kill", "-STOP", before)
    machine.wait_for(AGENT, "NRestarts", "1", 20)
    machine.wait_for(AGENT, "ActiveState", "active", 20)
    assert machine.shown(AGENT, "MainPID") not in ("0", before), "one that hangs is replaced"

    machine.run("systemctl", "reload", AGENT)
    machine.wait_for(AGENT, "ActiveState", "active", 10)
    machine.run("iptables", "-t", "mangle", "-F", "TUN_DIR")
    machine.run("systemctl", "stop", AGENT)
    machine.run("systemctl", "start", AGENT)
    assert "-A TUN_DIR" in machine.run("iptables-save"), "started means in force"
    machine.run("systemctl", "stop", AGENT)
    assert "-A TUN_DIR" in machine.run("iptables-save"), "ending removes nothing"
