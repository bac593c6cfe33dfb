"""Gather the facts about this machine: programs, containers, name resolution, identity, profiles. Writes nothing."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from host_agent.countries.gather import recall
from host_agent.drivers import netlink, ovs, wireguard, xray
from host_agent.drivers.command import run
from host_agent.drivers.namespaces import DIRECTORY, Namespaces
from host_agent.errors import AgentError, CommandFailed, Missing, Refused
from host_agent.facts import identity
from host_agent.facts.names import Answer, Lookup, asking, is_address, kept, remarks
from host_agent.facts.node import Countries, survey_node
from host_agent.facts.profile import Profile, read_profile
from host_agent.facts.values import Facts, NodeFacts
from host_agent.run import health
from host_agent.state import NODE
from policies.addresses import address_plan
from policies.host_model import Policy
from policies.model import PrivacyRouter
from topology.plan import container_namespace

TOOLS = {  # program -> Debian package
    "iptables-save": "iptables",
    "iptables-restore": "iptables",
    "ip6tables-save": "iptables",
    "ip6tables-restore": "iptables",
    "ipset": "ipset",
}
SWITCH_TOOLS = {"ovs-vsctl": "openvswitch-switch"}
WGCF_ADVICE = "make one: wgcf register && wgcf generate, then privacyctl import wgcf wgcf-profile.conf"


def survey(
    policy: Policy,
    state_dir: Path,
    config_dir: Path,
    lookup: Lookup | None = None,
    countries: Countries = recall,
) -> Facts:
    """Raises Missing with everything that is not there, or Refused for a file that is damaged."""
    require_tools(policy)
    missing: list[str] = []
    answers: dict[str, Answer] = {}
    ask = lookup or asking(kept(state_dir))

    def noted(name: str, missing: list[str]) -> Answer:
        answers[name] = ask(name, missing)
        return answers[name]

    node = survey_node(policy.director, state_dir, noted, missing, countries) if policy.director else NodeFacts()
    facts = Facts(state_dir, "netdev", {}, {}, None, None, {}, None, None, _has_ipv6())
    if policy.privacy_router:
        facts = _survey_chain(policy.privacy_router, state_dir, config_dir, noted, missing)
    if missing:
        raise Missing(*missing)
    node = replace(node, dead=health.known_dead(state_dir))
    return replace(facts, node=node, answers=answers, remarks=remarks(answers, time.time()))


def _survey_chain(
    policy: PrivacyRouter, state_dir: Path, config_dir: Path, lookup: Lookup, missing: list[str]
) -> Facts:
    warp_profile = None
    if policy.warp.enabled:
        path = Path(policy.warp.wgcf_config) if policy.warp.wgcf_config else config_dir / "wgcf-profile.conf"
        warp_profile = _profile(path, f"the WARP tunnel; {WGCF_ADVICE}", missing)
    gateway_profiles: dict[int, Profile] = {}
    for gateway in policy.gateways:
        if gateway.enabled and not gateway.zero_config:
            more = "" if gateway is policy.wireguard else f"-{gateway.container_id}"
            what = "the gateway's keys and peers (wg-quick format), or zero_config: true"
            profile = _profile(config_dir / f"gateway{more}.conf", what, missing)
            gateway_profiles |= {gateway.container_id: profile} if profile else {}
    xrays = [it for it in policy.xrays if it.enabled]
    names = [it.vps_address for it in xrays]
    names += [peer.endpoint[0] for peer in (warp_profile.peers if warp_profile else ()) if peer.endpoint]
    answers = {name: lookup(name, missing) for name in names}
    ipv6_only = [name for name, it in answers.items() if it.addresses and not it.ipv4 and not is_address(name)]
    missing += [f"{name}: has no IPv4 address, and the chain speaks nothing else" for name in ipv6_only]
    if missing:
        raise Missing(*missing)
    return Facts(
        state_dir,
        "system" if ovs.has_kernel_datapath() else "netdev",
        _namespaces(policy),
        {name: answer.ipv4 for name, answer in answers.items()},
        identity.read(state_dir, policy),
        warp_profile,
        gateway_profiles,
        _client_endpoint(state_dir),
        xray.program() if xrays else None,
        _has_ipv6(),
        mesh_device=_mesh_device(policy),
        node_forwards=Path("/proc/sys/net/ipv4/conf/all/forwarding").read_text().strip() == "1",
    )


def _mesh_device(policy: PrivacyRouter) -> tuple[IPv4Address, ...] | None:
    """The addresses of Netmaker's device on the node; None if it is not there."""
    if not policy.netmaker.enabled:
        return None
    with Namespaces({}) as here:
        return netlink.addresses_of(here.netlink(NODE), policy.netmaker.device)


def _has_ipv6() -> bool:
    return Path("/proc/sys/net/ipv6").exists()


def require_tools(policy: Policy | None) -> None:
    """Raises Missing with every program that is not installed, each with its Debian package."""
    chain = policy.privacy_router if policy else None
    needed = {**TOOLS, **(SWITCH_TOOLS if chain else {})}
    tools = [f"{tool}: not installed; apt install {package}" for tool, package in needed.items() if not _there(tool)]
    devices = chain is not None and (chain.warp.enabled or any(gateway.enabled for gateway in chain.gateways))
    if devices and not _there(wireguard.PROGRAM) and not wireguard.in_kernel():
        tools.append("wireguard-go: not installed, nor has the kernel WireGuard; apt install wireguard-go")
    if chain and any(it.enabled for it in chain.xrays) and xray.program() is None:
        tools.append("xray or v2ray: neither is installed; apt install v2ray")
    if tools:
        raise Missing(*tools)


def namespaces(policy: Policy) -> dict[str, str]:
    """The namespaces of the policy that exist: name -> path. A running LXC container's is known by its process."""
    return _namespaces(policy.privacy_router) if policy.privacy_router else {}


def _namespaces(chain: PrivacyRouter) -> dict[str, str]:
    plan = address_plan(chain)
    numbers = {container_namespace(socket.container_id): socket.container_id for socket in plan.mesh}
    hops = [gateway.container_id for gateway in chain.gateways] + [it.container_id for it in chain.xrays]
    numbers |= {container_namespace(number): number for number in hops}
    found = {}
    for name in {*(hop.namespace for hop in plan.hops), *numbers}:
        if (DIRECTORY / name).exists():
            found[name] = str(DIRECTORY / name)
        elif name in numbers and _there("lxc-info"):
            with suppress(CommandFailed):
                pid = run(["lxc-info", "--name", str(numbers[name]), "--pid", "--no-humanize"]).strip()
                if pid and Path(f"/proc/{pid}/ns/net").exists():
                    found[name] = f"/proc/{pid}/ns/net"
    return found


def _there(program: str) -> bool:
    return shutil.which(program) is not None


def _profile(path: Path, what: str, missing: list[str]) -> Profile | None:
    try:
        return read_profile(path.read_text(), str(path))
    except FileNotFoundError:
        missing.append(f"{path}: no such file; it holds {what}")
    except UnicodeDecodeError:
        raise Refused(f"{path}:1: not text, no WireGuard profile") from None
    return None


def _client_endpoint(state_dir: Path) -> str | None:
    """What the first client of a gateway was told to dial, else this machine's address towards the Internet."""
    for path in sorted((state_dir / "clients").glob("client-*.conf")):
        with suppress(OSError, AgentError, UnicodeDecodeError):
            told = read_profile(path.read_text(), str(path)).peers[0].endpoint
            return told[0] if told else None
    with Namespaces({}) as here:
        address = netlink.uplink_address(here.netlink(NODE))
    return str(address) if address else None
