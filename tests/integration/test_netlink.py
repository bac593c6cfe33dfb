"""rtnetlink by our own struct, in a real kernel: it reads what pyroute2 reads, and writes what ip(8) shows."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface
from typing import Any

import pytest
from processes import wait_for
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from sandbox import Sandbox

from host_agent.drivers import netlink, netlink_change, rtnetlink
from host_agent.drivers.netlink_socket import ROUTE, NetlinkSocket
from host_agent.drivers.netlink_wire import HEADER
from host_agent.state import OWNER, Address, Link, Route, Rule

STRANGERS = """
link set lo up
link add veth0 type veth peer name veth1
link add br0 type bridge
link set veth1 master br0
link set veth0 up mtu 1400
link set veth1 up
link set br0 up
link add own0 type veth peer name own1
link set own0 alias privacy-router
link set own1 up
link set own0 up
tuntap add tun0 mode tun
tuntap add tap0 mode tap
link set tun0 up
address add 192.0.2.1/24 dev veth0
address add 192.0.2.9/32 peer 192.0.2.10 dev veth0
address add 2001:db8::1/64 dev veth0 nodad
address add 10.9.0.1/16 dev br0
address add 10.8.0.1/24 dev tun0
route add default via 192.0.2.2
route add 198.51.100.0/24 via 192.0.2.3 metric 77 proto static table 1000
route add 198.51.100.0/25 nexthop via 192.0.2.3 nexthop via 192.0.2.4
route add 203.0.113.0/24 via inet6 2001:db8::2 dev veth0
route add 10.1.0.0/16 dev br0 scope link src 10.9.0.1 table 70000
route add blackhole 10.2.0.0/16
route add prohibit 10.3.0.0/16 table 254
route add throw 10.4.0.0/16 table 7
route add unreachable default metric 4278198272 proto 80
route add local 10.5.0.0/16 dev lo table 100 proto 80
rule add pref 10 from 192.0.2.0/24 to 198.51.100.7 iif veth0 lookup 1000 protocol 80
rule add pref 20 fwmark 0x100/0x700 lookup 70000 protocol 80
rule add pref 21 fwmark 0 lookup 5
rule add pref 22 fwmark 7 lookup main suppress_prefixlength 0
rule add pref 30 oif br0 tos 0x10 unreachable
rule add pref 40000 prohibit protocol 80
rule add pref 50 not from 10.0.0.0/8 goto 32766
rule add pref 60 ipproto tcp dport 80 lookup 9
"""
STRANGERS6 = """
route add default via 2001:db8::2 dev veth0 metric 1
route add unreachable default metric 4278198272 table 1001 proto 80
route add 2001:db8:1::/48 dev br0 table 300 proto 80
rule add pref 70 from 2001:db8::/32 iif veth0 lookup 300
rule add pref 80 fwmark 0x30000/0xff0000 prohibit protocol 80
rule add pref 90 oif veth0 lookup 70000 protocol 80
"""


@pytest.fixture
def kernel() -> Iterator[NetlinkSocket]:
    with Sandbox() as own, own.network(), NetlinkSocket(ROUTE) as opened:
        yield opened


@pytest.fixture
def furnished(kernel: NetlinkSocket) -> NetlinkSocket:
    for options, lines in (([], STRANGERS), (["-6"], STRANGERS6)):
        subprocess.run(["ip", *options, "-batch", "-"], input=lines, text=True, check=True, capture_output=True)
    wait_for(lambda: _settled(ip("-j", "link")), "the kernel to have noticed which links have a carrier")
    return kernel


def _settled(links: str) -> bool:
    """The kernel looks at carriers up to a second after they change, and marks the routes by those that are down."""
    states = {it["ifname"]: it["operstate"] for it in json.loads(links)}
    return {states[name] for name in ("veth0", "veth1", "br0", "own0", "own1")} == {"UP"} and states["tun0"] == "DOWN"


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], text=True, check=True, capture_output=True).stdout


def by_library(kind: type[Any], body: bytes) -> Any:
    message = kind(HEADER.pack(HEADER.size + len(body), 0, 0, 0, 0) + body)
    message.decode()
    return message


def packed(text: str | None) -> bytes:
    return ip_address(text).packed if text else b""


def library_link(message: Any) -> tuple[object, ...]:
    info = message.get("linkinfo")
    return (
        message["index"],
        message.get("ifname"),
        message.get("ifalias") or "",
        message.get("mtu"),
        bool(message["flags"] & 1),
        message.get("carrier") != 0,
        (info.get("kind") if info else None) or "",
        message["ifi_type"],
    )


def library_address(message: Any) -> tuple[object, ...]:
    return (message["index"], packed(message.get("local") or message.get("address")), message["prefixlen"])


def library_route(message: Any) -> tuple[object, ...]:
    return (
        message["family"],
        message["type"],
        message["proto"],
        message.get("table") or message["table"],
        packed(message.get("dst")),
        message["dst_len"],
        message.get("oif") or 0,
        packed(message.get("gateway")),
        message.get("priority") or 0,
    )


def library_rule(message: Any) -> tuple[object, ...]:
    return (
        message["family"],
        message["action"],
        message.get("priority") or 0,
        message.get("table") or message["table"],
        message.get("iifname") or "",
        message.get("oifname") or "",
        packed(message.get("src")),
        message["src_len"],
        message.get("fwmark") or 0,
        message.get("fwmask") or 0,
        message.get("protocol") or 0,
    )


@pytest.mark.parametrize(
    ("question", "own", "kind", "theirs", "least"),
    [
        (rtnetlink.list_links(), rtnetlink.link, ifinfmsg, library_link, 7),
        (rtnetlink.list_addresses(), rtnetlink.address, ifaddrmsg, library_address, 8),
        (rtnetlink.list_routes(), rtnetlink.route, rtmsg, library_route, 20),
        (rtnetlink.list_rules(), rtnetlink.rule, fibmsg, library_rule, 14),
    ],
    ids=["links", "addresses", "routes", "rules"],
)
def test_the_same_bytes_say_the_same_to_pyroute2(
    furnished: NetlinkSocket,
    question: bytes,
    own: Callable[[bytes], tuple[object, ...]],
    kind: type[Any],
    theirs: Callable[[Any], tuple[object, ...]],
    least: int,
) -> None:
    bodies = furnished.list(question)
    assert len(bodies) >= least
    for body in bodies:
        assert tuple(own(body)) == theirs(by_library(kind, body))


def test_of_a_strange_machine_only_what_is_ours_is_taken_for_ours(furnished: NetlinkSocket) -> None:
    links = netlink.links(furnished)
    assert {name for name, link in links.items() if link.ours} == {"own0"}
    assert links["veth0"].mtu == 1400 and links["veth0"].up and links["veth0"].alive and not links["tun0"].alive
    assert (links["tun0"].driver, links["tap0"].driver) == ("tun", "tap")
    ours, others = netlink.routes(furnished, links)
    last = 4278198272
    assert ours == {
        Route(IPv4Network("0.0.0.0/0"), "unreachable", metric=last),
        Route(IPv4Network("10.5.0.0/16"), "local", "lo", table=100),
        Route(IPv6Network("::/0"), "unreachable", table=1001, metric=last),
        Route(IPv6Network("2001:db8:1::/48"), link="br0", table=300, metric=1024),
    }
    assert Route(IPv4Network("10.1.0.0/16"), link="br0", table=70000) in others
    assert netlink.rules(furnished) == {
        Rule(10, 1000, "veth0", IPv4Network("192.0.2.0/24")),
        Rule(20, 70000, mark=0x100, mask=0x700),
        Rule(40000, 0),
        Rule(80, 0, mark=0x30000, mask=0xFF0000, family="ipv6"),
        Rule(90, 70000, family="ipv6", outgoing="veth0"),
    }
    assert str(netlink.uplink_address(furnished)) == "192.0.2.1"
    assert netlink.addresses_of(furnished, "br0") == (ip_address("10.9.0.1"),)
    assert netlink.addresses_of(furnished, "none") is None


ITEMS: list[Address | Route | Rule] = [
    Address("own0", ip_interface("10.99.0.1/24")),
    Address("own0", ip_interface("fd00:100::1/64")),
    Route(IPv4Network("10.100.0.0/24"), via=ip_address("192.0.2.5"), link="veth0"),
    Route(IPv4Network("0.0.0.0/0"), link="veth0", table=1212482),
    Route(IPv4Network("0.0.0.0/0"), "unreachable", table=1002, metric=4278198272),
    Route(IPv4Network("0.0.0.0/0"), "local", "lo", table=101),
    Route(IPv6Network("::/0"), link="own0", table=1212482, metric=1024),
    Route(IPv6Network("::/0"), "unreachable", table=1002, metric=4278198272),
    Rule(200, 100, "veth0", mark=0x100, mask=0x100),
    Rule(220, 1002, "veth0", IPv4Network("10.99.0.101/32")),
    Rule(240, 70000, "none"),
    Rule(16383, 0, mark=0xFF0000, mask=0xFF0000),
    Rule(16384, 1212482, mark=0x10000, mask=0xFF0000, family="ipv6"),
    Rule(16383, 1212482, outgoing="veth0"),
]


@pytest.mark.parametrize("item", ITEMS, ids=str)
def test_what_is_added_is_read_back_and_what_is_removed_is_gone(
    furnished: NetlinkSocket, item: Address | Route | Rule
) -> None:
    def there() -> bool:
        links = netlink.links(furnished)
        match item:
            case Address():
                return item in netlink.addresses(furnished, links)
            case Route():
                return item in netlink.routes(furnished, links)[0]
            case Rule():
                return item in netlink.rules(furnished)

    before = (
        ip("route", "show", "table", "all"),
        ip("-6", "route", "show", "table", "all"),
        ip("rule"),
        ip("-6", "rule"),
    )
    assert not there()
    netlink_change.add(furnished, item)
    assert there()
    with pytest.raises(OSError, match=r".") as refusal:
        netlink_change.add(furnished, item)
    assert refusal.value.errno == errno.EEXIST
    netlink_change.remove(furnished, item)
    assert not there()
    netlink_change.remove(furnished, item)
    after = ip("route", "show", "table", "all"), ip("-6", "route", "show", "table", "all"), ip("rule"), ip("-6", "rule")
    assert after == before


def test_a_route_is_replaced_at_one_instant(furnished: NetlinkSocket) -> None:
    first = Route(IPv4Network("10.100.0.0/24"), via=ip_address("192.0.2.5"), link="veth0")
    second = Route(IPv4Network("10.100.0.0/24"), via=ip_address("192.0.2.6"), link="veth0")
    netlink_change.add(furnished, first)
    netlink_change.replace_route(furnished, second)
    ours, _ = netlink.routes(furnished, netlink.links(furnished))
    assert second in ours and first not in ours


def test_links_are_made_marked_raised_and_removed(kernel: NetlinkSocket) -> None:
    netlink_change.create(kernel, "own7", "bridge")
    netlink_change.mark(kernel, "own7")
    netlink_change.set_link(kernel, Link("own7", "socket", 1280))
    link = netlink.links(kernel)["own7"]
    assert (link.ours, link.mtu, link.up, link.driver) == (True, 1280, True, "bridge")
    assert f"alias {OWNER}" in ip("link", "show", "own7")
    netlink_change.remove_link(kernel, "own7")
    netlink_change.remove_link(kernel, "own7")
    assert "own7" not in netlink.links(kernel)


def test_the_kernels_own_words_are_in_the_error(kernel: NetlinkSocket) -> None:
    with pytest.raises(OSError, match="no link none"):
        netlink_change.add(kernel, Address("none", ip_interface("192.0.2.1/24")))
    with pytest.raises(OSError, match="Nexthop has invalid gateway"):
        netlink_change.add(kernel, Route(IPv4Network("10.0.0.0/8"), via=ip_address("192.0.2.1"), link="lo"))


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(furnished: NetlinkSocket) -> None:
    answer = furnished.ask(rtnetlink.list_routes())
    next(answer)
    answer.close()
    assert set(netlink.links(furnished)) == {"lo", "veth0", "veth1", "br0", "own0", "own1", "tun0", "tap0"}
