"""Whether the node's own firewall drops what has to pass it: a packet of each kind is explained. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from host_agent.doctor.checks import Finding
from host_agent.explain.decide import explain
from host_agent.explain.entry import way
from host_agent.explain.firewall import ClosedChain
from host_agent.explain.rules import Packet
from host_agent.explain.values import Explanation, Surroundings
from host_agent.facts.values import Facts
from host_agent.state import EVERY_IPV4, MAIN_TABLE, NODE, HostState, IPAddress
from host_agent.steps import at
from policies.host_model import Client, Director, Mac, Policy
from policies.model import PrivacyRouter

ABROAD = {4: ip_address("203.0.113.1"), 6: ip_address("2001:db8::1")}  # for documents, so in no country's ranges


@dataclass(frozen=True)
class Sample:
    """A packet that has to pass, and what a firewall has to be told for all of its kind."""

    what: str
    link: str  # by which it comes in
    found: Explanation
    to_this_machine: tuple[str, str]  # matches of iptables(8) and nft(8)

    def accepted(self, hook: str) -> tuple[list[str], list[str]]:
        """What to accept at a hook, answers too."""
        if hook == "INPUT":
            iptables, nft = self.to_this_machine
            return [iptables], [nft]
        words = [f"-i {self.link}", f"-o {self.link} -m conntrack --ctstate RELATED,ESTABLISHED"]
        return words, [f"iifname {self.link}", f"oifname {self.link} ct state related,established"]


def barred(policy: Policy, state: HostState, facts: Facts, around: Surroundings) -> tuple[Finding, ...]:
    """What is dropped before it gets where the policy wants it: a finding for each rule or chain that does so."""
    samples: list[Sample] = []
    if policy.director is not None:
        samples += _of_the_lan(policy, policy.director, state, facts, around)
    if policy.privacy_router is not None:
        samples += _of_gateways(policy.privacy_router, state, around)
    found: dict[str, Finding] = {}
    for sample in samples:
        if sample.found.end == "dropped" and sample.found.stranger:
            found.setdefault(sample.found.stranger, _by_iptables(sample, sample.found.stranger))
        for chain in around.firewall.closed:
            met = any(line.words.startswith(f"nftables {chain.name} ") for line in sample.found.lines)
            if met and sample.link not in chain.text.split('"'):
                found.setdefault(chain.name, _by_nftables(sample, chain))
    return tuple(found.values())


def _by_iptables(sample: Sample, stranger: str) -> Finding:
    tool, _, hook = stranger.replace(",", ":").partition(":")[0].split()
    cure = "; ".join(f"{tool} -I {hook} {matches} -j ACCEPT" for matches in sample.accepted(hook)[0])
    return Finding(at(NODE), f"{stranger} (not ours) drops {sample.what}", f"accept it there: {cure}")


def _by_nftables(sample: Sample, chain: ClosedChain) -> Finding:
    cure = "; ".join(f"nft insert rule {chain.name} {matches} accept" for matches in sample.accepted(chain.hook)[1])
    what = f"nftables {chain.name} (not ours) drops what its rules do not accept, and none names {sample.link}"
    return Finding(at(NODE), f"{what}: perhaps {sample.what}", f"see that it is accepted there: {cure}")


def _of_the_lan(
    policy: Policy, director: Director, state: HostState, facts: Facts, around: Surroundings
) -> Iterator[Sample]:
    """Of each group, for each family, its first client that has an address."""
    link, xray = director.advanced.lan.interfaces[0], director.advanced.xray
    mark = f"{xray.fwmark:#x}"
    marked = (f"-i {link} -m mark --mark {mark}/{xray.fwmark_mask:#x}", f"iifname {link} meta mark & {mark} == {mark}")
    groups = {"xray": director.xray.clients, **{tunnel.name: tunnel.clients for tunnel in director.tunnels}}
    for name, clients in groups.items():
        for address in _first_of_each_family(clients):
            sent = Packet(address, ABROAD[address.version], "tcp", 443)
            what = f"what clients of {name} send, such as {address}"
            yield Sample(what, link, way(policy, state, facts, sent, around), marked)


def _first_of_each_family(clients: tuple[Client, ...]) -> tuple[IPAddress, ...]:
    first: dict[int, IPAddress] = {}
    for client in clients:
        if not isinstance(client, Mac):
            first.setdefault(client.version, client[1] if client.num_addresses > 1 else client[0])
    return tuple(first.values())


def _of_gateways(chain: PrivacyRouter, state: HostState, around: Surroundings) -> Iterator[Sample]:
    """What their clients send to the node, where the gateways' sockets are."""
    uplinks = [it for it in around.routes if it.table == MAIN_TABLE and it.destination == EVERY_IPV4 and it.link]
    link = min(uplinks, key=lambda route: route.metric).link if uplinks else None
    own = [it for it in around.addresses if it.version == 4 and not it.is_loopback]
    for gateway in chain.gateways:
        if gateway.enabled and link and own:
            sent = Packet(ABROAD[4], own[0], "udp", gateway.listen_port, link)
            matches = (f"-p udp --dport {gateway.listen_port}", f"udp dport {gateway.listen_port}")
            what = f"what WireGuard clients send to UDP port {gateway.listen_port}"
            yield Sample(what, link, explain(state, NODE, sent, around), matches)
