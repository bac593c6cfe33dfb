"""Sets in a real kernel, in a network namespace of the test's own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from sandbox import Sandbox

from host_agent.drivers import ipset
from host_agent.drivers.memory import Memory
from host_agent.errors import AgentError
from host_agent.prefixes import Family, Prefixes, Seal
from host_agent.state import IpSet


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with Sandbox() as own, own.network():
        yield


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def whole() -> frozenset[IpSet]:
    """Our sets, by every entry."""
    return ipset.look(memory=Memory(doubted={it.name for it in ipset.read()})).ours


def a_set(name: str, *networks: str) -> IpSet:
    parsed = [ip_network(network) for network in networks]
    family: Family = "ipv6" if parsed and parsed[0].version == 6 else "ipv4"
    return IpSet(name, family, Prefixes.of(family, parsed))


def many(name: str, count: int, family: Family, last: int = 0) -> IpSet:
    """So many prefixes that cannot be joined; ``last`` is part of the last one."""
    bits, shift, base = (32, 9, 10 << 24) if family == "ipv4" else (128, 81, 0x2001 << 112)
    keys = [base + (n << shift) << 8 | bits - shift + 1 for n in range(1, count)]
    keys.append(base + (count + last << shift) << 8 | bits)
    size = bits // 8 + 1
    return IpSet(name, family, Prefixes(family, b"".join(key.to_bytes(size) for key in keys)))


def members(name: str) -> set[str]:
    text = run("ipset", "list", name)
    return set(text[text.index("Members:") :].split()[1:])


def test_what_is_put_in_place_is_what_ipset_lists_and_what_is_read_back() -> None:
    wanted = {
        a_set("ru", "192.0.2.0/24", "198.51.100.7/32", "10.0.0.0/8"),
        a_set("ru6", "2001:db8::/32", "2001:db9::1/128", "8000::/1"),
        a_set("XRAY_CLIENTS", "0.0.0.0/0"),
        IpSet("none", "ipv6", Prefixes("ipv6")),
    }
    ipset.replace(wanted, ())
    assert members("ru") == {"192.0.2.0/24", "198.51.100.7", "10.0.0.0/8"}
    assert members("ru6") == {"2001:db8::/32", "2001:db9::1", "8000::/1"}
    assert members("XRAY_CLIENTS") == {"0.0.0.0/1", "128.0.0.0/1"} and members("none") == set()
    assert ipset.read() == whole() == wanted
    assert set(run("ipset", "list", "-name").split()) == {"ru", "ru6", "XRAY_CLIENTS", "none"}, "nothing is left aside"
    ipset.remove(wanted)
    assert run("ipset", "list") == ""
    ipset.remove(wanted)


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_large_set_is_whole_and_sized_from_its_data(family: Family) -> None:
    large = many("us", 100_000, family)
    ipset.replace({large}, ())
    assert ipset.read() == whole() == {large}
    assert b"".join(ipset.entries("us", family)) == large.prefixes.packed
    header = run("ipset", "-t", "list", "us")
    assert "Number of entries: 100000" in header and "hashsize 65536 maxelem 151634" in header, "never had to grow"


def test_the_kernel_keeps_the_mark_and_the_digest_when_others_touch_the_set() -> None:
    ours = a_set("ru", "192.0.2.0/24")
    ipset.replace({ours}, ())
    run("ipset", "flush")
    assert ipset.read() == {IpSet("ru", "ipv4", Prefixes("ipv4"))}, "still ours, and empty"
    ipset.replace({ours}, ipset.read())
    assert ipset.read() == {ours}
    saved = run("ipset", "save")
    run("ipset", "destroy")
    subprocess.run(["ipset", "restore"], input=saved, text=True, check=True)
    assert ipset.read() == {ours}, "as after a reboot with saved sets"


def test_sets_of_others_are_neither_ours_nor_touched() -> None:
    run("ipset", "create", "ru", "hash:net")
    run("ipset", "create", "THEIRS", "hash:ip,port", "timeout", "60", "comment")
    run("ipset", "create", "LISTED", "list:set")
    run("ipset", "create", "BITS", "bitmap:port", "range", "1-100")
    run("ipset", "create", "ODD", "hash:ip", "maxelem", str(ipset.capacity(0)))
    run("ipset", "add", "LISTED", "ru")
    before = run("ipset", "save")
    assert ipset.read() == frozenset()
    assert ipset.look({a_set(name, "192.0.2.0/24") for name in ("ru", "de", "BITS")}).strangers == {"ru", "BITS"}
    assert ipset.look().strangers == frozenset()
    with pytest.raises(AgentError, match="ipset ru: a set of this name appeared meanwhile"):
        ipset.replace({a_set("ru", "192.0.2.0/24"), a_set("de", "192.0.2.0/24")}, ())
    assert ipset.read() == {a_set("de", "192.0.2.0/24")}, "one that cannot be made does not stop the others"
    ipset.remove(ipset.read())
    assert run("ipset", "save") == before


CHANGES = {
    "added": ["ipset add ru 203.0.113.0/24"],
    "removed": ["ipset del ru 192.0.2.0/24"],
    "exchanged": ["ipset del ru 192.0.2.0/24", "ipset add ru 203.0.113.0/24"],
    "negated": ["ipset del ru 192.0.2.0/24", "ipset add ru 192.0.2.0/24 nomatch"],
    "flushed": ["ipset flush ru"],
    "destroyed": ["ipset destroy ru"],
    "made by another": ["ipset destroy ru", "ipset create ru hash:net"],
}


@pytest.mark.parametrize("commands", CHANGES.values(), ids=CHANGES)
def test_every_change_of_a_small_set_is_seen(commands: list[str]) -> None:
    ours = a_set("ru", "192.0.2.0/24", "198.51.100.0/24")
    ipset.replace({ours}, ())
    for command in commands:
        run(*command.split())
    assert ours not in ipset.read() and ours not in whole()


def test_what_the_short_reading_of_a_large_set_sees_and_what_it_does_not() -> None:
    large = many("us", ipset.READ_WHOLE + 1, "ipv4")
    ipset.replace({large}, ())
    first = next(iter(large.prefixes))
    run("ipset", "add", "us", "203.0.113.0/24")
    assert large not in ipset.read()
    run("ipset", "del", "us", first)
    assert large in ipset.read() and large not in whole(), "one for one: only the whole reading sees it"
    ipset.replace({many("us", ipset.READ_WHOLE + 1, "ipv4", last=1)}, ipset.read())
    assert large not in ipset.read(), "another content of the same size"


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_large_set_is_doubted_until_every_entry_is_as_put_in(family: Family) -> None:
    large, memory = many("us", ipset.READ_WHOLE + 1, family), Memory(doubted={"us"})
    ipset.replace({large}, ())
    assert ipset.look({large}, memory).ours == {large} and not memory.doubted
    run("ipset", "del", "us", next(iter(large.prefixes)))
    run("ipset", "add", "us", "203.0.113.0/24" if family == "ipv4" else "fd00::/64")
    assert ipset.look({large}, memory).ours == {large}, "its turn has not come"
    memory.doubted.add("us")
    for _ in range(2):
        found = ipset.look({large}, memory).ours
        assert found != {large} and memory.doubted == {"us"}, "nobody has mended it yet"
    ipset.replace({large}, found)
    assert ipset.look({large}, memory).ours == {large} and not memory.doubted


def test_a_set_in_a_rule_is_replaced_without_the_rule_noticing_but_not_removed() -> None:
    run("ip", "link", "set", "lo", "up")
    ipset.replace({a_set("ru", "192.0.2.0/24")}, ())
    run("iptables", "-w", "-A", "INPUT", "-m", "set", "--match-set", "ru", "dst", "-j", "DROP")
    rules = run("iptables", "-S", "INPUT")
    ipset.replace({a_set("ru", "198.51.100.0/24")}, ipset.read())
    assert members("ru") == {"198.51.100.0/24"} and run("iptables", "-S", "INPUT") == rules
    with pytest.raises(AgentError, match="ipset ru: a rule uses it: remove the rule first"):
        ipset.remove(ipset.read())
    with pytest.raises(AgentError, match="another family"):
        ipset.replace({a_set("ru", "2001:db8::/32")}, ipset.read())
    assert ipset.read() == {a_set("ru", "198.51.100.0/24")} and run("ipset", "list", "-name") == "ru\n"


def test_a_packet_meets_the_old_content_or_the_new_while_a_set_is_replaced() -> None:
    """What both contents hold is let through at every moment: a datagram that a rule drops fails with EPERM."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo")
    one, other = many("us", 20_000, "ipv4"), many("us", 20_000, "ipv4", last=1)
    shared = next(iter(one.prefixes)).split("/")[0]
    ipset.replace({one}, ())
    run("iptables", "-w", "-A", "OUTPUT", "-p", "udp", "-m", "set", "!", "--match-set", "us", "dst", "-j", "DROP")
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stop, sent, missed = threading.Event(), [0], [0]

    def send() -> None:
        while not stop.is_set():
            try:
                sender.sendto(b"", (shared, 9))
                sent[0] += 1
            except PermissionError:
                missed[0] += 1

    thread = threading.Thread(target=send)
    thread.start()
    for n in range(30):
        ipset.replace({(other, one)[n % 2]}, {one})
    stop.set()
    thread.join()
    assert missed == [0] and sent[0] > 1000
    ipset.replace({a_set("us", "192.0.2.0/24")}, {one})
    with pytest.raises(PermissionError):
        sender.sendto(b"", (shared, 9))
    sender.close()


def test_what_a_killed_run_left_aside_is_cleared_by_the_next() -> None:
    ipset._build_aside(many("us", 5000, "ipv4"))
    assert {found.name for found in ipset.read()} == {ipset.ASIDE}, "it is seen, so that it can be removed"
    ipset.replace({a_set("ru", "192.0.2.0/24")}, ipset.read())
    assert run("ipset", "list", "-name") == "ru\n"


CHANGING = """
from itertools import cycle
from test_ipset import ipset, many
both = [many("us", 20_000, "ipv4", last=n) for n in (0, 1)]
print("ready", flush=True)
for content in cycle(both):
    ipset.replace({content}, ipset.read())
"""


def test_a_kill_at_any_moment_leaves_the_old_content_or_the_new() -> None:
    both = {many("us", 20_000, "ipv4", last=n) for n in (0, 1)}
    ipset.replace(both - {many("us", 20_000, "ipv4")}, ())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for n in range(120 if "SOAK" in os.environ else 6):
        child = subprocess.Popen([sys.executable, "-c", CHANGING], stdout=subprocess.PIPE, env=environment)
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(0.023 * n % 0.2)
        child.kill()
        child.communicate()
        found = {content.name: content for content in whole()}
        assert found.pop("us") in both and set(found) <= {ipset.ASIDE}
        ipset.replace({many("us", 20_000, "ipv4")}, ipset.read())
        assert ipset.read() == {many("us", 20_000, "ipv4")}


def test_a_strangers_set_under_the_name_for_building_is_told(tmp_path: Path) -> None:
    run("ipset", "create", ipset.ASIDE, "hash:ip")
    with pytest.raises(AgentError, match=f"there is a set {ipset.ASIDE} that is not ours"):
        ipset.replace({a_set("ru", "192.0.2.0/24")}, ipset.read())
    assert run("ipset", "list", "-name") == f"{ipset.ASIDE}\n"


def test_a_listing_by_another_program_does_not_stop_a_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses to swap a set that is being listed."""
    large = many("us", 50_000, "ipv4")
    ipset.replace({large}, ())
    with ipset.Kernel() as reader:
        listing = reader.ask(ipset.wire.listing("us"))
        next(listing)
        rests: list[int] = []
        monkeypatch.setattr(ipset.time, "sleep", lambda seconds: rests.append(len([*listing])))
        ipset.replace({many("us", 50_000, "ipv4", last=1)}, {large})
    assert rests and rests[0] > 0, "it was refused, and waited until the listing was over"
    assert ipset.read() == {many("us", 50_000, "ipv4", last=1)}


def test_entries_that_are_not_known_cannot_be_put_in_place() -> None:
    with pytest.raises(TypeError):
        ipset.replace({IpSet("ru", "ipv4", Seal(1, 1))}, ())
    assert run("ipset", "list", "-name") == ""


@pytest.mark.parametrize("networks", [["192.0.2.0/24", "203.0.113.0/24"], ["2001:db8::/32", "2001:dba::/32"]])
def test_what_is_wanted_or_was_read_before_is_not_believed_to_be_there(networks: list[str]) -> None:
    memory, wanted = Memory(), a_set("ru", *networks)
    ipset.replace({wanted}, ())
    assert ipset.look({wanted}, memory).ours == ipset.look({wanted}, memory).ours == {wanted}
    run("ipset", "del", "ru", networks[1])
    run("ipset", "add", "ru", networks[1].replace("113", "114").replace("dba", "dbb"))
    for remembered in (memory, Memory()):
        assert ipset.look({wanted}, remembered).ours == whole() != {wanted}
    run("ipset", "destroy", "ru")
    assert ipset.look({wanted}, memory).ours == frozenset()
