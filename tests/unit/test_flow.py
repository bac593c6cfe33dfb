"""Flow entries as values and as ovs-ofctl text; the plan that changes one set of entries into another."""

from __future__ import annotations

from ryu_apps.flows.flow import COOKIE_MASK, FlowEntry, GotoTable, Output, fields, is_ours, item_cookie
from ryu_apps.openflow.ofctl import entry_text, port_text
from ryu_apps.openflow.oxm import Oxm
from ryu_apps.openflow.wire import SwitchEntry
from ryu_apps.switches.plan import Change, plan

OURS = item_cookie("an item")
FOREIGN = 7


def held(port: int, cookie: int = OURS, instructions: bytes = b"", **more: int) -> SwitchEntry:
    return SwitchEntry.of(0, 100, Oxm(0x8000, 0, port.to_bytes(4, "big")).encode(), instructions, cookie, **more)


def after(change: Change, installed: list[SwitchEntry]) -> set[SwitchEntry]:
    """What a table holds when the change has been made."""
    table = {entry.identity: entry for entry in installed}
    for entry in change.delete:
        del table[entry.identity]
    for entry in (*change.replace, *change.add):
        table[entry.identity] = entry
    return set(table.values())


def test_cookie_marks_ours_and_tells_items_apart() -> None:
    assert item_cookie("function route vector_db") >> 48 == 0x5052
    assert is_ours(item_cookie("x")) and not is_ours(0x5052) and not is_ours(item_cookie("x") ^ 1 << 63)
    assert item_cookie("function route vector_db") != item_cookie("function route bucket_storage")
    assert COOKIE_MASK == 0xFFFF000000000000


def test_text_is_what_ovs_ofctl_reads() -> None:
    entry = FlowEntry(10, 100, fields(in_port="internal_100"), (Output("warp0"),), "WireGuard gateway → WARP tunnel")
    assert entry_text(entry) == (
        f"cookie={entry.cookie:#x},table=10,priority=100,in_port=internal_100,actions=output:warp0"
    )
    assert entry_text(FlowEntry(20, 0, (), (), "miss")).endswith(",table=20,priority=0,actions=drop")
    assert "tcp,nw_dst=192.0.2.1,tp_dst=443,actions=goto_table:20" in entry_text(
        FlowEntry(0, 1, fields(tp_dst="443", tcp="", nw_dst="192.0.2.1"), (GotoTable(20),), "x")
    )
    # A policy's vlan_vid is the id alone; ovs-ofctl's vlan_vid=5 would match no packet.
    assert ",dl_vlan=5," in entry_text(FlowEntry(0, 1, fields(vlan_vid="5"), (), "x"))


def test_port_names_that_could_be_syntax_are_quoted() -> None:
    for plain in ("internal_100", "nm-privacy", "eth0.7"):
        assert port_text(plain) == plain
    for other in ("7", "-x", "a:b", "a b", "a,b", "a>b", ""):
        assert port_text(other) == f'"{other}"'


def test_nothing_to_do_when_the_switch_holds_what_is_wanted() -> None:
    wanted = [held(1), held(2)]
    assert len(plan(wanted, [*reversed(wanted), held(3, FOREIGN)])) == 0


def test_plan_is_the_least_change() -> None:
    forward = b"\0\1\0\10\12\0\0\0"
    installed = [held(1), held(2, instructions=forward), held(3), held(4, FOREIGN), held(5, FOREIGN)]
    wanted = [held(1), held(2), held(4), held(6)]
    change = plan(wanted, installed)
    assert change == Change(add=(held(6),), replace=(held(2), held(4)), delete=(held(3),))
    assert after(change, installed) == {*wanted, held(5, FOREIGN)}


def test_another_cookie_or_a_timeout_is_a_difference() -> None:
    other = held(1, item_cookie("another item"))
    assert plan([held(1)], [other]).replace == (held(1),)
    assert plan([held(1)], [held(1, idle_timeout=30)]).replace == (held(1),)


def test_apply_then_revert_gives_the_same_table() -> None:
    first = [held(1), held(2), held(9, FOREIGN)]
    second = [held(2, item_cookie("another item")), held(3)]
    there = after(plan(second, first), first)
    back = after(plan([held(1), held(2)], there), list(there))
    assert back == set(first)
