"""Read of a machine what ``doctor`` judges. Writes nothing; features are tried in a network namespace of their own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from host_agent import actual
from host_agent.doctor.checks import NO_POLICIES, STRICT, VALID_MARK
from host_agent.doctor.machine import Backend, ForeignMark, Machine, Trial
from host_agent.doctor.others import others, places
from host_agent.drivers import netfilter, nftables, ovs, wireguard
from host_agent.drivers.chain_outline import MARK
from host_agent.drivers.chain_reading import COMMENT
from host_agent.drivers.command import run
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError, CommandFailed, Missing
from host_agent.state import HostState, Stranger

KERNEL = "a kernel with {0}: Debian's linux-image-amd64 has it; modprobe {1}"
KERNELS_TABLES = KERNEL.format("NF_TABLES and NFT_COMPAT", "nf_tables nft_compat")
LEGACY_TABLES = (
    "it is the legacy one, which a kernel may lack (IP_NF_IPTABLES_LEGACY, IP6_NF_IPTABLES_LEGACY; modprobe ip_tables, "
    "ip6_tables): update-alternatives --set {0} /usr/sbin/{0}-nft"
)
TPROXY = "-w -t mangle -A PREROUTING -p tcp -j TPROXY --on-port 1 --tproxy-mark 0x1/0x1"
TABLES = {"iptables": ("ip", "inet"), "ip6tables": ("ip6", "inet")}  # nft(8)'s families whose rules its packets meet
# feature, commands, cure
TRIALS = (
    (
        "TPROXY",
        (f"iptables {TPROXY}", "ip rule add fwmark 0x1/0x1 lookup 100"),
        KERNEL.format("NETFILTER_XT_TARGET_TPROXY", "xt_TPROXY"),
    ),
    (
        "TPROXY for IPv6",
        (f"ip6tables {TPROXY}",),
        KERNEL.format("NETFILTER_XT_TARGET_TPROXY and IPv6", "xt_TPROXY"),
    ),
    (
        "ipset hash:net in iptables",
        ("ipset create trial hash:net", "iptables -w -A INPUT -m set --match-set trial src -j DROP"),
        KERNEL.format("IP_SET_HASH_NET and NETFILTER_XT_SET", "ip_set_hash_net xt_set"),
    ),
    (
        "connection tracking and NAT",
        (
            "iptables -w -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
            "iptables -w -t nat -A POSTROUTING -j MASQUERADE",
        ),
        KERNEL.format("NF_CONNTRACK and NF_NAT", "nf_conntrack xt_MASQUERADE"),
    ),
    (
        "MSS clamping",
        ("iptables -w -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",),
        KERNEL.format("NETFILTER_XT_TARGET_TCPMSS", "xt_TCPMSS"),
    ),
    (
        "the table security, where the guard stands",
        ("iptables -w -t security -A FORWARD -j DROP",),
        KERNEL.format("IP_NF_SECURITY", "iptable_security") + "; or advanced.tunnel_director.guard_table: filter",
    ),
    (
        "IPsec policies, which hold when all of netfilter is flushed",
        ("ip xfrm policy add src 192.0.2.1/32 dst 0.0.0.0/0 dir fwd mark 0 mask 0xffffffff action block",),
        KERNEL.format("XFRM_USER", "xfrm_user"),
    ),
)


def machine(wanted: HostState, namespaces: Namespaces) -> Machine:
    beside = others(wanted, namespaces)
    marks: list[ForeignMark] = []
    settings = {}
    for name in places(wanted, namespaces):
        with namespaces.inside(name):
            marks += _marks(name)
            for key in (VALID_MARK, STRICT, NO_POLICIES):
                with suppress(OSError):
                    settings[name, key] = Path("/proc/sys", key).read_text().strip()
    return Machine(
        beside.rules,
        tuple(marks),
        beside.routes,
        beside.unled,
        settings,
        _programs(),
        _networkd(Path("/")),
        tuple(map(_backend, TABLES)),
        _bridges(),
        tuple(_trials()),
        _strangers(wanted, namespaces),
    )


def _strangers(wanted: HostState, namespaces: Namespaces) -> frozenset[Stranger]:
    """As ``apply`` finds them. Where the machine cannot be read whole, another finding says why."""

    def read_switch() -> ovs.Reading:
        try:
            return ovs.read()
        except Missing:
            return ovs.Reading(wanted.bridges, frozenset())

    with suppress(AgentError, OSError):
        return actual.read(wanted, namespaces, read_switch).strangers
    return frozenset()


def _marks(name: str) -> Iterator[ForeignMark]:
    """Rules of others that set marks, as iptables-save prints every form of them; a connection's may be any."""
    for tool in ("iptables-save", "ip6tables-save"):
        for line in _said(tool, "-t", "mangle").splitlines():
            found = re.search(r"--set-xmark (0x[0-9a-f]+)/(0x[0-9a-f]+)|--restore-mark --nfmask (0x[0-9a-f]+)", line)
            if found and not COMMENT.search(line):
                mark, mask = int(found[1] or "0", 16), int(found[2] or found[3], 16)
                yield ForeignMark(name, mark, mask, line.removeprefix("-A "))


def _programs() -> frozenset[str]:
    names = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                names.add(Path("/proc", entry, "comm").read_text().strip())
    return frozenset(names)


def _networkd(root: Path) -> bool | None:
    """Whether systemd-networkd leaves rules of others alone; None if it does not run. networkd.conf(5)."""
    if not (root / "run/systemd/netif/state").exists():
        return None
    files = [root / "etc/systemd/networkd.conf"]
    for place in ("usr/lib", "run", "etc"):
        files += sorted((root / place / "systemd/networkd.conf.d").glob("*.conf"))
    keeps = False
    for file in files:
        with suppress(OSError):
            found = re.findall(r"^\s*ManageForeignRoutingPolicyRules\s*=\s*(\S+)", file.read_text(), re.MULTILINE)
            keeps = found[-1].lower() in ("no", "false", "off", "0") if found else keeps
    return keeps


def _backend(tool: str) -> Backend:
    legacy = not nftables.works_behind(tool)
    if not legacy:
        text = _said(f"{tool}-legacy-save")
        return Backend(tool, legacy, tuple(sorted(netfilter.used_tables(text))), COMMENT.search(text) is not None)
    found: list[tuple[str, bytes]] = []
    with suppress(OSError):  # a kernel without nf_tables
        found = [(table, rule) for table, rule in nftables.rules() if table.split()[0] in TABLES[tool]]
    ours = any(MARK.search(rule) for _, rule in found)
    return Backend(tool, legacy, tuple(sorted({table for table, _ in found})), ours)


def _bridges() -> tuple[str, ...]:
    """Bridges with a controller and no fail mode; one without a controller is meant to be an ordinary switch."""
    found = ("--bare", "--columns=name", "find", "Bridge", "controller!=[]", "fail_mode=[]")
    return tuple(_said("ovs-vsctl", "--timeout=3", *found).split())


def _trials() -> Iterator[Trial]:
    broken = [tool for tool in TABLES if not _all_work((f"{tool} -w -t mangle -S",))]
    for tool in broken:
        yield Trial(tool, False, KERNELS_TABLES if nftables.works_behind(tool) else LEGACY_TABLES.format(tool))
    for feature, commands, cure in TRIALS:
        if not any(command.split()[0] in broken for command in commands):
            yield Trial(feature, _all_work(commands), cure)
    tunnels = wireguard.in_kernel() or Path("/dev/net/tun").exists()
    yield Trial("WireGuard", tunnels, "modprobe wireguard, or for wireguard-go: modprobe tun (/dev/net/tun)")


@contextmanager
def _namespace_for_trial() -> Iterator[Namespaces]:
    """A network namespace without a name, which lives as long as a process that does nothing."""
    command = ["unshare", "--net", "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.write(b"?")
        holder.stdout.read(1)  # it answers, so it is in its namespace
        try:
            with Namespaces({"trial": f"/proc/{holder.pid}/ns/net"}) as namespaces:
                yield namespaces
        finally:
            holder.kill()


def _all_work(commands: Iterable[str]) -> bool:
    """In a network namespace made for them."""
    with _namespace_for_trial() as namespaces, namespaces.inside("trial"):
        try:
            for command in commands:
                run(command.split())
        except CommandFailed:
            return False
        return True


def _said(*command: str) -> str:
    try:
        return run(command)
    except CommandFailed:
        return ""
