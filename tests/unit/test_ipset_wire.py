"""The kernel's ipset messages as bytes, and what its error numbers are called."""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Iterator

import pytest

from host_agent.drivers import ipset
from host_agent.drivers import ipset_wire as wire
from host_agent.drivers import netlink_wire as framing
from host_agent.errors import Missing
from host_agent.prefixes import Family, Prefixes, parse
from host_agent.state import IpSet

LISTS: dict[Family, bytes] = {"ipv4": b"192.0.2.0/24\n198.51.100.7\n", "ipv6": b"2001:db8::/32\n2001:db9::1\n"}


@pytest.mark.skipif(sys.byteorder == "big", reason="heads are in the machine's order")
def test_one_entry_byte_by_byte() -> None:
    """As strace(1) shows it for ipset(8), which adds a line number to each entry."""
    (message,) = wire.additions("ru", "ipv4", parse(b"192.0.2.0/24\n", "ipv4").packed)
    body = b"\x02\0\0\0" + b"\x05\0\x01\0\x06\0\0\0" + b"\x07\0\x02\0ru\0\0" + b"\x08\0\x09\x40\0\0\0\x01"
    entry = b"\x18\0\x07\x80" + b"\x0c\0\x01\x80" + b"\x08\0\x01\x40\xc0\0\x02\0" + b"\x05\0\x03\0\x18\0\0\0"
    body += b"\x1c\0\x08\x80" + entry
    assert message == struct.pack("=IHHII", 16 + len(body), 0x609, 5, 0, 0) + body


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("flag", [0, framing.NETWORK_ORDER])
def test_entries_are_read_as_they_were_sent(family: Family, flag: int) -> None:
    """Quickly in the kernel's usual form, and just so if it marks the byte order as we have to."""
    packed = parse(LISTS[family], family).packed
    (message,) = wire.additions("ru", family, packed)
    sent = struct.pack("=H", wire.ADDRESS_ATTRIBUTE[family] | framing.NETWORK_ORDER)
    body = message[16:].replace(sent, struct.pack("=H", wire.ADDRESS_ATTRIBUTE[family] | flag))
    assert wire.entries(body, family) == packed


def test_many_entries_go_in_messages_that_an_attribute_can_hold() -> None:
    packed = b"".join(number.to_bytes(16) + b"\x80" for number in range(0, 20_000, 2))
    messages = list(wire.additions("ru", "ipv6", packed))
    assert len(messages) == 7 and max(map(len, messages)) < 1 << 16
    assert b"".join(wire.entries(message[16:], "ipv6") for message in messages) == packed
    assert list(wire.additions("ru", "ipv6", b"")) == []


def test_a_datagram_that_ends_too_soon_does_not_hang() -> None:
    message = wire.headers()
    for end in range(len(message)):
        list(framing.messages(message[:end]))
        framing.attributes(message[:end])
    assert list(framing.messages(bytes(64))) and framing.attributes(bytes(64))


class OldKernel:
    """Answers as a kernel that knows no initval, or no sets at all."""

    known = True

    def __enter__(self) -> OldKernel:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, message: bytes) -> Iterator[bytes]:
        if not self.known:
            raise OSError(errno.EINVAL, "")
        head = (
            framing.text(wire.A_NAME, "us")
            + framing.text(wire.A_TYPE, "hash:net")
            + framing.attribute(wire.A_FAMILY, b"\2")
        )
        if message == wire.headers():
            data = wire.number(wire.D_MAXELEM, ipset.capacity(9000)) + wire.number(wire.D_ELEMENTS, 9000)
            yield bytes(4) + head + framing.attribute(wire.A_DATA, data)
        else:
            for packet in wire.additions("us", "ipv4", self.packed):
                yield packet[16:]

    packed = b"".join(struct.pack(">IB", 2 * number, 32) for number in range(9000))


def test_a_kernel_without_initval_is_read_by_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipset, "Kernel", OldKernel)
    assert ipset.read() == {IpSet("us", "ipv4", Prefixes("ipv4", OldKernel.packed))}


def test_a_kernel_without_sets_has_none_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipset, "Kernel", OldKernel)
    monkeypatch.setattr(OldKernel, "known", False)
    assert ipset.read() == frozenset() and ipset.look({IpSet("us", "ipv4", Prefixes("ipv4"))}).strangers == frozenset()
    with pytest.raises(Missing, match="modprobe ip_set_hash_net"):
        ipset.replace({IpSet("us", "ipv4", Prefixes("ipv4"))}, ())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (4098, "no set type hash:net"),
        (4099, "max_sets"),
        (4100, "a rule uses it"),
        (4102, "another family"),
        (4352, "as many entries as it may"),
        (errno.EPERM, "CAP_NET_ADMIN"),
        (errno.ENOMEM, "no memory"),
        (4097, "error 4097"),
    ],
)
def test_error_numbers_become_words(code: int, words: str) -> None:
    assert words in ipset._words("ru", OSError(code, "")) and ipset._words("ru", OSError(code, "")).startswith(
        "ipset ru: "
    )


@pytest.mark.parametrize("count", [0, 1, 65_535, 65_536, 1_000_000])
def test_every_capacity_holds_its_count_and_the_mark(count: int) -> None:
    assert ipset.capacity(count) >= count and ipset.capacity(count) & 0xFFFF == ipset.MARK
