"""The connection to a switch, spoken directly to Open vSwitch: what a bundle promises. Needs root."""

from __future__ import annotations

from collections.abc import Iterator

import eventlet
import pytest
from plain_datapath import PlainDatapath, committed
from switch_entries import switch_entry
from switch_sandbox import Sandbox, Switch

from ryu_apps.flows.flow import FlowEntry, Output, fields, item_cookie
from ryu_apps.openflow.oxm import Oxm
from ryu_apps.openflow.wire import SwitchEntry
from ryu_apps.switches.connection import BundleRefused, Connection, SwitchSilent
from ryu_apps.switches.plan import Change, plan

# IPv4 addresses without the Ethernet type that they need: a switch must refuse it.
BAD = SwitchEntry.of(10, 5, Oxm(0x8000, 12, b"\xc0\0\2\1").encode(), b"", item_cookie("bad"))


@pytest.fixture(scope="module")
def datapath(shared: Sandbox) -> PlainDatapath:
    Switch(shared).add_ports("warp0")
    return PlainDatapath(shared.directory / "ovsbr0.mgmt")


@pytest.fixture
def connection(datapath: PlainDatapath) -> Iterator[Connection]:
    yield datapath.connection
    installed = datapath.connection.read().entries
    committed(datapath.connection, plan((), installed))
    assert datapath.connection.read().installed == ()


def entries(connection: Connection, count: int, item: str = "many") -> tuple[SwitchEntry, ...]:
    ports = connection.read().ports
    return tuple(
        switch_entry(
            FlowEntry(10, number, fields(in_port="warp0", vlan_vid=str(number)), (Output("warp0"),), item), ports
        )
        for number in range(count)
    )


def test_reading_a_switch(connection: Connection) -> None:
    reading = connection.read()
    assert reading.name == "ovsbr0" and set(reading.ports) == {"ovsbr0", "warp0"} and reading.installed == ()


def test_one_bad_message_keeps_the_whole_bundle_out(connection: Connection) -> None:
    """Open vSwitch alone would leave the bad one out and commit the others."""
    good = entries(connection, 4)
    with pytest.raises(BundleRefused) as refused:
        committed(connection, Change(add=(*good[:2], BAD, *good[2:])))
    assert refused.value.identity == BAD.identity and "OFPBMC_BAD_PREREQ" in str(refused.value)
    assert connection.read().installed == ()
    assert committed(connection, Change(add=good)).entries


def test_what_is_refused_late_is_told_by_its_entry_whatever_came_before(connection: Connection) -> None:
    """Of several portions, and with less in them than was announced."""
    good = entries(connection, 2000)
    changes = (Change(add=good[:500]), Change(), Change(add=(*good[500:1800], BAD)), Change(add=good[1800:]))
    with pytest.raises(BundleRefused) as refused:
        connection.fill(changes, 5000)
    assert refused.value.identity == BAD.identity
    assert connection.read().installed == ()
    bundle = connection.fill((Change(add=good[:500]), Change(add=good[500:])), 5000)
    assert bundle is not None and connection.read().installed == ()
    assert set(connection.commit(bundle).entries) == set(good)


def test_of_nothing_to_change_nothing_is_sent(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_send", pytest.fail)
    assert connection.fill((Change(), Change()), 0) is None


def test_what_fails_in_the_making_leaves_nothing_behind(connection: Connection) -> None:
    good = entries(connection, 900)

    def changes() -> Iterator[Change]:
        yield Change(add=good)
        raise KeyError("a fault")

    with pytest.raises(KeyError):
        connection.fill(changes(), 900)
    with pytest.raises(ValueError, match="announced"):
        connection.fill((Change(add=good[:1]), Change(add=good[1:])), 10)
    assert connection.read().installed == ()
    assert len(committed(connection, Change(add=good)).entries) == 900


def test_a_change_of_thousands_is_read_back_whole(connection: Connection) -> None:
    """More than one part of a multipart reply."""
    wanted = entries(connection, 4000)
    assert not plan(wanted, committed(connection, plan(wanted, ())).entries)
    renamed = entries(connection, 3000, "renamed")
    change = plan(renamed, connection.read().entries)
    assert (len(change.add), len(change.replace), len(change.delete)) == (0, 3000, 1000)
    assert not plan(renamed, committed(connection, change).entries)


def test_delete_spares_an_entry_that_became_anothers(connection: Connection) -> None:
    (ours,) = entries(connection, 1)
    foreign = SwitchEntry.of(ours.table, ours.priority, ours.match, ours.instructions, 7)
    committed(connection, Change(add=(foreign,)))
    assert committed(connection, Change(delete=(ours,))).entries == (foreign,)
    committed(connection, Change(add=(ours,)))  # so that the fixture may remove it


def test_silence_is_an_error_and_not_an_empty_table(
    datapath: PlainDatapath, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    datapath.deaf = True
    with monkeypatch.context() as impatient, pytest.raises(SwitchSilent, match="no answer"):
        impatient.setattr("ryu_apps.switches.connection.ANSWER_TIMEOUT", 0.2)
        connection.read()
    datapath.deaf = False
    assert connection.read().name == "ovsbr0"


def test_askers_do_not_get_each_others_answers(connection: Connection) -> None:
    wanted = entries(connection, 50)
    committed(connection, Change(add=wanted))
    readers = [eventlet.spawn(connection.read) for _ in range(5)]
    for reading in [connection.read(), *(reader.wait() for reader in readers)]:
        assert reading.name == "ovsbr0" and sorted(reading.entries, key=repr) == sorted(wanted, key=repr)
