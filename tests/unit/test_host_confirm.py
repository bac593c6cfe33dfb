"""Which steps may cut the operator off, and what is kept of the state to go back to."""

from __future__ import annotations

import pickle
import threading
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network, ip_address, ip_interface
from pathlib import Path

import pytest
from host_examples import wanted

from host_agent.confirm import file as confirm_file
from host_agent.confirm import restore as confirm
from host_agent.confirm.file import Pending
from host_agent.confirm.path import Connection, touches
from host_agent.lock import locked
from host_agent.plan import plan
from host_agent.state import (
    Address,
    Bridge,
    Chain,
    FilterRule,
    HostState,
    Link,
    NamespaceState,
    Route,
    Rule,
    Sysctl,
    filter_rule,
)
from host_agent.steps import (
    Add,
    ChangeBridge,
    Remove,
    RemoveBridge,
    ReplaceChains,
    ReplaceRoute,
    SetLink,
    SetSysctl,
    Step,
)

WAY = Connection(ip_address("192.0.2.1"), ip_address("192.0.2.2"), "uplink0")
ALL, FAR = IPv4Network("0.0.0.0/0"), IPv4Network("198.51.100.0/24")


def chains(table: str, name: str, *rules: str) -> ReplaceChains:
    return ReplaceChains(
        "", "ipv4", frozenset({Chain("ipv4", table, name, tuple(map(filter_rule, rules)))}), frozenset()
    )


CUTTING: dict[str, Step] = {
    "default route": Add("", Route(ALL, link="wgcf")),
    "route to the peer": ReplaceRoute("", Route(IPv4Network("192.0.2.0/24"), link="br0")),
    "rule for everything": Add("", Rule(100, 51820)),
    "rule for our address": Add("", Rule(100, 51820, None, IPv4Network("192.0.2.0/24"))),
    "address": Remove("", Address("uplink0", ip_interface("192.0.2.2/24"))),
    "link": SetLink("", Link("uplink0", "socket")),
    "bridge": RemoveBridge("uplink0"),
    "changed bridge": ChangeBridge(Bridge("uplink0", "netdev"), frozenset(), False, "fail_mode"),
    "drop": chains("filter", "INPUT", "-i uplink0 -j DROP"),
    "drop of a net": chains("filter", "INPUT", "-s 192.0.2.0/28 -j DROP"),
    "proxy": chains("mangle", "PREROUTING", "-j XRAY_TPROXY"),
    "reverse path filter": SetSysctl("", Sysctl("net/ipv4/conf/all/rp_filter", "1")),
}
HARMLESS: dict[str, Step] = {
    "elsewhere": Add("ct100", Route(ALL, link="internal_100")),
    "another table": Add("", Route(ALL, link="wgcf", table=1001)),
    "another destination": Add("", Route(FAR, link="wgcf")),
    "rule for marks": Add("", Rule(16384, 1001, None, None, 0x10000, 0xFF0000)),
    "rule for another link": Add("", Rule(200, 100, "br0")),
    "rule for what is bound to another": Add("", Rule(200, 100, outgoing="wgc1")),
    "another source": Add("", Rule(200, 100, None, FAR)),
    "another address": Remove("", Address("uplink0", IPv4Interface("192.0.2.9/24"))),
    "another link": SetLink("", Link("br0", "socket")),
    "another interface's packets": chains("filter", "INPUT", "-i br0 -j DROP"),
    "another source's packets": chains("mangle", "PREROUTING", "-s 198.51.100.0/24 -j TUN_DIR"),
    "return": chains("filter", "INPUT", "-j RETURN"),
    "forwarding": SetSysctl("", Sysctl("net/ipv4/ip_forward", "1")),
}


@pytest.mark.parametrize("what", CUTTING)
def test_what_may_cut_the_connection_is_seen(what: str) -> None:
    assert touches(CUTTING[what], WAY)


@pytest.mark.parametrize("what", HARMLESS)
def test_what_cannot_is_not_warned_of(what: str) -> None:
    assert not touches(HARMLESS[what], WAY)


def test_the_chain_itself_touches_no_way_in() -> None:
    assert not [str(step) for step in plan(wanted(), HostState()) if touches(step, WAY)]


def test_what_is_gone_back_to_is_ours_alone() -> None:
    ours = filter_rule("-j XRAY_TPROXY")
    theirs = FilterRule("-s 192.0.2.9 -j ACCEPT", "")
    found = HostState(
        namespaces={
            "": NamespaceState(links=frozenset({Link("wgcf", "wireguard")})),
            "ct101": NamespaceState(
                links=frozenset({Link("internal_101", "socket", alive=False), Link("wg9", "wireguard")}),
                chains=frozenset(
                    {
                        Chain("ipv4", "mangle", "PREROUTING", (theirs, ours)),
                        Chain("ipv4", "filter", "INPUT", (theirs,)),
                        Chain("ipv4", "mangle", "XRAY_TPROXY", (theirs, ours)),
                    }
                ),
            ),
        }
    )
    kept = confirm_file.restorable(found, Path("/state"))
    assert "" not in kept.namespaces, "what is on the way to another namespace is not to be put there again"
    state = kept.namespaces["ct101"]
    assert {link.name for link in state.links} == {"wg9"}
    assert {chain.key[1:]: chain.rules for chain in state.chains} == {
        ("mangle", "PREROUTING"): (ours,),
        ("mangle", "XRAY_TPROXY"): (theirs, ours),
    }


def test_a_replaced_program_is_started_from_its_path() -> None:
    (xray,) = wanted().daemons
    found = replace(wanted(), daemons=frozenset({replace(xray, argv=(f"{xray.argv[0]} (replaced)", *xray.argv[1:]))}))
    assert confirm_file.restorable(found, Path("/state")).daemons == wanted().daemons


def test_the_file_gives_back_what_was_put_in_and_nothing_else(tmp_path: Path) -> None:
    pending = Pending("token", "boot", 12.5, "/etc/policy.json", "{}", wanted(), {"ct200": "/proc/7/ns/net"})
    confirm_file.write(tmp_path, pending, "digest")
    assert (tmp_path / "pending-confirm").stat().st_mode & 0o777 == 0o600
    assert confirm_file.read(tmp_path) == pending and confirm_file.refused(tmp_path) == "digest"
    assert wanted().files and "AQEB" not in repr(pending), "no key in a repr"


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("open('/tmp/should-not-be-there', 'w')",))


def called(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls something by its dotted name in a module: what that has imported, too."""
    module_text, name_text, text = (b"\x8c" + bytes([len(it)]) + it.encode() for it in (module, name, argument))
    return b"\x80\x04" + module_text + name_text + b"\x93" + text + b"\x85R."


DAMAGED = (
    b"",
    b"garbage",
    pickle.dumps(Evil()),
    pickle.dumps({"a": 1}),
    pickle.dumps(Path),
    called("host_agent.facts.names", "json.codecs.builtins.eval", "open('/tmp/should-not-be-there', 'w')"),
    called("host_agent.facts.names", "is_address", "192.0.2.1"),
)


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_runs_no_code(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pending-confirm").write_bytes(content)
    assert confirm_file.read(tmp_path) is None
    assert not Path("/tmp/should-not-be-there").exists()


def test_the_watchdog_waits_for_the_lock_however_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apply that takes longer than its deadline holds it."""
    monkeypatch.setattr(confirm, "LOCKED", 0.001)
    tries = threading.Semaphore(0)

    def restore(*arguments: object) -> bool:
        tries.release()
        return by_agent(*arguments)  # type: ignore[arg-type]

    by_agent = confirm.restore
    monkeypatch.setattr(confirm, "restore", restore)
    confirm_file.write(tmp_path, Pending("token", "boot", 0.0, "policy.json", {"policy.json": ""}, HostState()), "")
    codes: list[int] = []
    watchdog = threading.Thread(target=lambda: codes.append(confirm.watchdog(tmp_path, lambda words: None)))
    with locked(tmp_path):
        watchdog.start()
        for _ in range(2 * confirm.ATTEMPTS):
            assert tries.acquire(timeout=5)
        confirm_file.forget(tmp_path)  # confirmed in the last moment, so that nothing is restored here
    watchdog.join(5)
    assert codes == [0]
