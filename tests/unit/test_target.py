"""What one switch shall hold: made at once or by what has changed, and compared with what it holds, octet by octet."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from dataclasses import replace

import pytest
from match_examples import MATCHES
from switch_entries import switch_entry
from table_switch import _stats

from policies.model import PrivacyRouter
from ryu_apps.flows.flow import Action, FlowEntry, GotoTable, Match, Output, SetField, fields
from ryu_apps.openflow import messages
from ryu_apps.openflow.messages import Bundle, Kind
from ryu_apps.openflow.oxm import Oxm, decode_match
from ryu_apps.openflow.wire import Identity, SwitchEntry
from ryu_apps.policy.file import CompiledPolicy
from ryu_apps.switches.bundle import filling
from ryu_apps.switches.plan import Change, plan
from ryu_apps.switches.rollout import FEW, left_over, rollout
from ryu_apps.switches.sieve import LateSieve, Sieve
from ryu_apps.switches.target import Draft, Target

PORTS = {"internal_100": 3, "warp0": 17, "internal_200": 5, "internal_201": 6, "nm-privacy": 9}
ABSENT = "internal_101"
SEED = random.randrange(1 << 32)


def some_match(rng: random.Random) -> Match:
    address = f"100.64.{rng.randrange(3)}.{rng.randrange(4)}"
    port = rng.choice([*PORTS, ABSENT])
    return rng.choice(
        [
            fields(ip="", nw_dst=address),
            fields(arp="", arp_tpa=address),
            fields(ip="", nw_src=address, in_port=port),
            fields(arp="", arp_spa=address, in_port=port),
            fields(tcp="", nw_dst=address, tp_dst="80"),
            fields(ip="", nw_dst=f"100.64.{rng.randrange(3)}.0/24"),
            fields(tcp="", nw_dst=address),
            fields(udp="", nw_dst=address),
            fields(in_port=port),
            fields(ipv6="", in_port=port),
        ]
    )


def some_actions(rng: random.Random, match: Match) -> tuple[Action, ...]:
    choices: list[tuple[Action, ...]] = [(), (Output(rng.choice([*PORTS, ABSENT])),), (GotoTable(20),)]
    if ("tcp", "") in match or ("udp", "") in match:  # whose octets differ
        return (SetField("tp_dst", "53"), Output("warp0"))
    return rng.choice(choices)


def some_flow(rng: random.Random) -> FlowEntry:
    match = some_match(rng)
    return FlowEntry(
        rng.choice((0, 20)), rng.choice((90, 200)), match, some_actions(rng, match), f"r{rng.randrange(9)}"
    )


def compiled(flows: list[FlowEntry]) -> CompiledPolicy:
    distinct = {flow.identity: flow for flow in flows}
    return CompiledPolicy(PrivacyRouter(), tuple(distinct.values()), "r")


def made(policy: CompiledPolicy, known: Target | None = None) -> Target:
    return Draft(policy, PORTS, known).whole(lambda: None)


def way(policy: CompiledPolicy, held: Mapping[Identity, bytes], known: Target | None = None) -> Change:
    """All that a rollout sends."""
    rolled = rollout(Draft(policy, PORTS, known), held, lambda: None)
    return Change.together(list(rolled.changes()))


def carried_out(held: Mapping[Identity, bytes], change: Change, at_most: int) -> dict[Identity, bytes]:
    """What a switch holds after it, message by message in the order of an ordered bundle."""
    assert len(change) <= at_most
    table = dict(held)
    table.update(change.replace)
    table.update(change.add)
    for entry in change.delete:
        del table[entry.identity]
    return table


def in_any_order(change: Change) -> tuple[list[SwitchEntry], ...]:
    """Each message of a change is about an entry of its own."""
    return sorted(change.add), sorted(change.replace), sorted(change.delete)


def by_the_general_way(flow: FlowEntry) -> SwitchEntry | None:
    if flow.in_port is not None and flow.in_port not in PORTS:
        return None
    there = all(port in PORTS for port in flow.outputs)
    return switch_entry(flow if there else replace(flow, actions=()), PORTS)


def test_every_entry_is_encoded_as_by_the_general_way() -> None:
    rng = random.Random(SEED)
    flows = [some_flow(rng) for _ in range(500)] + [FlowEntry(10, 5, match, (), "x") for match in MATCHES]
    policy = compiled(flows)
    expected = [entry for entry in map(by_the_general_way, policy.entries) if entry is not None]
    assert dict(made(policy).entries) == dict(expected), SEED


def test_what_the_match_decides_is_not_taken_from_the_entry_before() -> None:
    actions = (SetField("tp_dst", "53"), Output("warp0"))
    flows = [FlowEntry(20, 90, fields(**{word: "", "tp_dst": "1"}), actions, "x") for word in ("tcp", "udp", "tcp")]
    entries = made(CompiledPolicy(PrivacyRouter(), tuple(flows), "r")).entries
    assert dict(entries) == dict(switch_entry(flow, PORTS) for flow in flows)


@pytest.mark.parametrize("number", range(60))
def test_by_what_has_changed_or_from_nothing_gives_the_same(number: int) -> None:
    rng = random.Random(SEED + number)
    flows = list(compiled([some_flow(rng) for _ in range(60)]).entries)
    known = made(compiled(flows))
    for _ in range(5):
        for _ in range(rng.randrange(4)):
            edit = rng.choice(("add", "remove", "alter", "copy"))
            index = rng.randrange(len(flows))
            if edit == "add":
                flows.insert(index, some_flow(rng))
            elif edit == "remove":
                del flows[index]
            elif edit == "alter":
                flows[index] = replace(flows[index], actions=some_actions(rng, flows[index].match))
            else:
                flows[index] = replace(flows[index])
        policy = compiled(flows)
        whole, wanted = made(policy), made(policy, known)
        assert wanted.entries == whole.entries, SEED + number
        assert set(map(id, wanted.waiting)) == set(map(id, whole.waiting)), SEED + number
        step = way(policy, known.entries, known)
        by_all = plan(wanted.entries.items(), known.entries.items(), wanted.swept)
        assert in_any_order(step) == in_any_order(by_all), SEED + number
        known = wanted


def test_two_entries_of_one_identity_are_never_lost() -> None:
    """The general rules keep them apart; here each leaves the other where it was."""
    first = FlowEntry(20, 90, fields(ip="", nw_dst="100.64.0.1"), (Output("warp0"),), "first")
    second = FlowEntry(20, 90, fields(ip="", nw_dst="100.64.0.1/32"), (), "second")
    others = [FlowEntry(20, priority, (), (), "x") for priority in range(20)]
    both = CompiledPolicy(PrivacyRouter(), (*others, first, second), "r")
    for left in (first, second):
        one = CompiledPolicy(PrivacyRouter(), (*others, left), "r")
        assert made(one, made(both)).entries == made(one).entries
        assert made(both, made(one)).entries == made(both).entries


@pytest.mark.parametrize("number", range(40))
def test_a_rollout_in_portions_is_the_same_change(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(SEED + number)
    monkeypatch.setattr("ryu_apps.switches.target._PORTION", rng.randrange(1, 30))
    some = list(compiled([some_flow(rng) for _ in range(80)]).entries)
    policy = compiled(some[:60])
    foreign = {rng.randbytes(3) + bytes(1): SwitchEntry.of(0, 1, b"", b"", 7).content for _ in range(3)}
    for held in ({}, made(policy).entries, {**made(compiled(some[40:])).entries, **foreign}):
        expected = plan(made(policy).entries.items(), held.items(), made(policy).swept)
        assert in_any_order(way(policy, held)) == in_any_order(expected), SEED + number


def test_of_two_entries_of_one_identity_the_later_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the switch holds, and whether both are sent together or not."""
    first = FlowEntry(20, 90, fields(ip="", nw_dst="100.64.0.1"), (Output("warp0"),), "first")
    second = FlowEntry(20, 90, fields(ip="", nw_dst="100.64.0.1/32"), (), "second")
    other, gone = (FlowEntry(20, priority, (), (), "x") for priority in (1, 2))
    policy = CompiledPolicy(PrivacyRouter(), (first, other, second), "r")
    for portion in (1, 2, 3):
        monkeypatch.setattr("ryu_apps.switches.target._PORTION", portion)
        for held in ([], [first], [second], [gone], [first, gone], [second, gone], [second, other]):
            before = made(compiled(held)).entries
            rolled = rollout(Draft(policy, PORTS), before, lambda: None)
            after = dict(before)
            for change in rolled.changes():
                after = carried_out(after, change, rolled.at_most)
            assert after == rolled.target.entries == made(compiled([other, second])).entries


def test_a_target_is_made_while_its_first_changes_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ryu_apps.switches.target._PORTION", 10)
    policy = compiled([FlowEntry(20, number, (), (), "x") for number in range(35)])
    turns: list[None] = []
    rolled = rollout(Draft(policy, PORTS), {}, lambda: turns.append(None))
    sizes = [(len(change), len(rolled.target.entries)) for change in rolled.changes()]
    assert sizes == [(10, 10), (10, 20), (10, 30), (5, 35)] and len(turns) == 4


@pytest.mark.parametrize("size", [FEW, FEW + 1])
def test_of_a_large_rollout_only_the_count_and_what_goes_are_kept(size: int) -> None:
    policy = compiled([FlowEntry(20, number, (), (), "x") for number in range(size - 1)])
    gone = switch_entry(FlowEntry(20, size, (), (), "x"), PORTS)
    rolled = rollout(Draft(policy, PORTS), dict([gone]), lambda: None)
    sent = Change.together(list(rolled.changes()))
    assert (rolled.added, rolled.replaced, rolled.deleted, len(rolled)) == (size - 1, 0, [gone], size)
    assert rolled.few == (sent if size == FEW else None)
    assert rolled.entry(gone.identity) == gone and rolled.entry(sent.add[0].identity) == sent.add[0]
    assert bool(rolled._taken) == (size == FEW)


def test_what_is_left_over_after_a_change() -> None:
    new, old = (switch_entry(FlowEntry(20, number, (), (), "x"), PORTS) for number in (1, 2))
    sent, another = (old.identity, new.identity), switch_entry(FlowEntry(20, 3, (), (), "x"), PORTS)
    assert left_over(sent, (old,), {}, ()) == 0
    assert left_over(sent, (old,), {another.identity: another.content}, (another,)) == 0  # somebody else's affair
    assert left_over(sent, (old,), {new.identity: new.content}, ()) == 1
    assert left_over(sent, (old,), {}, (old,)) == 1
    assert left_over(sent, (old,), {new.identity: new.content}, (old,)) == 2


def test_only_what_changed_is_made_anew() -> None:
    flows = [FlowEntry(20, 90, fields(ip="", nw_dst=f"100.64.0.{number}"), (), f"r{number}") for number in range(100)]
    known = made(compiled(flows))
    flows[50] = replace(flows[50], item="another")
    del flows[70]
    wanted = made(compiled(flows), known)
    assert sum(known.entries[identity] is content for identity, content in wanted.entries.items()) == 98
    assert in_any_order(way(compiled(flows), known.entries, known)) == (
        [],
        [SwitchEntry(*pair) for pair in wanted.entries.items() if known.entries[pair[0]] != pair[1]],
        [SwitchEntry(*pair) for pair in known.entries.items() if pair[0] not in wanted.entries],
    )


def test_a_bundle_is_filled_as_message_by_message() -> None:
    rng = random.Random(SEED)
    table = list(made(compiled([some_flow(rng) for _ in range(300)])).entries.items())
    entries = tuple(SwitchEntry(*pair) for pair in table)
    like = entries[99]
    expiring = SwitchEntry.of(like.table, like.priority, like.match, like.instructions, like.cookie, 30, 60, 1)
    change = Change(add=(*entries[:100], expiring), replace=entries[100:150], delete=entries[150:])
    xids = range(1000, 1000 + len(change))
    expected = [messages.bundle_control(Bundle.OPEN, 9, 5)]
    for xid, entry in zip(xids, change.entries, strict=True):
        make = messages.delete_message if entry in change.delete else messages.add_message
        expected.append(messages.bundle_add(make(entry, xid), 9, xid))
    assert b"".join(filling(9, 5, xids, [change])) == b"".join(expected)
    parts = [
        Change(delete=change.delete),
        Change(replace=change.replace[:7]),
        Change(),
        Change(replace=change.replace[7:]),
    ]
    assert b"".join(filling(9, 5, iter(xids), [*parts, Change(change.add)])) == b"".join(expected)
    assert list(filling(9, 5, xids, [Change(), Change()])) == []  # not even opened


def reply(entries: list[SwitchEntry], more: bool = False) -> bytes:
    body = b"".join(map(_stats, entries))
    return messages.message(Kind.MULTIPART_REPLY, 1, struct.pack("!HH4x", 1, more) + body)


def test_the_sieve_lets_through_what_differs() -> None:
    rng = random.Random(SEED)
    wanted = made(compiled([some_flow(rng) for _ in range(300)])).entries
    entries = [SwitchEntry(*pair) for pair in wanted.items()]
    sieve = Sieve(wanted)
    assert list(sieve(reply(entries))) == [] and sieve.missing == {}
    gone, altered, said_otherwise = rng.sample([entry for entry in entries if len(decode_match(entry.match)) > 1], 3)
    other = SwitchEntry.of(altered.table, altered.priority, altered.match, b"\0\1\0\10\24\0\0\0", 7)
    tlvs = b"".join(oxm.encode() for oxm in reversed(decode_match(said_otherwise.match)))
    turned = SwitchEntry.of(
        said_otherwise.table, said_otherwise.priority, tlvs, said_otherwise.instructions, said_otherwise.cookie
    )
    foreign = SwitchEntry.of(99, 1, Oxm(0x8000, 0, b"\0\0\0\1").encode(), b"", 3)
    kept = [entry for entry in entries if entry not in (gone, altered, said_otherwise)]
    sieve = Sieve(wanted)
    assert [found.entry for found in sieve(reply([*kept, turned, other, foreign]))] == [other, foreign]
    assert sieve.missing == dict((gone, altered))


def test_what_a_long_answer_is_sieved_by_is_made_when_it_comes() -> None:
    rng = random.Random(SEED)
    wanted = made(compiled([some_flow(rng) for _ in range(50)])).entries
    entries = [SwitchEntry(*pair) for pair in wanted.items()]
    tables: list[Mapping[Identity, bytes]] = []

    def make() -> Mapping[Identity, bytes]:
        tables.append(wanted)
        return wanted

    short, long = LateSieve(make), LateSieve(make)
    assert [found.entry for found in short(reply(entries))] == entries and short.missing is None and not tables
    assert not list(long(reply(entries[:20], more=True))) and not list(long(reply(entries[20:-1])))
    assert long.missing == dict(entries[-1:]) and len(tables) == 1


def test_what_breaks_the_specification_does_not_pass_the_sieve() -> None:
    entry = SwitchEntry.of(20, 90, Oxm(0x8000, 0, b"\0\0\0\1").encode(), b"", 3)
    good = reply([entry])
    for position, octets in ((16, b"\0\0"), (16, b"\xff\xff"), (66, b"\xff\xff"), (66, b"\0\0")):
        bad = good[:position] + octets + good[position + 2 :]
        with pytest.raises(messages.Malformed):
            list(Sieve(dict([entry]))(bad))
