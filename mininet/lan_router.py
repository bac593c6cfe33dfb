"""A router with a LAN, two tunnels, a proxy and an uplink, out of network namespaces: where the director works.

The sandbox's own namespace is the router. Every way out ends in a namespace that has all the addresses of "the
Internet" and answers with its own name, so that an answer says which way the question took:

    lan10, lan20, lan30, lan99 -- br0 [router] wan0   -- wan      the uplink: what goes here unasked is a leak
                                               wgc1   -- vpn1     a tunnel that is an interface
                                               tun3   -- vpn2     a tunnel that is the routing table ovpnc3
                                      port 12345: "xray", a transparent proxy that answers for everybody
"""

from __future__ import annotations

import subprocess
from pathlib import Path

CLIENTS = {"lan10": 10, "lan20": 20, "lan30": 30, "lan99": 99}
EXITS = {"wan": ("wan0", 2), "vpn1": ("wgc1", 81), "vpn2": ("tun3", 83)}  # name -> device of the router, net number
ROUTER, ROUTER6 = "192.168.50.1", "fd00:50::1"
TABLE = 103  # ovpnc3
ABROAD, ABROAD6 = "198.51.100.80", "2001:db8:100::80"
EXEMPT, EXEMPT6 = "203.0.113.80", "2001:db8:77::80"  # of the country that is excluded
RESOLVER, RESOLVER6 = "9.9.9.9", "2620:fe::fe"
INTERNET = (ABROAD, EXEMPT, RESOLVER, ABROAD6, EXEMPT6, RESOLVER6)
MAC = "02:00:00:00:99:99"  # of the far end of wgc1
ZONES = {"ru.zone": "203.0.113.0/24\n", "ru.zone6": "2001:db8:77::/48\n"}


def address(client: str, version: int) -> str:
    number = CLIENTS[client]
    return f"192.168.50.{number}" if version == 4 else f"fd00:50::{number}"


def run(*command: str) -> str:
    """Standard output. Raises CalledProcessError with what the command said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def ip(*words: str, namespace: str = "") -> str:
    return run("ip", *(("-n", namespace) if namespace else ()), *words)


def build(directory: Path) -> None:
    """The machines, their addresses, routes, and the router's own rules, which are strangers to the product."""
    (directory / "zones").mkdir()
    for name, text in ZONES.items():
        (directory / "zones" / name).write_text(text)
    tables = directory / "rt_tables"
    tables.write_text(f"255 local\n254 main\n253 default\n{TABLE} ovpnc3\n")
    for there in ("/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables"):
        if Path(there).exists():
            run("mount", "--bind", str(tables), there)
    for setting in ("ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/conf/all/rp_filter=0"):
        key, _, value = setting.partition("=")
        Path("/proc/sys/net", key).write_text(value)
    # A refusal that is not sent would look like a loss.
    for key, limit in (("ipv4/icmp_ratelimit", 0), ("ipv6/icmp/ratelimit", 0), ("ipv4/icmp_msgs_burst", 100000)):
        Path("/proc/sys/net", key).write_text(str(limit))
    Path("/proc/sys/net/ipv4/icmp_msgs_per_sec").write_text("100000")
    for key in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):  # or TPROXY's choice is forgotten on a bridge
        if Path("/proc/sys/net/bridge", key).exists():
            Path("/proc/sys/net/bridge", key).write_text("0")
    Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")  # links work as soon as they are there
    _lan()
    for name in EXITS:
        connect(name)
    ip("rule", "add", "pref", "16390", "fwmark", "0x7", "lookup", "main")  # somebody else's, among our preferences
    # The uplink masks nobody, so that a capture there names the client of each packet.
    run("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "ppp0", "-j", "MASQUERADE")
    run("iptables", "-t", "mangle", "-A", "PREROUTING", "-i", "tun3", "-j", "MARK", "--set-xmark", "0x1/0x7")


def _lan() -> None:
    ip("link", "add", "br0", "type", "bridge")
    ip("link", "set", "br0", "up")
    ip("address", "add", f"{ROUTER}/24", "dev", "br0")
    ip("address", "add", f"{ROUTER6}/64", "dev", "br0", "nodad")
    for name, number in CLIENTS.items():
        add_namespace(name)
        port = f"p{number}"
        ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", port, "master", "br0", "up")
        for words in (
            ("link", "set", "eth0", "address", f"02:00:00:00:50:{number:02x}", "up"),
            ("address", "add", f"{address(name, 4)}/24", "dev", "eth0"),
            ("address", "add", f"{address(name, 6)}/64", "dev", "eth0", "nodad"),
            ("route", "add", "default", "via", ROUTER),
            ("-6", "route", "add", "default", "via", ROUTER6),
        ):
            ip(*words, namespace=name)


def add_namespace(name: str) -> None:
    ip("netns", "add", name)
    ip("link", "set", "lo", "up", namespace=name)
    run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")


def connect(name: str) -> None:
    """One way out, and what is at its end; again, too, after the device was deleted."""
    device, number = EXITS[name]
    if name not in ip("netns", "list").split():
        add_namespace(name)
        for target in INTERNET:
            ip("address", "add", target, "dev", "lo", namespace=name)
    ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", name)
    raise_link(name)
    ip("address", "add", f"10.{number}.0.2/24", "dev", "eth0", namespace=name)
    ip("address", "add", f"fd{number:02}::2/64", "dev", "eth0", "nodad", namespace=name)
    ip("link", "set", "eth0", "up", namespace=name)
    ip("route", "replace", "default", "via", f"10.{number}.0.1", namespace=name)
    ip("-6", "route", "replace", "default", "via", f"fd{number:02}::1", namespace=name)
    if name == "vpn1":
        ip("link", "set", "eth0", "address", MAC, namespace=name)
        _has_no_neighbours(device)


def _has_no_neighbours(device: str) -> None:
    """As with a tunnel's device, whatever is sent arrives, without asking for a neighbour."""
    for target in INTERNET:
        ip("neighbour", "replace", target, "lladdr", MAC, "dev", device)


def raise_link(name: str) -> None:
    """Up, with its addresses and, for the tunnel that is a table, its routes: what its daemon would do."""
    device, number = EXITS[name]
    ip("link", "set", device, "up")
    for words in ((f"10.{number}.0.1/24",), (f"fd{number:02}::1/64", "nodad")):
        ip("address", "replace", words[0], "dev", device, *words[1:])
    if name == "vpn2":
        ip("route", "replace", "default", "via", f"10.{number}.0.2", "table", "ovpnc3")
        ip("-6", "route", "replace", "default", "via", f"fd{number:02}::2", "table", "ovpnc3")
    if name == "vpn1":
        _has_no_neighbours(device)
    if name == "wan":
        for family, gateway in (("-4", f"10.{number}.0.2"), ("-6", f"fd{number:02}::2")):
            ip(family, "route", "replace", "default", "via", gateway)
