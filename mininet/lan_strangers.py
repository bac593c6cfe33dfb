"""Other people's objects on the router: what ``stop`` leaves, where the jumps stand among them, what is refused.

The first process of a sandbox. Takes the names of tables that iptables shall have made before. Reports a JSON object
per test on its standard output.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from lan_flips import POLICIES, report
from lan_lab import BASE, LanLab, changed
from lan_probes import LONG, Probe, send_all
from lan_router import ip, run

from host_agent.errors import Conflict


def snapshot() -> dict[str, str]:
    commands: dict[str, list[str]] = {
        "iptables": ["iptables-save"],
        "ip6tables": ["ip6tables-save"],
        "rules": ["ip", "rule"],
        "rules6": ["ip", "-6", "rule"],
        "routes": ["ip", "route", "show", "table", "all"],
        "routes6": ["ip", "-6", "route", "show", "table", "all"],
        "sets": ["ipset", "save"],
        "IPsec policies": ["ip", "xfrm", "policy"],
        "settings": ["sysctl", "-a", "--pattern", r"^net\.ipv[46]\."],
    }
    found = {}
    for what, command in commands.items():
        try:
            text = run(*command)
        except RuntimeError as error:
            text = str(error)
        counters = re.sub(
            r"\[\d+:\d+\]|^#.*$|expires \d+sec|.*(?:identification|stable_secret).*", "", text, flags=re.M
        )
        found[what] = counters
    return found


def stop_leaves_everything(lab: LanLab) -> None:
    """Strangers stand at our preferences, in our tables and chains; what is theirs stays, byte for byte."""
    lab.stop()
    ip("rule", "add", "pref", "16384", "fwmark", "0x70000000/0x70000000", "lookup", "main")
    ip("rule", "add", "pref", "200", "fwmark", "0x7", "lookup", "main")
    ip("-6", "rule", "add", "pref", "16385", "fwmark", "0x9", "lookup", "main")
    ip("xfrm", "policy", "add", "src", "192.168.50.10/32", "dst", "192.0.2.0/24", "dir", "fwd", "action", "block")
    run("ipset", "create", "mine", "hash:ip")
    run("iptables", "-t", "mangle", "-N", "MINE")
    run("iptables", "-t", "mangle", "-A", "PREROUTING", "-i", "br0", "-p", "47", "-j", "MINE")
    before = snapshot()
    for document in POLICIES:
        lab.apply(document)
        assert lab.apply(document) == 0, "a second apply writes nothing"
    lab.stop()
    after = snapshot()
    report("stop", leaks={}, differences=[what for what in before if before[what] != after[what]])


def order(lab: LanLab) -> None:
    """A system mark that comes later is seen, and TUN_DIR goes behind it; XRAY_TPROXY stays first."""
    lab.apply(BASE)
    run("iptables", "-t", "mangle", "-A", "PREROUTING", "-i", "wgs1", "-j", "MARK", "--set-xmark", "0x1/0x7")
    run("iptables", "-t", "mangle", "-I", "PREROUTING", "1", "-p", "50", "-j", "RETURN")
    lab.apply(BASE)
    rules = [
        line.split("-j ")[-1].split()[0]
        for line in run("iptables", "-t", "mangle", "-S", "PREROUTING").splitlines()[1:]
    ]
    answers = send_all([Probe("lan10", 4, "tcp"), Probe("lan20", 4, "tcp")], LONG)
    report("order", leaks={}, rules=rules, answers=sorted(answers.values()))


COLLISIONS: tuple[tuple[str, str], ...] = (
    ("ip rule add pref 5210 fwmark 0x10000/0xff0000 lookup main", "ip rule del pref 5210"),
    ("ip rule add pref 5211 fwmark 0x1000000/0x1000000 lookup 7", "ip rule del pref 5211"),
    ("ip route add local default dev lo table 101", "ip route del local default table 101"),
    (
        "iptables -t mangle -N TAKEN; iptables -t mangle -A TAKEN -p 47 -j DROP",
        "iptables -t mangle -F TAKEN; iptables -t mangle -X TAKEN",
    ),
    ("ipset create THEIRS hash:net", "ipset destroy THEIRS"),
)


def collisions(lab: LanLab) -> None:
    """A stranger's object that would take our packets, or has our name, is refused before anything is touched."""
    lab.apply(BASE)
    names = {"advanced__xray__route_table": 101, "advanced__tunnel_director__chain": "TAKEN"}
    other = changed(BASE, advanced__xray__clients_ipset="THEIRS", **names)
    said: list[str] = []
    for make, undo in COLLISIONS:
        run("sh", "-c", make)
        before = snapshot()
        try:
            lab.apply(other)
        except Conflict as conflict:
            said += conflict.problems
        if before != snapshot():
            said.append(f"touched in spite of: {make}")
        run("sh", "-c", undo)
    lab.apply(other)
    answers = send_all([Probe("lan10", 4, "tcp"), Probe("lan20", 4, "tcp")], LONG)
    report("collisions", leaks={}, said=said, answers=sorted(answers.values()))


def main() -> None:
    lab = LanLab(Path(sys.argv[1]))
    for table in sys.argv[2:]:
        for tool in ("iptables", "ip6tables"):
            run(tool, "-t", table, "-S")
    stop_leaves_everything(lab)
    order(lab)
    collisions(lab)
    sys.stdout.flush()
    os._exit(0)  # the servers' thread has no end


if __name__ == "__main__":
    main()
