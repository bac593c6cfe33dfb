"""Gather the facts about this machine: programs, containers, name resolution, identity, profiles. Writes nothing."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from host_agent import health, identity
from host_agent.command import run
from host_agent.countries.gather import recall
from host_agent.drivers import daemon, netlink, ovs, wireguard
from host_agent.drivers.namespaces import DIRECTORY, Namespaces
from host_agent.errors import AgentError, CommandFailed, Missing, Refused
from host_agent.facts import Facts
from host_agent.profile import Profile, read_profile
from host_agent.state import NODE
from host_agent.survey_node import Countries, survey_node
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
WGCF_ADVICE = "make one: wgcf register && wgcf generate"
Lookup = Callable[[str, list[str]], tuple[IPv4Address, ...]]  # a name's addresses; complains in the list


def survey(
    policy: Policy | PrivacyRouter,
    state_dir: Path,
    config_dir: Path,
    lookup: Lookup | None = None,
    countries: Countries = recall,
) -> Facts:
    """Raises Missing with everything that is not there, or Refused for a file that is damaged."""
    whole = policy if isinstance(policy, Policy) else Policy(policy)
    require_tools(policy)
    facts = _survey_chain(whole.privacy_router, state_dir, config_dir, lookup) if whole.privacy_router else None
    facts = facts or Facts(state_dir, "netdev", {}, {}, None, None, None, None, None, _has_ipv6())
    if whole.director is None:
        return facts
    node = survey_node(whole.director, state_dir, lookup or resolve, countries)
    return replace(facts, node=replace(node, dead=health.known_dead(state_dir)))


def _survey_chain(policy: PrivacyRouter, state_dir: Path, config_dir: Path, lookup: Lookup | None) -> Facts:
    warp_profile = gateway_profile = None
    missing: list[str] = []
    if policy.warp.enabled:
        path = Path(policy.warp.wgcf_config) if policy.warp.wgcf_config else config_dir / "wgcf-profile.conf"
        warp_profile = _profile(path, f"the WARP tunnel; {WGCF_ADVICE}", missing)
    if policy.wireguard.enabled and not policy.wireguard.zero_config:
        path = config_dir / "gateway.conf"
        gateway_profile = _profile(
            path, "the gateway's keys and peers (wg-quick format), or zero_config: true", missing
        )
    names = [policy.xray.vps_address] if policy.xray.enabled else []
    names += [peer.endpoint[0] for peer in (warp_profile.peers if warp_profile else ()) if peer.endpoint]
    addresses = {name: (lookup or resolve)(name, missing) for name in names}
    if missing:
        raise Missing(*missing)
    return Facts(
        state_dir,
        "system" if ovs.has_kernel_datapath() else "netdev",
        namespaces(policy),
        addresses,
        identity.read(state_dir, policy.xray.vps_address or "vps"),
        warp_profile,
        gateway_profile,
        _client_endpoint(state_dir),
        daemon.xray_program() if policy.xray.enabled else None,
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


def require_tools(policy: Policy | PrivacyRouter | None) -> None:
    """Raises Missing with every program that is not installed, each with its Debian package."""
    chain = policy.privacy_router if isinstance(policy, Policy) else policy
    needed = {**TOOLS, **(SWITCH_TOOLS if chain else {})}
    tools = [f"{tool}: not installed; apt install {package}" for tool, package in needed.items() if not _there(tool)]
    devices = chain is not None and (chain.warp.enabled or chain.wireguard.enabled)
    if devices and not _there(wireguard.PROGRAM) and not wireguard.in_kernel():
        tools.append("wireguard-go: not installed, nor has the kernel WireGuard; apt install wireguard-go")
    if chain and chain.xray.enabled and daemon.xray_program() is None:
        tools.append("xray or v2ray: neither is installed; apt install v2ray")
    if tools:
        raise Missing(*tools)


def namespaces(policy: Policy | PrivacyRouter) -> dict[str, str]:
    """The namespaces of the policy that exist: name -> path. A running LXC container's is known by its process."""
    chain = policy.privacy_router if isinstance(policy, Policy) else policy
    if chain is None:
        return {}
    plan = address_plan(chain)
    numbers = {container_namespace(socket.container_id): socket.container_id for socket in plan.mesh}
    numbers |= {container_namespace(n): n for n in (chain.wireguard.container_id, chain.xray.container_id)}
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


def resolve(name: str, missing: list[str]) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses of a host name, sorted, so that the order of an answer changes nothing."""
    with suppress(ValueError):
        literal = ip_address(name)
        return (literal,) if isinstance(literal, IPv4Address) else ()
    try:
        answers = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        missing.append(f"{name}: has no IPv4 address here ({error.args[-1]}); check this machine's name resolution")
        return ()
    return tuple(sorted({IPv4Address(str(answer[4][0])) for answer in answers}))


def _client_endpoint(state_dir: Path) -> str | None:
    """What the first client was told to dial, else this machine's address towards the Internet."""
    with suppress(OSError, AgentError, UnicodeDecodeError):
        path = state_dir / "clients" / "client-1.conf"
        told = read_profile(path.read_text(), str(path)).peers[0].endpoint
        return told[0] if told else None
    with Namespaces({}) as here:
        address = netlink.uplink_address(here.netlink(NODE))
    return str(address) if address else None
