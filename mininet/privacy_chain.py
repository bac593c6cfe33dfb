"""Mininet topologies of the privacy router's labs.

``surroundings`` is what a data centre and an ISP would make: a client device, the node, four empty containers,
a WARP endpoint, the VPS and "the Internet", joined by a router. The demo starts from it and lets the host agent
build everything else. ``privacy_chain`` adds the switch and its sockets, for a look at the switch side by hand
(``by_hand.py``).

All public addresses are documentation addresses (RFC 5737).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mininet.link import Intf, Link
from mininet.node import Node, OVSSwitch
from mininet.topo import Topo

CONTAINERS = ("ct100", "ct101", "ct200", "ct201")

CLIENT, NODE_LAN = "192.168.77.2", "192.168.77.1"
CLIENT_INNER = "10.100.0.2"  # in the tunnel to the gateway
NODE, ISP_TO_NODE = "192.0.2.2", "192.0.2.1"
WARP_ENDPOINT, WARP_EXIT, ISP_TO_WARP = "203.0.113.130", "203.0.113.131", "203.0.113.129"
VPS, VPS_NAME, ISP_TO_VPS = "203.0.113.10", "vps.example.com", "203.0.113.1"
PUBLIC = ("203.0.113.0/24", "198.51.100.0/24")
WEB, DNS, ISP_TO_INTERNET = "198.51.100.80", "198.51.100.53", "198.51.100.1"

# What the host agent would give each socket (docs/architecture.md, "Addresses").
SOCKETS = {
    "internal_100": ("ct100", "10.99.0.100/24"),
    "internal_101": ("ct101", "10.99.0.101/24"),
    "internal_200": ("ct200", "100.104.70.10/24"),
    "internal_201": ("ct201", "100.104.70.11/24"),
    "warp0": ("warp", "10.99.0.1/24"),
}


class Router(Node):  # type: ignore[misc]
    """A host that forwards, with one address on each of its links."""

    def config(self, **params: Any) -> dict[str, Any]:
        result: dict[str, Any] = super().config(**params)
        self.cmd("sysctl -qw net.ipv4.ip_forward=1")
        return result


class Uplinked(Node):  # type: ignore[misc]
    """The node: by hand this is the machine itself, so its default route is left as it is."""

    def config(self, **params: Any) -> dict[str, Any]:
        result: dict[str, Any] = super().config(**params)
        for subnet in PUBLIC:
            self.cmd("ip route add", subnet, "via", ISP_TO_NODE, "dev uplink0")
        return result


class SocketSwitch(OVSSwitch):  # type: ignore[misc]
    """An OVS bridge whose ports are sockets: internal ports that live in containers."""

    def __init__(self, name: str, **params: Any) -> None:
        datapath = "kernel" if Path("/sys/module/openvswitch").exists() else "user"
        super().__init__(name, **{**params, "datapath": datapath, "protocols": "OpenFlow13", "batch": False})
        self.sockets: list[SocketLink] = []

    def start(self, controllers: list[Any]) -> None:
        super().start(controllers)
        for socket in self.sockets:
            socket.plug()

    def dpctl(self, *args: str) -> str:
        """ovs-ofctl(8) in the one version of OpenFlow that the bridge speaks, with its ports by name."""
        command, *rest = args
        said: str = self.cmd("ovs-ofctl -O OpenFlow13 --names", command, self, *rest)
        return said


class SocketLink(Link):  # type: ignore[misc]
    """Joins a container to the switch by an internal port, which exists only once the switch has started."""

    def __init__(self, node1: SocketSwitch, node2: Node, port: str, address: str, **_: Any) -> None:
        self._switch, self._container, self._port, self._address = node1, node2, port, address
        self.intf1 = self.intf2 = port  # what Mininet's "links" command prints
        node1.sockets.append(self)

    def plug(self) -> None:
        """Make the port, move it into the container and address it."""
        self._switch.vsctl("add-port", self._switch, self._port, "-- set Interface", self._port, "type=internal")
        intf = Intf(self._port, node=self._container)
        intf.setIP(self._address)
        intf.ifconfig("up")

    def delete(self) -> None:
        self._switch.vsctl("--if-exists del-port", self._switch, self._port)

    def status(self) -> str:
        return "OK"


class Surroundings(Topo):  # type: ignore[misc]
    """Everything around the privacy router, and nothing of it."""

    def build(self) -> None:
        self.addHost("node", cls=Uplinked, ip=f"{NODE}/24", inNamespace=False)
        self.addHost("isp", cls=Router, ip=None)
        self.addHost("client", ip=f"{CLIENT}/24", defaultRoute=f"via {NODE_LAN}")
        for name in CONTAINERS:
            self.addHost(name, ip=None)
        self.addHost("warpend", cls=Router, ip=f"{WARP_ENDPOINT}/25", defaultRoute=f"via {ISP_TO_WARP}")
        self.addHost("vps", ip=f"{VPS}/25", defaultRoute=f"via {ISP_TO_VPS}")
        self.addHost("internet", ip=f"{WEB}/24", defaultRoute=f"via {ISP_TO_INTERNET}")

        self._wire("node", f"{NODE}/24", "uplink0", f"{ISP_TO_NODE}/24")
        self._wire("warpend", f"{WARP_ENDPOINT}/25", "eth0", f"{ISP_TO_WARP}/25")
        self._wire("vps", f"{VPS}/25", "eth0", f"{ISP_TO_VPS}/25")
        self._wire("internet", f"{WEB}/24", "eth0", f"{ISP_TO_INTERNET}/24")
        self.addLink(
            "node",
            "client",
            intfName1="lan0",
            params1={"ip": f"{NODE_LAN}/24"},
            intfName2="eth0",
            params2={"ip": f"{CLIENT}/24"},
        )

    def _wire(self, host: str, address: str, device: str, isp_address: str) -> None:
        self.addLink(
            host,
            "isp",
            intfName1=device,
            params1={"ip": address},
            intfName2=f"to-{host}",
            params2={"ip": isp_address},
        )


class PrivacyChain(Surroundings):
    """The surroundings with the switch ``ovsbr0`` and every socket plugged in, for ``mn``."""

    def build(self) -> None:
        super().build()
        self.addHost("warp", ip=None)
        self.addSwitch("ovsbr0", cls=SocketSwitch, dpid="0000000000000001")
        for port, (container, address) in SOCKETS.items():
            self.addLink("ovsbr0", container, cls=SocketLink, port=port, address=address)


topos = {"privacy_chain": PrivacyChain, "surroundings": Surroundings}
