"""Read from the machine what is ours and what stands where we want something. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

from host_agent.drivers import daemon, files, ipset, netfilter, netlink, ovs, ports, sysctl, wireguard, xfrm
from host_agent.drivers.namespaces import Namespaces
from host_agent.state import (
    FAMILIES,
    NODE,
    REPLACED,
    Block,
    Chain,
    Daemon,
    HostState,
    Link,
    NamespaceState,
    Stranger,
    of_family,
)
from host_agent.steps import (
    Add,
    Remove,
    RemoveChains,
    RemoveFile,
    RemoveSets,
    ReplaceChains,
    ReplaceSets,
    Step,
    WriteFile,
    at,
)

Links = dict[str, netlink.FoundLink]
Filtering = ReplaceSets | RemoveSets | ReplaceChains | RemoveChains
ROUTE_ADVICE = {
    False: "remove it and give the container no uplink of its own, or use another container_id",
    True: "remove it, or set another table in the document's advanced section",
}


def read(wanted: HostState, namespaces: Namespaces, read_switch: Callable[[], ovs.Reading] = ovs.read) -> HostState:
    """The state of the wanted objects' places, and of every other place that carries a mark of ours."""
    switch = read_switch() if wanted.bridges or ovs.there() else ovs.NOTHING
    running = daemon.processes()
    names = namespaces.names()
    links = {name: netlink.links(namespaces.netlink(name)) for name in [NODE, *names]}
    plugged = frozenset(port for bridge in switch.bridges for port in bridge.ports)
    processes = frozenset(process.name for process in running)
    # A port of ours that ovs-vswitchd made anew after a restart carries no alias yet.
    links[NODE] = {name: replace(link, ours=link.ours or name in plugged) for name, link in links[NODE].items()}
    wish = wanted.namespace(NODE)
    node, strangers = _namespace(NODE, wish, links[NODE], namespaces)
    born = _on_node(links[NODE], plugged, processes)  # most get their addresses and settings elsewhere
    staying = {link.name for link in wish.links}
    node = replace(
        node,
        links=born,
        addresses=frozenset(address for address in node.addresses if address.link in staying),
        wireguard=frozenset(),
    )
    states: dict[str, NamespaceState] = {NODE: node}
    strangers += [*_strange_ports(wanted, switch), *_strange_links(wanted, links[NODE], node)]
    for name in names:
        wish = wanted.namespace(name)
        state, others = _namespace(name, wish, links[name], namespaces)
        if name in wanted.namespaces or state != NamespaceState():
            states[name] = state
        strangers += others
    strangers += _strange_sockets(wanted, states)
    return HostState(
        switch.bridges,
        {name: state for name, state in states.items() if name != NODE or state != NamespaceState()},
        files.read(wanted.files, wanted.swept),
        _daemons(running, states, namespaces),
        (),
        frozenset(strangers),
        wanted.swept,
    )


def read_whole(wanted: HostState, namespaces: Namespaces) -> HostState:
    """As ``read``, and large sets by every entry: for who asks once. It takes some 2 ms per 1,000 entries."""
    for name, state in wanted.namespaces.items():
        namespaces.memory(name).doubted |= {it.name for it in state.sets}
    return read(wanted, namespaces)


def read_again(wanted: HostState, found: HostState, steps: Collection[Step], namespaces: Namespaces) -> HostState:
    """What was found, as it is after these steps. After steps about sets, chains, IPsec policies and files alone, which
    change nothing else, no more than those is read."""
    if not all(isinstance(step, WriteFile | RemoveFile) or _filters(step) for step in steps):
        return read(wanted, namespaces)
    states = dict(found.namespaces)
    for name in {step.place for step in steps if _filters(step) and step.place is not None}:
        sets, chains = _filtering(name, wanted.namespace(name), namespaces)
        before, blocks = states.get(name, NamespaceState()), _blocks(name, namespaces)
        states[name] = replace(before, sets=sets.ours, chains=_ours(chains), blocks=blocks)
    return replace(found, namespaces=states, files=files.read(wanted.files, wanted.swept))


def _filters(step: Step) -> bool:
    return isinstance(step, Filtering) or (isinstance(step, Add | Remove) and isinstance(step.item, Block))


def _on_node(links: Links, plugged: frozenset[str], processes: frozenset[str]) -> frozenset[Link]:
    """Links of ours that are still, or again, where they were born."""
    return frozenset(
        link.link()
        for link in links.values()
        if link.ours or link.name in plugged or wireguard.process_name(link.name) in processes
    ) - frozenset(link.link() for link in links.values() if link.name == "lo")


def _namespace(
    name: str, wish: NamespaceState, links: Links, namespaces: Namespaces
) -> tuple[NamespaceState, list[Stranger]]:
    socket = namespaces.netlink(name)
    ours, others = netlink.routes(socket, links)
    rules = netlink.rule_messages(socket)
    created = "lo" in links and links["lo"].ours
    own_links = frozenset(link.link() for link in links.values() if link.ours and link.name != "lo")
    state = NamespaceState(
        created,
        own_links,
        netlink.addresses(socket, links),
        ours,
        netlink.rules_in(rules),
        _blocks(name, namespaces),
    )
    if name != NODE and wish == NamespaceState() and (created or state == NamespaceState()):
        return state, []  # it goes as a whole, or is none of ours
    devices = [wireguard.read(namespaces, link.name, name) for link in own_links if link.kind == "wireguard"]
    with namespaces.inside(name):
        sysctls = sysctl.read(setting.key for setting in wish.sysctls)
    sets, chains = _filtering(name, wish, namespaces)
    state = replace(
        state,
        sysctls=sysctls,
        sets=sets.ours,
        chains=_ours(chains),
        wireguard=frozenset(reading.device for reading in devices if reading),
    )
    keys = {route.key for route in wish.routes}
    strangers = [Stranger(f"{at(name)}: {route}", ROUTE_ADVICE[name == NODE]) for route in others if route.key in keys]
    strangers += [
        Stranger(f"{at(name)}: {rule}", "it takes packets of a mark of ours: remove it, or set other marks in advanced")
        for rule in netlink.strange_rules(rules, wish.marked)
    ]
    strangers += [
        Stranger(f"{at(name)}: {chain}", "rename it, or set another name in the document's advanced section")
        for chain in sorted((it for reading in chains for it in reading.strangers), key=str)
    ]
    strangers += [
        Stranger(f"{at(name)}: ipset {taken}", "rename or destroy it: ipset rename, ipset destroy")
        for taken in sorted(sets.strangers)
    ]
    strangers += [
        Stranger(f"{name}: link {link.name}", f"remove it: ip -n {name} link del {link.name}")
        for link in wish.links
        if link.name in links and not links[link.name].ours
    ]
    return state, strangers


def _filtering(
    name: str, wish: NamespaceState, namespaces: Namespaces
) -> tuple[ipset.Reading, list[netfilter.Reading]]:
    memory = namespaces.memory(name)
    with namespaces.inside(name):
        chains = [netfilter.read(family, of_family(family, wish.chains), memory) for family in FAMILIES]
        return ipset.look(wish.sets, memory), chains


def _blocks(name: str, namespaces: Namespaces) -> frozenset[Block]:
    """Only the node has any of ours."""
    return xfrm.blocks(namespaces, name) if name == NODE else frozenset()


def _ours(readings: Iterable[netfilter.Reading]) -> frozenset[Chain]:
    return frozenset(chain for reading in readings for chain in reading.chains)


def _strange_ports(wanted: HostState, switch: ovs.Reading) -> Iterator[Stranger]:
    for bridge in wanted.bridges:
        if bridge.name in switch.strangers:
            yield Stranger(
                f"bridge {bridge.name}", f"remove it (ovs-vsctl del-br {bridge.name}) or name another as bridge_name"
            )
        for port in sorted(bridge.ports & switch.strangers):
            yield Stranger(f"switch port {port}", f"remove it: ovs-vsctl del-port {port}")


def _strange_links(wanted: HostState, links: Links, node: NamespaceState) -> Iterator[Stranger]:
    """Links on the node that stand in the way of a device that is to be born there."""
    ours = {link.name for link in node.links}
    for state in wanted.namespaces.values():
        for link in state.links:
            if link.name in links and link.name not in ours:
                yield Stranger(f"node: link {link.name}", f"remove it: ip link del {link.name} (or wg-quick down)")


def _strange_sockets(wanted: HostState, states: dict[str, NamespaceState]) -> Iterator[Stranger]:
    """UDP ports of the node that a WireGuard device which is not there yet will need."""
    there = {device.name for state in states.values() for device in state.wireguard}
    taken = ports.bound()
    for state in wanted.namespaces.values():
        for device in state.wireguard:
            port = device.listen_port
            if port in taken and port is not None and device.name not in there:
                yield Stranger(
                    f"node: UDP port {port} of {ports.holder(port)}",
                    "end it, or set another wireguard.listen_port",
                )


def _daemons(
    running: Iterable[daemon.Process], states: dict[str, NamespaceState], namespaces: Namespaces
) -> frozenset[Daemon]:
    """Our processes, but those of WireGuard devices that are there: these belong to their devices."""
    inodes = {namespaces.inode(name): name for name in [*states, NODE]}
    devices = {wireguard.process_name(link.name) for state in states.values() for link in state.links}
    return frozenset(
        Daemon(
            process.name,
            process.argv if not process.replaced else (f"{process.argv[0]}{REPLACED}", *process.argv[1:]),
            inodes.get(process.namespace_inode, "a namespace that is gone"),
        )
        for process in running
        if process.name not in devices
    )
