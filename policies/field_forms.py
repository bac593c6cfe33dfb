"""How the values of match fields are written: text <-> (value, mask), both as numbers.

A form has one text for each value and mask, so that two matches are the same exactly when their texts are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Protocol

from policies.kinds import Unfit, described

ANY = ""  # the text of a value that matches everything (a mask without bits)

Bits = tuple[int, int]  # (value, mask); no bit of the value is outside the mask

_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,32}|0|[1-9][0-9]{0,38}")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_FLAGS = re.compile(r"(?:[+-][a-z]+)+")


class Form(Protocol):
    """``parse`` raises Unfit for what is no value of the field; ``text`` writes what ``parse`` reads.

    Bits that ``parse`` never gives have a text too, which it does not take for others.
    """

    @property
    def bits(self) -> int: ...

    def parse(self, text: str) -> Bits: ...

    def text(self, value: int, mask: int) -> str: ...


@dataclass(frozen=True)
class Number:
    """A number, or number/mask. ``step``: the lowest bits that the field does not have, as a power of two."""

    bits: int
    maskable: bool = False
    hexadecimal: bool = False
    digits: int = 1  # of the hexadecimal form
    low: int = 0
    high: int | None = None  # None: whatever fits
    step: int = 1

    def parse(self, text: str) -> Bits:
        full = (1 << self.bits) - 1
        value, slash, mask = text.partition("/")
        bits = int(mask, 0) if _NUMBER.fullmatch(mask) else -1
        if slash and (not self.maskable or not 0 <= bits <= full):
            raise Unfit(f"{self._expected()}{'/mask' if self.maskable else ' without a mask'}, got {described(text)}")
        number = int(value, 0) if _NUMBER.fullmatch(value) else -1
        high = full if self.high is None else self.high
        if not self.low <= number <= high or number % self.step:
            raise Unfit(f"{self._expected()}, got {described(text)}")
        if not slash:
            return number, full
        return _inside(number, bits, text)

    def text(self, value: int, mask: int) -> str:
        if mask == (1 << self.bits) - 1:
            return f"0x{value:0{self.digits}x}" if self.hexadecimal else str(value)
        return f"{value:#x}/{mask:#x}" if mask else ANY

    def _expected(self) -> str:
        high = (1 << self.bits) - 1 if self.high is None else self.high
        multiple = f" that is a multiple of {self.step}" if self.step > 1 else ""
        return f"expected a number from {self.low} to {high:#x}{multiple}" if high > 0xFFFFF else (
            f"expected a number from {self.low} to {high}{multiple}"
        )  # fmt: skip


@dataclass(frozen=True)
class Vlan:
    """A VLAN id, or id/mask, of tagged packets; "any" tagged packet; "none": packets without a tag.

    On the wire a bit above the id says that there is a tag at all (OpenFlow 1.3.5, 7.2.3.7).
    """

    bits: int = 13
    present = 0x1000

    def parse(self, text: str) -> Bits:
        if text in ("none", "0xffff"):
            return 0, 0x1FFF
        if text == "any":
            return self.present, self.present
        value, mask = Number(12, maskable=True).parse(text)
        return value | self.present, mask | self.present

    def text(self, value: int, mask: int) -> str:
        if (value, mask) == (0, 0x1FFF):
            return "none"
        if mask == self.present == value:
            return "any"
        if value & mask & self.present:
            return Number(12, maskable=True).text(value & 0xFFF, mask & 0xFFF)
        if mask & self.present:
            return f"{value:#x}/{mask:#x}"
        return f"{value:#x}/{mask:#x}, tagged or not" if mask else ANY


@dataclass(frozen=True)
class Mac:
    bits: int = 48

    def parse(self, text: str) -> Bits:
        address, slash, mask = text.lower().partition("/")
        mask = mask if slash else "ff:ff:ff:ff:ff:ff"
        if not _MAC.fullmatch(address) or not _MAC.fullmatch(mask):
            raise Unfit(f"expected an Ethernet address such as 02:00:00:00:00:01, got {described(text)}")
        return _inside(int(address.replace(":", ""), 16), int(mask.replace(":", ""), 16), text)

    def text(self, value: int, mask: int) -> str:
        if not mask:
            return ANY
        address = value.to_bytes(6, "big").hex(":")
        return address if mask == (1 << 48) - 1 else f"{address}/{mask.to_bytes(6, 'big').hex(':')}"


@dataclass(frozen=True)
class Address:
    """An IP address; address/length; or address/mask with any bits (0.0.0.1/0.0.0.1: the odd addresses)."""

    bits: int
    title: str
    example: str

    def parse(self, text: str) -> Bits:
        address, slash, mask = text.partition("/")
        try:
            value, bits = self._number(address), self._mask(mask) if slash else (1 << self.bits) - 1
        except (OSError, ValueError):
            value, bits = 1, 0
        # 192.0.2.0/0.0.0.255, a mask turned inside out as routers' access lists have them, is no address either.
        if value & ~bits and bits & (bits + 1) == 0:
            raise Unfit(f"expected an {self.title} address or subnet such as {self.example}, got {described(text)}")
        if value & ~bits:
            right = self.text(value & bits, bits) or "no match at all"
            raise Unfit(f"{described(text)} has host bits set outside its mask: write {right}")
        return value, bits

    def text(self, value: int, mask: int) -> str:
        full = (1 << self.bits) - 1
        if not mask:
            return ANY
        if mask == full:
            return self._text(value)
        length = mask.bit_count()
        whole = mask == full ^ (full >> length)
        return f"{self._text(value)}/{length if whole else self._text(mask)}"

    def _mask(self, text: str) -> int:
        if _LENGTH.fullmatch(text) and int(text) <= self.bits:
            return ((1 << int(text)) - 1) << (self.bits - int(text))
        return self._number(text)

    def _number(self, text: str) -> int:
        return int.from_bytes(inet_pton(AF_INET if self.bits == 32 else AF_INET6, text), "big")

    def _text(self, value: int) -> str:
        octets = value.to_bytes(self.bits // 8, "big")
        return inet_ntop(AF_INET if self.bits == 32 else AF_INET6, octets)


@dataclass(frozen=True)
class Words:
    """A few words, each with its value and mask."""

    bits: int
    words: Mapping[str, Bits]

    def parse(self, text: str) -> Bits:
        if text not in self.words:
            raise Unfit(f"expected {', '.join(self.words)}, got {described(text)}")
        return self.words[text]

    def text(self, value: int, mask: int) -> str:
        names = {bits: word for word, bits in self.words.items()}
        return names.get((value, mask), f"{value:#x}/{mask:#x}") if mask else ANY


@dataclass(frozen=True)
class Flags:
    """Flags that are set (+) or not (-), such as +syn-ack; or a number/mask."""

    bits: int
    flags: Mapping[str, int]

    def parse(self, text: str) -> Bits:
        if not text or text[0] not in "+-":
            return Number(self.bits, maskable=True).parse(text)
        value = mask = 0
        for sign, name in re.findall(r"([+-])([a-z]*)", text) if _FLAGS.fullmatch(text) else (("+", ""),):
            bit = self.flags.get(name, 0)
            if not bit or mask & bit:
                known = ", ".join(self.flags)
                raise Unfit(
                    f"expected flags such as +{next(iter(self.flags))}, each once, of {known}; got {described(text)}"
                )
            mask |= bit
            value |= bit if sign == "+" else 0
        return value, mask

    def text(self, value: int, mask: int) -> str:
        if mask & ~sum(self.flags.values()):
            return Number(self.bits, maskable=True, hexadecimal=True).text(value, mask)
        return "".join(("+" if value & bit else "-") + name for name, bit in self.flags.items() if mask & bit)


def ipv4_number(address: str) -> int:
    """The number of a single IPv4 address; quicker than a form. Raises OSError for what is none, and for 010.0.0.1."""
    return int.from_bytes(inet_pton(AF_INET, address), "big")


def _inside(value: int, mask: int, text: str) -> Bits:
    if value & ~mask:
        raise Unfit(f"{described(text)} has bits set that its mask leaves out")
    return value, mask
