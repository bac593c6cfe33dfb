"""What strangers can take away, under traffic and with no agent there to put it back: the guards alone must hold.

The first process of a sandbox; takes the number of policies to try. Reports a JSON object per test on its standard
output: the policy in force, what was done to it, and every packet that left where it should not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import flush_ruleset
import lan_router
from capture import capture
from lan_flips import Traffic, report
from lan_lab import BASE, Document, LanLab, abroad, changed, leaks, uplink
from lan_probes import LONG, Probe, send_all
from lan_router import EXITS, address, ip, run

from host_agent.drivers import xfrm
from host_agent.drivers.namespaces import Namespaces
from host_agent.drivers.netlink import rules
from host_agent.state import MAIN_TABLE, NODE

WATCHED = 0.4  # seconds of traffic after each blow, at least,
ENOUGH = 200  # and packets
TOOLS = ("iptables", "ip6tables")
FLUSHED = (f"{sys.executable} {Path(flush_ruleset.__file__)}",)
EMPTIED = tuple(f"{tool} -t {table} -F" for tool in TOOLS for table in ("filter", "nat", "mangle", "security"))
UNBLOCKED = ("ip xfrm policy flush",)
EMPTY = "".join(rf"*{table}\nCOMMIT\n" for table in ("filter", "nat", "mangle"))  # for printf(1)
OWN_TUNNEL = {"vpn1": "lan20", "vpn2": "lan30"}
POLICIES: dict[str, Document] = {
    "addresses": BASE,
    "MAC addresses": changed(
        BASE,
        xray__clients=["02:00:00:00:50:0a"],
        tunnel_director__tunnels__wgc1__clients=["02:00:00:00:50:14"],
        tunnel_director__tunnels__ovpnc3__clients=["02:00:00:00:50:1e"],
    ),
    "queries into the tunnel, IPv6 blocked": changed(
        BASE,
        xray__dns="tunnel",
        xray__ipv6="block",
        tunnel_director__tunnels__wgc1__dns="tunnel",
        tunnel_director__tunnels__wgc1__quic="reject",
    ),
    "one client in both": changed(
        BASE, tunnel_director__tunnels__wgc1__clients=[address(c, v) for c in ("lan20", "lan10") for v in (4, 6)]
    ),
}


@dataclass(frozen=True)
class Blow:
    """Commands of a stranger, for a shell. ``leaks``: a positive control, after which packets must be seen."""

    name: str
    commands: tuple[str, ...]
    leaks: bool = False
    whole: bool = False  # nothing of netfilter is left, and a client by MAC address is unknown: the one limit


def tools(*words: str) -> Blow:
    """The same for both families."""
    return Blow("; ".join(f"iptables {each}" for each in words), tuple(f"{t} {w}" for w in words for t in TOOLS))


def blows() -> Iterator[Blow]:
    """Read from the kernel what there is, and take away each."""
    for name in ("TUN_DIR", "XRAY_TPROXY", "PREROUTING"):
        yield tools(f"-t mangle -F {name}")
    yield tools("-t mangle -D PREROUTING 1")
    yield tools("-t mangle -F")
    yield tools("-t nat -F")
    yield tools("-F")
    yield tools("-F", "-t nat -F", "-t mangle -F")
    yield Blow("a firewall's reload", tuple(f"printf '{EMPTY}' | {tool}-restore" for tool in TOOLS))
    for name in sorted(line for line in run("ipset", "list", "-n").splitlines()):
        yield Blow(f"ipset flush {name}", (f"ipset flush {name}",))
    yield Blow("ipset flush", ("ipset flush",))
    with Namespaces({}) as namespaces:
        there = sorted(rules(namespaces.netlink(NODE)), key=str)
    for rule in there:
        family = "-6" if rule.family == "ipv6" else "-4"
        words = f"pref {rule.priority} fwmark {rule.mark:#x}/{rule.mask:#x}"
        yield Blow(f"del {rule}", (f"ip {family} rule del {words}",))
    yield Blow(
        "ip rule flush, main given back",
        tuple(f"ip {f} rule flush; ip {f} rule add pref 32766 lookup main" for f in ("-4", "-6")),
    )
    for table in sorted({rule.table for rule in there} - {0, MAIN_TABLE}):
        yield Blow(
            f"ip route flush table {table}", tuple(f"ip {family} route flush table {table}" for family in ("-4", "-6"))
        )
    everything = tools("-F", "-t nat -F", "-t mangle -F").commands
    yield Blow("all of it but the guard", (*everything, "ipset flush"))
    yield tools("-t security -F")
    yield Blow("each table of iptables by its name", EMPTIED, whole=True)
    yield Blow("ip xfrm policy flush", UNBLOCKED)
    yield Blow("nft flush ruleset", FLUSHED, whole=True)
    yield Blow("control: IPsec policies, and nft flush ruleset", (*UNBLOCKED, *FLUSHED), leaks=True)
    unguarded = (*tools("-t security -F").commands, *UNBLOCKED)
    for name, commands in (
        ("everything", everything),
        ("TUN_DIR", tools("-t mangle -F TUN_DIR").commands),
        ("XRAY_CLIENTS", ("ipset flush XRAY_CLIENTS",)),
        ("an ip rule", ("ip rule del pref 16384",)),
        ("a table", ("ip route flush table 103",)),
    ):
        yield Blow(f"control: the guards, and {name}", (*unguarded, *commands), leaks=True)


@contextmanager
def strays() -> Iterator[dict[str, int]]:
    """Packets of clients by the uplink, or by the tunnel of another, while the body runs; filled in at its end."""
    found: dict[str, int] = {}
    with ExitStack() as stack:
        wan = stack.enter_context(uplink())
        tunnels = {name: stack.enter_context(capture("node", EXITS[name][0])) for name in OWN_TUNNEL}
        yield found
    found |= {str(it): count for it, count in leaks(wan).items()}
    for name, owner in OWN_TUNNEL.items():
        others = {address(c, v) for c in lan_router.CLIENTS if c not in (owner, "lan10", "lan99") for v in (4, 6)}
        found |= {f"by {name}: {it}": n for it, n in tunnels[name].packets.items() if it.source in others}
    found |= {"control": abroad(wan, "lan99"), "dropped": wan.dropped}


def queries() -> list[Probe]:
    return [Probe(client, version, "dns router") for client in ("lan10", "lan20", "lan30") for version in (4, 6)]


def strike(lab: LanLab, policy: str, blow: Blow) -> None:
    with strays() as found, Traffic() as traffic:
        for command in blow.commands:
            run("sh", "-c", command)
        before, end = traffic.sent, time.monotonic() + WATCHED
        answers = send_all(queries())
        while (sent := traffic.sent - before) < ENOUGH or time.monotonic() < end:
            time.sleep(0.02)
    asked = [str(probe) for probe, answer in answers.items() if answer == "router"]
    control, dropped = found.pop("control"), found.pop("dropped")
    report(
        blow.name,
        policy=policy,
        leaks=found,
        asked=asked,
        control=control,
        dropped=dropped,
        sent=sent,
        wanted=blow.leaks or (blow.whole and policy == "MAC addresses"),
    )
    mend(lab, POLICIES[policy])


@contextmanager
def kept(lab: LanLab) -> Iterator[None]:
    """``privacy-agent run`` keeps the policy, until the body ends."""
    agent = Path(sys.executable).with_name("privacy-agent")
    words = ("--policy", lab.write(BASE), "--state-dir", lab.state, "--config-dir", lab.directory)
    with (lab.directory / "run.log").open("w+") as log:
        running = subprocess.Popen([agent, "run", *words], stdout=log, stderr=log)
        try:
            while "in force" not in (lab.directory / "run.log").read_text():
                time.sleep(0.05)
            yield
        finally:
            running.terminate()
            running.wait()


def window(lab: LanLab) -> None:
    """All of netfilter is flushed, and ``run`` puts it back: how long that takes, and what leaves meanwhile."""
    times = []
    with kept(lab), strays() as found, Traffic():
        for _ in range(5):
            time.sleep(1.5)
            begin = time.monotonic()
            run("sh", "-c", ";".join((*EMPTIED, *FLUSHED)))
            while any("-o wgc1" not in run(f"{tool}-save", "-t", "security") for tool in TOOLS):
                time.sleep(0.005)
            times.append(round((time.monotonic() - begin) * 1e3))
    control = found.pop("control") + found.pop("dropped")
    report("window", milliseconds=times, strays=sum(found.values()), control=control)


def unblocked(lab: LanLab) -> None:
    """How long the IPsec policies are gone, with ``run``, when somebody takes them away."""
    times = []
    with kept(lab), Namespaces({}) as namespaces:
        whole = xfrm.blocks(namespaces, NODE)
        for _ in range(5):
            time.sleep(1.5)
            begin = time.monotonic()
            run(*UNBLOCKED[0].split())
            while xfrm.blocks(namespaces, NODE) != whole:
                time.sleep(0.005)
            times.append(round((time.monotonic() - begin) * 1e3))
    report("IPsec policies", milliseconds=times, policies=len(whole))


def strictly(lab: LanLab) -> None:
    """The uplink takes strict care of sources (rp_filter): what is excluded is reached, and answers come back."""
    Path("/proc/sys/net/ipv4/conf", EXITS["wan"][0], "rp_filter").write_text("1")
    kinds = ("tcp", "udp", "icmp")
    probes = [Probe(client, v, kind, "exempt") for client in lan_router.CLIENTS for v in (4, 6) for kind in kinds]
    answers = send_all(probes, LONG)
    lost = [str(probe) for probe in probes if probe.client != "lan99" and answers[probe] not in ("wan", "answered")]
    report("strict source check", lost=lost, probes=len(probes))


def another_device(lab: LanLab) -> None:
    """The tunnel that is a table comes back by another device: how long until ``run`` lets its clients out there."""
    probes = [Probe("lan30", version, "tcp") for version in (4, 6)]
    with kept(lab):
        ip("link", "del", EXITS["vpn2"][0])
        EXITS["vpn2"] = ("tun4", EXITS["vpn2"][1])
        lan_router.connect("vpn2")
        begin = time.monotonic()
        while set(send_all(probes).values()) != {"vpn2"} and time.monotonic() < begin + 20:
            pass
        report("another device", milliseconds=round((time.monotonic() - begin) * 1e3))


def mend(lab: LanLab, document: Document) -> None:
    """What was not ours first."""
    lan_router.raise_link("vpn2")
    for family in ("-4", "-6"):
        with suppress(RuntimeError):
            ip(family, "rule", "add", "pref", "32766", "lookup", "main")
    lab.apply(document)
    assert lab.plan(document) == ()


def main(names: Iterable[str]) -> None:
    lab = LanLab(Path(sys.argv[1]))
    send_all([Probe(client, version, "tcp") for client in lan_router.CLIENTS for version in (4, 6)])
    for name in names:
        lab.apply(POLICIES[name])
        for blow in list(blows()):
            strike(lab, name, blow)
    lab.apply(BASE)
    strictly(lab)
    window(lab)
    unblocked(lab)
    another_device(lab)
    sys.stdout.flush()
    os._exit(0)  # the servers' thread has no end


if __name__ == "__main__":
    main(list(POLICIES)[: int(sys.argv[2])])
