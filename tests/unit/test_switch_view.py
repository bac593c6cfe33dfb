"""The JSON that the REST interface gives, from values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from large_policies import large_document

from policies.load import parse
from ryu_apps.flows.flow import Foreign, item_cookie
from ryu_apps.openflow.ofctl import match_text
from ryu_apps.openflow.wire import InstalledEntry, SwitchEntry, resolve
from ryu_apps.packets.simulate import Trace, simulate
from ryu_apps.policy.file import CompiledPolicy, compile_document
from ryu_apps.rest.readings import Rate
from ryu_apps.rest.view import PORTION, policy_view, switch_view
from ryu_apps.rest.view_chain import chain_view, entries_of, function_of, functions_view
from ryu_apps.rest.view_examples import example_packets
from ryu_apps.rest.view_trace import held_entries, notes_on_held
from ryu_apps.switches.account import LastChange, SwitchAccount

FILE = Path(__file__).parents[2] / "policies/documents/privacy-router.json"
COMPILED: CompiledPolicy = compile_document(FILE.read_text(), str(FILE))
PORTS = {port: number for number, port in enumerate(sorted({p for e in COMPILED.entries for p in e.ports}), 1)}
CHANGE = LastChange(1.5, 2, 0, 0, 2, 1, 4.2, True, None, "connected")
FORWARD = b"\0\1\0\10\24\0\0\0"  # goto_table:20
OURS = SwitchAccount(7, "ovsbr0", ours=True, connected=True, last_change=CHANGE, changes_total=1)


def installed(ports: dict[str, int] = PORTS) -> list[InstalledEntry]:
    ready, _ = resolve(COMPILED.entries, ports)
    return [InstalledEntry(wanted, 3, 300, 60) for _, wanted in ready]


def states(view: dict[str, Any]) -> dict[str, int]:
    found = [entry["state"] for entry in view["entries"]]
    return {state: found.count(state) for state in sorted(set(found))}


def test_a_switch_that_holds_everything() -> None:
    view = switch_view(OURS, COMPILED, PORTS, installed())
    assert states(view) == {"installed": len(COMPILED.entries)}
    assert view["drift"] == {"missing": 0, "altered": 0, "surplus": 0} and view["waiting"] == []
    assert (view["dpid"], view["desired"], view["last_change"]["added"]) == (7, len(COMPILED.entries), 2)
    entry = next(entry for entry in view["entries"] if entry["item"] == "function route vector_db")
    assert (entry["table_name"], entry["packets"], entry["bytes"]) == ("mesh", 3, 300)
    assert entry["match"].startswith(("ip,", "arp,")) and entry["actions"] == "output:internal_200"


def test_every_kind_of_difference_is_told_apart() -> None:
    held = installed()
    right = held[1].entry
    altered = held[1]._replace(entry=SwitchEntry.of(right.table, right.priority, right.match, FORWARD, right.cookie))
    removed_item = SwitchEntry.of(10, 7, b"", b"", item_cookie("an item of an older policy"))
    foreign = SwitchEntry.of(30, 7, b"", b"", 7)
    extra = [InstalledEntry(removed_item, 1, 60, 1), InstalledEntry(foreign, 1, 60, 1)]
    view = switch_view(OURS, COMPILED, PORTS, [*held[2:], altered, *extra])
    assert view["drift"] == {"missing": 1, "altered": 1, "surplus": 1}
    assert next(entry for entry in view["entries"] if entry["state"] == "altered")["found"] == "goto_table:20"
    assert next(entry for entry in view["entries"] if entry["state"] == "surplus")["table"] == 10


def test_waiting_entries_are_no_drift() -> None:
    ports = {port: number for port, number in PORTS.items() if port != "internal_200"}
    view = switch_view(OURS, COMPILED, ports, installed(ports))
    assert view["waiting"] == [{"port": "internal_200", "entries": 3, "dropping": 2}]
    assert (states(view)["waiting"], states(view)["dropping"]) == (3, 2) and not any(view["drift"].values())
    assert view["installed"] == len(installed(ports)), "what ovs-ofctl dump-flows shows"
    assert view["installed"] + 3 == view["desired"] == len(COMPILED.entries)


def test_what_is_not_ours_or_does_not_answer_has_no_entries() -> None:
    strange = switch_view(replace(OURS, ours=False, name="other0"), COMPILED, PORTS, installed())
    assert (strange["desired"], strange["installed"], strange["entries"]) == (0, 0, [])
    silent = switch_view(OURS, COMPILED, {}, None)
    assert (silent["desired"], silent["installed"], silent["waiting"]) == (len(COMPILED.entries), 0, [])
    assert not any(silent["drift"].values())  # not known is not the same as missing
    gone = switch_view(replace(OURS, connected=False), COMPILED, PORTS, installed())
    assert gone["installed"] == len(COMPILED.entries), "as it was last seen"


def test_functions_that_nobody_serves_are_told_from_those_that_are_not_known() -> None:
    entry = {"item": "function bucket_storage: container 201 is absent", "state": "installed", "packets": 1, "bytes": 2}
    found = {each["function"]: each for each in functions_view(COMPILED, ("vector_db", "bucket_storage"), [entry])}
    assert {name: each["state"] for name, each in found.items()} == {"vector_db": "unknown", "bucket_storage": "absent"}


def test_ten_thousand_functions_take_no_time_that_grows_with_their_square() -> None:
    policy = parse(large_document(10_000)[0], "large.json")
    items = (f"function route {route.function}" for route in policy.openflow.function_routing)
    entries = [{"item": item, "state": "installed", "packets": 1, "bytes": 2} for item in items]
    began = process_time()
    pauses: list[None] = []
    names = {route.function for route in policy.openflow.function_routing}
    found = list(functions_view(CompiledPolicy(policy, (), ""), names, entries, lambda: pauses.append(None)))
    assert process_time() - began < 3  # about 0.1; held against every entry, each would make it 8
    assert len(pauses) == 15  # others have their turns
    assert len(found) == 10_000 and {each["state"] for each in found} == {"installed"}


def test_of_many_entries_only_those_that_are_asked_for_are_put_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text, ports = large_document(5_000)
    compiled = compile_document(text, "large.json")
    numbers = {port: number for number, port in enumerate(ports, 1)}
    there = [InstalledEntry(wanted, 1, 2, 60) for _, wanted in resolve(compiled.entries, numbers)[0]]
    worded: list[str] = []
    monkeypatch.setattr("ryu_apps.rest.view.match_text", lambda match: worded.append(str(match)) or match_text(match))
    pauses: list[None] = []
    chain = chain_view(OURS, compiled, numbers, there, pause=lambda: pauses.append(None))
    assert {hop["state"] for hop in chain["hops"]} == {"in sync"} and chain["links"]
    assert len(worded) < 50 and len(pauses) >= 2 * len(there) // PORTION
    held = entries_of(compiled, lambda flow: function_of(flow.item) == "function_7", numbers, there)
    (seventh,) = functions_view(compiled, ["function_7"], [entry for _, entry in held])
    assert (seventh["state"], seventh["packets"]) == ("installed", 2)  # its calls, and ARP for it
    assert len(worded) < 60


def test_the_chain_without_a_switch_has_its_hops_and_no_ports() -> None:
    view = chain_view(None, COMPILED, {}, ())
    assert [(hop["kind"], hop["port"], hop["present"]) for hop in view["hops"]] == [
        ("gateway", "internal_100", False),
        ("warp", "warp0", False),
        ("xray", "internal_101", False),
    ]
    assert view["connected"] is False and {link["packets"] for link in view["links"]} == {0}
    assert {hop["state"] for hop in view["hops"]} == {"unknown"}


def test_a_hop_is_in_sync_only_as_far_as_is_known() -> None:
    def told(account: SwitchAccount, ports: dict[str, int]) -> list[str]:
        return [hop["state"] for hop in chain_view(account, COMPILED, ports, installed(ports))["hops"]]

    assert told(OURS, PORTS) == ["in sync"] * 3
    assert told(replace(OURS, connected=False), PORTS) == told(OURS, {}) == ["unknown"] * 3
    without = {port: number for port, number in PORTS.items() if port != "internal_101"}
    assert told(OURS, without) == ["in sync", "waiting", "absent"]


def test_links_are_summed_by_item_and_direction() -> None:
    links = chain_view(OURS, COMPILED, PORTS, installed())["links"]
    back = [link for link in links if link["item"] == "WARP tunnel -> WireGuard gateway (return)"]
    assert back == [
        {
            "item": "WARP tunnel -> WireGuard gateway (return)",
            "from": "warp0",
            "to": "internal_100",
            "packets": 6,  # client subnet and gateway address
            "bytes": 600,
            "rate": None,
        }
    ]


def test_what_a_hop_sends_the_next_receives_and_rates_are_summed() -> None:
    ready, _ = resolve(COMPILED.entries, PORTS)
    held = [
        InstalledEntry(wanted, *((5, 500) if flow.item == "WireGuard gateway → WARP tunnel" else (0, 0)), 60)
        for flow, wanted in ready
    ]
    view = chain_view(OURS, COMPILED, PORTS, held, rates=lambda _entry: Rate(1.5, 10.0))
    none, some = {"packets": 0, "bytes": 0}, {"packets": 5, "bytes": 500}
    assert [(hop["sent"], hop["received"]) for hop in view["hops"]] == [(some, none), (none, some), (none, none)]
    back = next(link for link in view["links"] if link["item"] == "WARP tunnel -> WireGuard gateway (return)")
    assert back["rate"] == {"packets": 3.0, "bytes": 20.0}


def test_a_hop_changed_when_its_youngest_entry_came() -> None:
    ready, _ = resolve(COMPILED.entries, PORTS)
    held = [InstalledEntry(wanted, 0, 0, 5 if flow.in_port == "internal_100" else 60) for flow, wanted in ready]
    hops = chain_view(OURS, COMPILED, PORTS, held, now=100.0)["hops"]
    assert [hop["last_change"] for hop in hops] == [95, 95, 40]


def test_a_hop_lacks_what_admits_its_packets() -> None:
    ready, _ = resolve(COMPILED.entries, PORTS)
    held = [
        InstalledEntry(wanted, 0, 0, 60) for flow, wanted in ready if (flow.table, flow.in_port) != (0, "internal_101")
    ]
    hops = chain_view(OURS, COMPILED, PORTS, held)["hops"]
    assert [hop["state"] for hop in hops] == ["in sync", "in sync", "drift"]


def test_the_policy_names_what_was_refused() -> None:
    view = policy_view(COMPILED, ["policy.json:3: wrong"])
    assert view["file"] == str(FILE) and len(view["revision"]) == 64 and view["problems"] == ["policy.json:3: wrong"]


WEB = "in_port=internal_100,tcp,nw_src=10.100.0.2,nw_dst=198.51.100.80,tp_dst=80"


def traced(ports: dict[str, int], held: list[InstalledEntry]) -> tuple[Trace, list[str]]:
    """The way of a client's packet on such a switch, and what is said to it."""
    on_switch = simulate(held_entries(COMPILED.entries, ports, held), WEB)
    return on_switch, list(notes_on_held(simulate(COMPILED.entries, WEB), on_switch, "ovsbr0", ports))


def test_a_packet_for_a_port_that_is_not_there_is_dropped_and_the_trace_says_why() -> None:
    assert [sent.port for sent in traced(PORTS, installed())[0].sent] == ["warp0"]
    for absent, steps in (("warp0", 2), ("internal_100", 1)):
        ports = {port: number for port, number in PORTS.items() if port != absent}
        trace, notes = traced(ports, installed(ports))
        assert trace.sent == () and len(trace.steps) == steps
        assert notes == [f"ovsbr0 has no port {absent} yet: the entries that need it wait"]


def test_an_action_that_is_not_ours_is_no_port() -> None:
    resubmit = b"\0\4\0\x18\0\0\0\0" + b"\xff\xff\0\x10" + bytes(12)
    held = [*installed(), InstalledEntry(SwitchEntry.of(0, 9999, b"", resubmit, 7), 0, 0, 1)]
    trace, notes = traced(PORTS, held)
    assert trace.last is not None and trace.last.actions == (Foreign("action_65535"),) and trace.sent == ()
    assert notes == ["what action_65535 does to the packet is not known here"]


def test_the_examples_are_those_of_the_policy_in_force() -> None:
    text = FILE.read_text().replace("internal_100", "gw0").replace("vector_db", "search")
    other = compile_document(text, str(FILE))
    for compiled, port, name in ((COMPILED, "internal_100", "vector_db"), (other, "gw0", "search")):
        web, ipv6, call = example_packets(compiled)
        assert f"in_port={port}," in web["packet"] and "nw_src=10.100.0.2" in web["packet"]
        assert simulate(compiled.entries, web["packet"]).ports == ("warp0",)
        assert simulate(compiled.entries, ipv6["packet"]).sent == ()
        assert call["title"].startswith(f"a call of {name} from ")
        assert simulate(compiled.entries, call["packet"]).ports == ("internal_200",), call


def test_a_policy_without_chain_and_functions_has_no_examples() -> None:
    policy = replace(COMPILED.policy, wireguard=replace(COMPILED.policy.wireguard, enabled=False))
    assert example_packets(CompiledPolicy(policy, (), "")) == []
