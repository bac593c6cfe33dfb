"""Which rule, set, mark, ip rule, routing table and device decide about a client's packet. Pure.

The packet is walked through the wanted state, namespace by namespace, in the order in which Linux asks its tables; so
what is said is what the policy means, whatever the machine may hold just now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from host_agent.explain.firewall import verdict
from host_agent.explain.rules import Meeting, Packet, Place, Unknown, meet
from host_agent.explain.values import End, Explanation, Line, Surroundings
from host_agent.state import (
    LAST_PREFERENCE,
    MAIN_TABLE,
    NODE,
    Chain,
    Family,
    HostState,
    IPAddress,
    NamespaceState,
    Route,
    Rule,
    WireGuardDevice,
)
from host_agent.steps import at

LONGEST = 16  # namespaces on the way
FINAL: dict[str, End] = {"DROP": "dropped", "REJECT": "refused"}
MAIN = Rule(LAST_PREFERENCE, MAIN_TABLE)


@dataclass(frozen=True)
class _Route:
    rule: Rule
    route: Route | None  # None: the rule itself refuses, or the node's main table decides


class _Ended(Exception):
    def __init__(
        self, end: End, device: str | None = None, port: int | None = None, stranger: str | None = None
    ) -> None:
        super().__init__(end)
        self.end: End = end
        self.device, self.port, self.stranger = device, port, stranger


def explain(state: HostState, namespace: str, packet: Packet, surroundings: Surroundings | None = None) -> Explanation:
    """The way of a packet that comes into (or, without ``incoming``, out of) this namespace."""
    walk = _Walk(state, namespace, packet, surroundings or Surroundings())
    try:
        for _ in range(LONGEST):
            walk.through_namespace()
        walk.say("goes round in a circle")
        ended = _Ended("unknown")
    except _Ended as found:
        ended = found
    except Unknown as unknown:
        walk.say(f"cannot tell: {unknown}")
        ended = _Ended("unknown")
    lines, mark = tuple(walk.lines), walk.packet.mark
    return Explanation(lines, ended.end, ended.device, ended.port, walk.namespace, mark, ended.stranger)


class _Walk:
    """Where the packet is, and what was said of its way so far."""

    def __init__(self, state: HostState, namespace: str, packet: Packet, surroundings: Surroundings) -> None:
        self.state, self.namespace, self.packet, self._node = state, namespace, packet, surroundings
        self.lines: list[Line] = []

    def say(self, words: str, at_switch: str | None = None) -> None:
        self.lines.append(Line(at(self.namespace), words, at_switch))

    @property
    def here(self) -> NamespaceState:
        return self.state.namespace(self.namespace)

    @property
    def family(self) -> Family:
        return "ipv4" if self.packet.destination.version == 4 else "ipv6"

    def through_namespace(self) -> None:
        came_in = self.packet.incoming is not None
        if came_in:
            self.say(f"{self.packet} comes in by {self.packet.incoming}")
            self._chain("mangle", "PREROUTING")
            self._chain("nat", "PREROUTING")
        else:
            self.say(f"{self.packet} is sent from here")
            self._chain("mangle", "OUTPUT")
        route = self._routed()
        if came_in:
            self._may_be_forwarded()
        self.packet = replace(self.packet, outgoing=route.link)
        if came_in:
            self._chain("mangle", "FORWARD")
            self._firewall("FORWARD")
            self._chain("security", "FORWARD")
        self._chain("nat", "POSTROUTING")
        self._onward(route)

    def _chain(self, table: str, name: str) -> bool:
        """Whether the packet met a rule that ends its way through the chain's table. Raises _Ended where it ends."""
        chain = self._find(table, name)
        if chain is None:
            return False
        for number, rule in enumerate(chain.rules, 1):
            met = meet(rule, self.packet, self._place)
            if met is None:
                continue
            self.packet = met.packet
            if self._find(table, met.target) is not None:
                if self._chain(table, met.target):
                    return True
                continue
            self._say_of(chain, number, met)
            if met.target == "RETURN":
                return False
            if met.target in FINAL:
                raise _Ended(FINAL[met.target])
            if met.target == "TPROXY":
                self._to_proxy(met)
            if met.target == "DNAT":
                self._redirected(met)
            if met.target in ("ACCEPT", "DNAT", "MASQUERADE"):
                return True
        return False

    @property
    def _place(self) -> Place:
        return Place({it.name: it for it in self.here.sets if it.family == self.family}, self._is_local)

    def _firewall(self, hook: str) -> None:
        """The table filter: what is ours in it, then what others have there, and where nft(8) put it, on the node."""
        self._chain("filter", hook)
        firewall = self._node.firewall
        if self.namespace != NODE or self.packet.incoming is None or self.family not in firewall.chains:
            return
        found = verdict(firewall.chains[self.family], hook, self.packet, self._place)
        for doubt in found.doubts:
            self.say(f"{doubt} (not ours): cannot tell whether it is met")
        if not found.passes:
            self.say(f"{found.by} (not ours)")
            raise _Ended("unknown" if found.doubts else "dropped", stranger=found.by)
        for it in firewall.closed:
            if it.hook == hook and self.family in it.families:
                self.say(f"nftables {it.name} (not ours), policy drop: cannot tell whether its rules accept this")

    def _say_of(self, chain: Chain, number: int, met: Meeting) -> None:
        why = f" ({', '.join(met.why)})" if met.why else ""
        self.say(f"{chain.tool} {chain.table} {chain.name} rule {number}{why}: {' '.join([met.target, *met.words])}")

    def _to_proxy(self, met: Meeting) -> None:
        """TPROXY gives the packet a socket; routing by the mark has to bring it there."""
        port = int(met.words[met.words.index("--on-port") + 1])
        route = self._lookup()
        self._say_route(route)
        if route is None or route.route is None or route.route.kind != "local":
            raise _Ended("refused")
        self._firewall("INPUT")
        self.say(f"delivered to the proxy on port {port}, or dropped if nothing listens there")
        raise _Ended("delivered", port=port)

    def _redirected(self, met: Meeting) -> None:
        address = met.words[met.words.index("--to-destination") + 1]
        self.packet = replace(self.packet, destination=ip_address(address), asked=self.packet.destination)

    def _routed(self) -> Route:
        found = self._lookup()
        self._say_route(found)
        if found is None:
            raise _Ended("refused")
        if found.route is None:
            if not found.rule.table:
                raise _Ended("refused")
            raise _Ended("leaves")
        if found.route.kind == "unreachable":
            raise _Ended("refused")
        if found.route.kind == "local":
            self._firewall("INPUT")
            self._chain("security", "INPUT")
            self.say("delivered to this namespace itself")
            raise _Ended("delivered")
        return found.route

    def _say_route(self, found: _Route | None) -> None:
        if found is None:
            self.say("no route: refused")
        elif found.route is not None and found.rule.priority:
            self.say(f"{found.rule}: {found.route}")
        elif found.route is not None:
            self.say(f"{found.route}")
        elif found.rule.table:
            self.say(f"{found.rule}: as the machine's own routes say")
        else:
            self.say(f"{found.rule}: refused")

    def _lookup(self) -> _Route | None:
        """The first ip rule whose table knows a route. A table of somebody else, as the node's main one, knows one."""
        if self._is_local(self.packet.destination):
            host = ip_network(self.packet.destination)
            return _Route(Rule(0, 255), Route(host, "local", "lo", table=255))
        for rule in sorted((*self.here.rules, MAIN), key=lambda rule: rule.priority):
            if not self._asks(rule):
                continue
            if not rule.table:
                return _Route(rule, None)
            route = self._best(rule.table)
            if route is not None:
                return _Route(rule, route)
            if not self._known(rule.table) or (self.namespace == NODE and rule.table == MAIN_TABLE):
                return _Route(rule, None)
        return None

    def _asks(self, rule: Rule) -> bool:
        packet = self.packet
        own = rule == MAIN or rule.family == self.family
        return (
            own
            and rule.outgoing is None  # no socket of ours is explained
            and rule.incoming in (None, packet.incoming)
            and (rule.source is None or packet.source in rule.source)
            and packet.mark & rule.mask == rule.mark
        )

    def _known(self, table: int) -> bool:
        return table == MAIN_TABLE or any(route.table == table for route in self.here.routes)

    def _best(self, table: int) -> Route | None:
        routes = [route for route in self.here.routes if route.table == table]
        routes += self._connected() if table == MAIN_TABLE else []
        routes += [route for route in self._node.routes if route.table == table and self.namespace == NODE]
        fitting = [route for route in routes if self.packet.destination in route.destination]
        return min(fitting, key=lambda it: (-it.destination.prefixlen, it.metric), default=None)

    def _connected(self) -> Iterator[Route]:
        return (Route(it.interface.network, link=it.link) for it in self.here.addresses)

    def _is_local(self, address: IPAddress) -> bool:
        if self.namespace == NODE and address in self._node.addresses:
            return True
        return address.is_loopback or any(it.interface.ip == address for it in self.here.addresses)

    def _may_be_forwarded(self) -> None:
        key = "net/ipv4/ip_forward" if self.family == "ipv4" else "net/ipv6/conf/all/forwarding"
        if any(it.key == key and it.value == "0" for it in self.here.sysctls):
            self.say(f"sysctl {key}=0: this namespace forwards nothing")
            raise _Ended("dropped")

    def _find(self, table: str, name: str) -> Chain | None:
        return next((it for it in self.here.chains if it.key == (self.family, table, name)), None)

    def _onward(self, route: Route) -> None:
        """By a tunnel it leaves; by a switch port it comes to the namespace that has the next address."""
        device = next((it for it in self.here.wireguard if it.name == route.link), None)
        if device is not None:
            self._into_tunnel(device)
        target = route.via or self.packet.destination
        self._may_be_switched(route.link, target)
        for name, state in self.state.namespaces.items():
            for address in state.addresses:
                if address.interface.ip == target and (name, address.link) != (self.namespace, route.link):
                    words = f"leaves by {route.link} for {target}: by the switch to {address.link}"
                    self.say(words, self.packet.at_switch(str(route.link)))
                    self.namespace = name
                    self.packet = replace(self.packet, incoming=address.link, outgoing=None, mark=0)
                    return
        self.say(f"leaves by {route.link}")
        raise _Ended("leaves", route.link)

    def _may_be_switched(self, device: str | None, target: IPAddress) -> None:
        """A hop's socket reaches those hops alone that it has routes by: ARP for others is not answered."""
        sockets = {link.name for link in self.here.links if link.kind == "socket"}
        if device in sockets and target not in {it.via for it in self.here.routes}:
            words = f"leaves by {device} for {target}: the switch takes it to no such neighbour"
            self.say(words, self.packet.at_switch(str(device)))
            raise _Ended("dropped")

    def _into_tunnel(self, device: WireGuardDevice) -> None:
        peers = [it for it in device.peers if any(self.packet.destination in net for net in it.allowed_ips)]
        if not peers:
            self.say(f"WireGuard device {device.name}: no peer has this address: refused")
            raise _Ended("refused")
        endpoint = peers[0].endpoints[0] if peers[0].endpoints else "wherever it was heard from last"
        self.say(f"leaves encrypted by WireGuard device {device.name}, to {endpoint}")
        raise _Ended("leaves", device.name)
