"""What on a machine will hinder the privacy router, and the cure. Pure checks over what was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from host_agent.doctor.machine import ForeignMark, ForeignRule, Machine
from host_agent.doctor.tools import PROGRAMS, TOOLS, whose
from host_agent.errors import AgentError, Missing
from host_agent.state import DEGRADED, NODE, HostState, NamespaceState
from host_agent.steps import at
from policies.errors import DocumentError

RESERVED_TABLES = (253, 254, 255)  # default, main, local
KERNELS_PREFERENCES = (0, 32766, 32767)
KERNELS_RULES = {255: (0, "local"), 254: (32766, "main")}  # table -> preference, name
VALID_MARK, STRICT = "net/ipv4/conf/all/src_valid_mark", "net/ipv4/conf/all/rp_filter"
NO_POLICIES = "net/ipv4/conf/all/disable_policy"


@dataclass(frozen=True)
class Finding:
    where: str
    what: str
    cure: str


Check = Callable[[Machine, HostState], Iterator[Finding]]


def findings(machine: Machine, wanted: HostState) -> tuple[Finding, ...]:
    """All of them; none if nothing hinders."""
    return tuple(finding for check in CHECKS for finding in check(machine, wanted))


def in_the_way(others: Machine, wanted: HostState) -> tuple[str, ...]:
    """What ``status`` says of others' rules and routes: they stand where ours decide, or are missing there. Overlapping
    marks alone may be harmless; those that take our packets no plan goes on with."""
    found = (finding for check in (_preferences, _tables, _unled) for finding in check(others, wanted))
    return tuple(f"{it.where}: {it.what}; {it.cure}" for it in found)


def unfinished(reason: DocumentError | AgentError) -> tuple[Finding, ...]:
    """Why the policy cannot be carried out: by itself, or for what is missing here."""
    where = "node" if isinstance(reason, Missing) else "policy"
    parts = [str(problem).partition("; ") for problem in reason.problems]
    advice = "mend what is named; privacyctl check FILE says more"
    return tuple(Finding(where, what, cure or advice) for what, _, cure in parts)


def _strangers(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    """What keeps ``apply`` from beginning."""
    for it in sorted(machine.strangers, key=str):
        where, _, what = it.what.rpartition(": ")
        yield Finding(where or "switch", f"{what} is not ours, and stands where the policy wants something", it.advice)


def _preferences(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    for rule in machine.rules:
        ours = [it for it in wanted.namespace(rule.namespace).rules if it.priority == rule.priority]
        if ours and rule.priority not in KERNELS_PREFERENCES:
            yield Finding(
                at(rule.namespace),
                f"{rule} of another program stands at a preference of ours ({ours[0]})",
                "which of the two is asked first is chance: give that program another preference",
            )


def _marks(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    places: tuple[ForeignRule | ForeignMark, ...] = (*machine.rules, *machine.marks)
    for found in places:
        taken = [it for it in wanted.namespace(found.namespace).marked if it.mask & found.mask and it.mark]
        if not taken or not found.mask:
            continue
        tool = whose(found.mark, found.mask)
        what = str(found) if isinstance(found, ForeignRule) else found.rule
        yield Finding(
            at(found.namespace),
            f"{what}: {tool.name if tool else 'another program'} uses bits {found.mask & taken[0].mask:#x} of the mark "
            f"{taken[0].mark:#x}/{taken[0].mask:#x} that we decide by",
            tool.cure if tool else "give that program other bits of the mark",
        )


def _tables(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    for route in machine.routes:
        routes = wanted.namespace(route.namespace).routes
        tables = {it.table for it in routes if it.kind != "unreachable"} - set(RESERVED_TABLES)  # with one of ours
        if route.table in tables:
            yield Finding(
                at(route.namespace),
                f"route {route.text} of another program is in our routing table {route.table}",
                "packets under policy may take it: give that program another table",
            )


def _unled(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    for it in machine.unled:
        preference, name = KERNELS_RULES[it.table]
        options = ["-n", it.namespace] if it.namespace != NODE else []
        options += ["-6"] if it.family == 6 else []
        yield Finding(
            at(it.namespace),
            f"no ip rule leads to the IPv{it.family} routing table {name}, whose rule the kernel itself had made",
            " ".join(["ip", *options, "rule add pref", str(preference), "lookup", name]),
        )


def _degraded(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    """What the plan of this policy says, too."""
    for remark in wanted.waiting:
        if remark.startswith(DEGRADED):
            what, _, cure = remark.removeprefix(DEGRADED).rpartition("; ")
            yield Finding(at(NODE), what, cure)


def _settings(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    """What a policy's hops and the director's ip rules cannot bear; of the director's tunnels see ``_degraded``."""
    for name, state in sorted(wanted.namespaces.items()):
        value = machine.settings.get((name, VALID_MARK))
        bare = [rule for rule in state.rules if rule.mask and rule.incoming is None]
        if value == "1" and bare:
            yield Finding(
                at(name),
                f"net.ipv4.conf.all.src_valid_mark is 1 (wg-quick and Tailscale set it): {bare[0]} then turns the "
                "source check against packets that TPROXY marked",
                _set_by_us(state, VALID_MARK)
                or "sysctl -w net.ipv4.conf.all.src_valid_mark=0, or name the LAN interfaces: the rule then has an iif",
            )
        ours = _set_by_us(state, STRICT)
        if ours and machine.settings.get((name, STRICT)) == "1":
            yield Finding(
                at(name),
                "net.ipv4.conf.all.rp_filter is 1: replies that come by another way than the main table's are dropped",
                ours,
            )
        if machine.settings.get((name, NO_POLICIES)) == "1" and state.blocks:
            yield Finding(
                at(name),
                "net.ipv4.conf.all.disable_policy is 1: what holds when all of netfilter is flushed is switched off",
                "sysctl -w net.ipv4.conf.all.disable_policy=0, also in /etc/sysctl.d",
            )


def _set_by_us(state: NamespaceState, key: str) -> str:
    """The cure for a setting that the policy's own state has another value for; none where it has none."""
    values = [it.value for it in state.sysctls if it.key == key]
    return f"privacy-agent apply, which sets it to {values[0]}" if values else ""


def _networkd(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    if machine.networkd_keeps_rules is False:
        yield Finding(
            "node",
            "systemd-networkd removes ip rules and routes of others whenever it configures a link",
            "in /etc/systemd/networkd.conf, [Network]: ManageForeignRoutingPolicyRules=no and ManageForeignRoutes=no; "
            "then systemctl restart systemd-networkd",
        )


def _iptables(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    for it in machine.backends:
        tables = ", ".join(it.beside)
        here, there = ("legacy", "nft") if it.legacy else ("nft", "legacy")
        choose = f"update-alternatives --set {it.tool} /usr/sbin/{it.tool}"
        if it.ours:
            yield Finding(
                "node",
                f"{it.tool}-{there} holds rules of ours (tables {tables}), from before {it.tool} became the "
                f"{here} one: they decide on, follow no policy, and stop leaves them",
                f"{choose}-{there}; privacy-agent stop (some sets may be in use still); "
                f"{choose}-{here}; privacy-agent apply",
            )
        elif it.beside and it.legacy:
            yield Finding(
                "node",
                f"{it.tool} is the legacy one, and nftables has rules as well (tables {tables}): packets pass both",
                f"privacy-agent stop; {choose}-nft; privacy-agent apply",
            )
        elif it.beside:
            yield Finding(
                "node",
                f"legacy {it.tool} has rules (tables {tables}) beside those of {it.tool}-nft: packets pass both, each "
                "blind to the other",
                f"move the rules of the program that uses {it.tool}-legacy ({it.tool}-legacy-save shows them), then "
                f"empty each table: {it.tool}-legacy -t TABLE -F; update-alternatives --display {it.tool}",
            )


def _bridges(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    for name in machine.bridges_without_fail_mode:
        yield Finding(
            "switch",
            f"bridge {name} has no fail_mode: when its controller is away it forwards everything",
            f"ovs-vsctl set-fail-mode {name} secure, if its flow entries are made by a controller",
        )


def _programs(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    for program in sorted(machine.programs & PROGRAMS.keys()):
        tool = next(it for it in TOOLS if it.name == PROGRAMS[program])
        if tool.name.startswith(("warp-cli", "v2rayA")):
            yield Finding("node", f"{tool.name} runs and takes this machine's default route for itself", tool.cure)


def _features(machine: Machine, wanted: HostState) -> Iterator[Finding]:
    for trial in machine.trials:
        if not trial.works:
            yield Finding("kernel", f"{trial.feature} does not work here", trial.cure)


CHECKS: tuple[Check, ...] = (
    _features,
    _degraded,
    _strangers,
    _preferences,
    _marks,
    _tables,
    _unled,
    _settings,
    _networkd,
    _iptables,
    _bridges,
    _programs,
)
