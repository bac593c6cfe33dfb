"""The demo's lines: what must be seen with real packets, each with its measured value."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any

import client
import forge
from capture import Capture, capture, in_time
from lab import VECTOR_DB, WARP_PORT, Lab, in_sync
from line import Line
from privacy_chain import CLIENT, CLIENT_INNER, DNS, NODE, VPS, WARP_EXIT, WEB

from policies.load import load
from policies.model import PrivacyRouter
from policies.shares import client_shares

WARP_HOP, GATEWAY, XRAY = "10.99.0.1", "10.99.0.100", "10.99.0.101"
BUCKET_STORAGE = "100.104.70.11"
DOWNLOAD_MIB = 16
CUT_SECONDS = 2.0  # for which a request gets no answer while WARP is cut


def switch_is_programmed(lab: Lab) -> Iterator[Line]:
    switch = lab.wait_for_flows(changes=1)
    change = switch["last_change"]
    waiting = [f"; {each['entries']} wait for {each['port']}" for each in switch["waiting"]]
    if len(waiting) > 3:
        waiting = [f"; {sum(each['entries'] for each in switch['waiting'])} wait for {len(waiting)} ports"]
    yield Line(
        1,
        "Switch ovsbr0: flow entries committed in one bundle, read back",
        in_sync(switch) and change["bundles"] == 1 and change["added"] >= switch["installed"] > 0,
        f"{change['added']} entries, {change['milliseconds']:.1f} ms{''.join(waiting)}",
    )


def http_takes_the_chain(lab: Lab) -> Iterator[Line]:
    with _three_captures() as (uplink, warp, vps):
        web_saw = _try(lambda: client.web_peer("client", WEB))
    yield Line(2, "HTTP: the web server saw the VPS", web_saw == VPS, str(web_saw))
    yield _saw(2, "HTTP: the VPS saw the WARP exit", vps.sources("tcp", 443), WARP_EXIT)
    yield _saw(2, "HTTP: the WARP endpoint saw only the node", warp.sources("udp", WARP_PORT), NODE)
    clear = uplink.naming(CLIENT_INNER, CLIENT, WEB)
    yield Line(2, "HTTP: the uplink carried neither client's nor target's address", clear == 0, f"{clear} packets")
    rate = _try(lambda: client.download_rate("client", WEB, DOWNLOAD_MIB))
    held = isinstance(rate, float)
    yield Line(
        2, f"HTTP: throughput of a {DOWNLOAD_MIB} MiB download", held, f"{rate:.0f} Mbit/s" if held else str(rate)
    )


def udp_takes_the_chain(lab: Lab) -> Iterator[Line]:
    answer = _try(lambda: client.resolve("client", DNS, "www.example.org"))
    yield Line(3, "UDP: a DNS query is answered", answer == "198.51.100.99", f"www.example.org is {answer}")
    with _three_captures() as (uplink, warp, vps):
        begin = time.perf_counter()
        saw = _try(lambda: client.echo_peer("client", WEB))
        took = time.perf_counter() - begin
    yield _saw(3, "UDP: the VPS saw the WARP exit", vps.sources("tcp", 443), WARP_EXIT)
    yield _saw(3, "UDP: the WARP endpoint saw only the node", warp.sources("udp", WARP_PORT), NODE)
    yield Line(3, "UDP: the echo server saw the VPS", saw == VPS, f"{saw} in {took * 1e3:.1f} ms")
    clear = uplink.naming(CLIENT_INNER, CLIENT, WEB)
    yield Line(3, "UDP: the uplink carried neither address", clear == 0, f"{clear} packets")


def hops_are_counted(lab: Lab) -> Iterator[Line]:
    met = _hops_of_the_client(load(lab.policy))
    for link in lab.rest("/v1/chain")["links"]:
        if link["item"] != "chain ARP" and {link["from"], link["to"]} <= met:  # neighbours need not ask each time
            counted = f"{link['packets']} packets, {link['bytes']} bytes"
            way = f"{link['from']} to {link['to']}"
            yield Line(4, f"{way}: {link['item']}", link["packets"] > 0, counted)


def _hops_of_the_client(policy: PrivacyRouter) -> set[str]:
    """Of several gateways and Xrays the client has one each."""
    address = IPv4Address(CLIENT_INNER)
    xrays = [port for port, shares in client_shares(policy).items() if any(address in share for share in shares)]
    return {policy.wireguard.socket_port, policy.warp.interface, *xrays}


def mesh_and_chain_are_apart(lab: Lab) -> Iterator[Line]:
    begin = time.perf_counter()
    saw = _try(lambda: client.echo_peer("ct201", VECTOR_DB))
    took = (time.perf_counter() - begin) * 1e3
    held = saw == BUCKET_STORAGE
    yield Line(5, "Mesh: vector_db answers bucket-storage", held, f"it saw {saw}, in {took:.1f} ms")
    yield from _privacy_frames_stay_out_of_the_mesh()
    yield from _mesh_frames_stay_out_of_the_chain()


def _privacy_frames_stay_out_of_the_mesh() -> Iterator[Line]:
    # Frames put on the wire by hand, so that no route or filter of the sender can make the check look good.
    with capture("ct200", "internal_200") as mesh:
        forge.frame("ct201", "internal_201", BUCKET_STORAGE, VECTOR_DB)
        control = in_time(lambda: mesh.forged)
        for source in (GATEWAY, CLIENT_INNER, BUCKET_STORAGE):
            forge.frame("ct100", "internal_100", source, VECTOR_DB)
            forge.frame("ct101", "internal_101", source, VECTOR_DB)
            forge.frame("warp", "warp0", source, VECTOR_DB)
        time.sleep(0.2)
    reached = mesh.forged - control
    yield _control(5, "Control: a mesh container's frame is seen at vector_db", control)
    yield Line(5, "Mesh: frames of privacy containers do not reach it", reached == 0, f"{reached} of 9 arrived")


def _mesh_frames_stay_out_of_the_chain() -> Iterator[Line]:
    with capture("warp", "warp0") as warp:
        forge.frame("ct100", "internal_100", GATEWAY, WARP_HOP)
        control = in_time(lambda: warp.forged)
        with capture("ct100", "internal_100") as gateway, capture("ct101", "internal_101") as xray:
            for source in (BUCKET_STORAGE, WARP_HOP):
                for destination in (WARP_HOP, GATEWAY, XRAY, CLIENT_INNER, WEB):
                    forge.frame("ct201", "internal_201", source, destination)
            time.sleep(0.2)
    reached = sum(each.forged for each in (gateway, xray, warp)) - control
    yield _control(5, "Control: a privacy container's frame is seen at the WARP hop", control)
    yield Line(5, "Chain: frames of mesh containers do not reach it", reached == 0, f"{reached} of 10 arrived")


def a_dead_warp_leaks_nothing(lab: Lab) -> Iterator[Line]:
    # One capture for all: what shows that it would see a leak, and what must not be seen.
    secrets = (CLIENT_INNER, CLIENT, WEB, DNS, "fd00:100::2")
    with capture("node", "uplink0") as uplink:
        forge.datagram_from("node", CLIENT_INNER, WEB)
        control = in_time(lambda: uplink.naming(*secrets))
        lab.inside("warpend", "ip", "link", "set", "eth0", "down")
        yield _blocked("its endpoint is gone")
        lab.inside("warp", "ip", "link", "delete", "wgcf")
        yield _blocked("its device is gone")
        time.sleep(0.2)
    leaked = uplink.naming(*secrets) - control
    yield _control(6, "Control: the uplink's capture sees a packet with both addresses", control)
    yield Line(
        6,
        "WARP cut: no packet with either address on the uplink",
        leaked == 0 and uplink.dropped == 0,
        f"{leaked} of {sum(uplink.packets.values())} packets, {uplink.dropped} unseen",
    )


def _blocked(how: str) -> Line:
    """While WARP is cut every kind of request, all made at once, must stay without an answer."""
    requests: dict[str, Callable[[], Any]] = {
        "HTTP": lambda: client.web_peer("client", WEB, timeout=CUT_SECONDS),
        "UDP": lambda: client.echo_peer("client", WEB, timeout=CUT_SECONDS),
        "DNS": lambda: client.resolve("client", DNS, "www.example.org", timeout=CUT_SECONDS),
    }
    with ThreadPoolExecutor() as pool:
        answers = dict(zip(requests, pool.map(_try, requests.values()), strict=True))
    got = [name for name, answer in answers.items() if not isinstance(answer, Failure)]
    names = {answer: ", ".join(name for name in answers if answers[name] == answer) for answer in answers.values()}
    measured = "; ".join(f"{which}: {answer}" for answer, which in names.items())
    return Line(6, f"WARP cut ({how}): the client's requests fail", not got, measured)


def warp_comes_back(lab: Lab) -> Iterator[Line]:
    begin = time.perf_counter()
    lab.inside("warpend", "ip", "link", "set", "eth0", "up")
    lab.inside("warpend", "ip", "route", "replace", "default", "via", "203.0.113.129")
    lab.agent("apply")
    saw: object = None
    while saw != VPS and time.perf_counter() - begin < 30:
        saw = _try(lambda: client.web_peer("client", WEB, timeout=2.0))
    took = time.perf_counter() - begin
    yield Line(
        7, "WARP restored by privacy-agent apply: the client works again", saw == VPS, f"in {took:.1f} s, web saw {saw}"
    )


def the_controller_may_die(lab: Lab) -> Iterator[Line]:
    before = _dump(lab)
    with client.steady_udp("client", (WEB, 7)) as stream:
        lab.processes.kill("ryu-manager")
        time.sleep(1.0)
        saw = _try(lambda: client.web_peer("client", WEB))
        lab.start_controller()
        switch = lab.wait_for_flows()
        time.sleep(0.5)
    yield Line(8, "Controller killed: traffic goes on", saw == VPS, f"web saw {saw}")
    changed = len(before ^ _dump(lab))
    bundles = switch["changes_total"]
    yield Line(
        8,
        "Controller started again: no flow entry changed",
        changed == 0 == bundles,
        f"{changed} changed, {bundles} bundles sent",
    )
    yield Line(
        8,
        "Meanwhile: datagrams lost through the chain",
        stream.sent > 100 and not stream.lost,
        f"{stream.lost} of {stream.sent}",
    )


def _dump(lab: Lab) -> set[str]:
    """All entries of the switch without their counters."""
    return set(lab.run("ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "dump-flows", "ovsbr0").splitlines()[1:])


@contextmanager
def _three_captures() -> Iterator[tuple[Capture, Capture, Capture]]:
    """What passes the node's uplink, the WARP endpoint and the VPS."""
    with capture("node", "uplink0") as uplink, capture("warpend", "eth0") as warp, capture("vps", "eth0") as vps:
        yield uplink, warp, vps
        time.sleep(0.1)


class Failure(str):
    """The words of an error, where an answer was asked for."""


def _try(request: Callable[[], Any]) -> Any:
    try:
        return request()
    except OSError as error:
        return Failure("timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__)


def _control(number: int, what: str, seen: int) -> Line:
    """A check for "nothing was seen" is worth something only if the one packet sent on purpose was."""
    return Line(number, what, seen == 1, f"{seen} of 1 seen")


def _saw(number: int, what: str, seen: set[str], expected: str) -> Line:
    return Line(number, what, seen == {expected}, ", ".join(sorted(seen)) or "nothing")


CHECKS: tuple[tuple[str, Callable[[Lab], Iterator[Line]]], ...] = (
    ("programming the switch", switch_is_programmed),
    ("HTTP through the chain", http_takes_the_chain),
    ("UDP through the chain", udp_takes_the_chain),
    ("counting packets per policy item", hops_are_counted),
    ("mesh and privacy containers", mesh_and_chain_are_apart),
    (f"cutting WARP, twice: each time requests wait {CUT_SECONDS:.0f} s in vain", a_dead_warp_leaks_nothing),
    ("restoring WARP", warp_comes_back),
    ("killing and restarting the controller", the_controller_may_die),
)
