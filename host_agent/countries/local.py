"""Sources on this machine: the operator's files and the ranges that Debian's package tor-geoipdb installs."""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from host_agent.countries.store import Copy
from host_agent.countries.values import SourceFailed
from host_agent.prefixes import BITS, BadPrefixes, Family, Prefixes, from_ranges, parse

LIMIT = 16 << 20  # bytes of an operator's file
PACKAGE_LIMIT = 64 << 20
ZONE: dict[Family, str] = {"ipv4": "zone", "ipv6": "zone6"}
PACKAGE: dict[Family, str] = {"ipv4": "geoip", "ipv6": "geoip6"}


@dataclass(frozen=True)
class Reading:
    data: bytes
    time: float


def zone_path(zones_dir: Path, code: str, family: Family) -> Path:
    return zones_dir / f"{code}.{ZONE[family]}"


def package_path(directory: Path, family: Family) -> Path:
    return directory / PACKAGE[family]


def stamp(path: Path) -> str | None:
    """What changes when the file changes; None: there is no such file. Raises SourceFailed if that cannot be told."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceFailed(f"{path}: {error.strerror}") from None
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def zone(path: Path, family: Family, mark: str) -> Copy:
    """The prefixes of an operator's file. Raises SourceFailed."""
    reading = _read(path, LIMIT)
    try:
        prefixes = parse(reading.data, family)
    except BadPrefixes as error:
        raise SourceFailed(f"{path}: {error}") from None
    return _copy(prefixes, path, mark, reading)


def package(path: Path, family: Family, codes: Iterable[str], mark: str) -> Mapping[str, Copy]:
    """The prefixes of each country by the package's file, which has them all: none is none. Raises SourceFailed."""
    reading = _read(path, PACKAGE_LIMIT)
    found = {
        code.upper().encode(): bytearray() for code in codes
    }  # first and last addresses, packed: the file is large
    line = re.compile(rb"^([^,\n]*),([^,\n]*),(" + b"|".join(sorted(found)) + rb")\r?$", re.MULTILINE)
    try:
        for first, last, code in map(re.Match.groups, line.finditer(reading.data)):
            found[code] += _address(first, family) + _address(last, family)
    except (OSError, ValueError, OverflowError):
        raise SourceFailed(f"{path}: not a list of address ranges; reinstall the package tor-geoipdb") from None
    return {
        code.decode().lower(): _copy(from_ranges(family, _ranges(bytes(packed), family)), path, mark, reading)
        for code, packed in found.items()
    }


def _ranges(packed: bytes, family: Family) -> Iterator[tuple[int, int]]:
    size = BITS[family] // 8
    for at in range(0, len(packed), 2 * size):
        yield int.from_bytes(packed[at : at + size]), int.from_bytes(packed[at + size : at + 2 * size])


def _address(text: bytes, family: Family) -> bytes:
    """IPv4 is written as a decimal number, IPv6 as usual."""
    return int(text).to_bytes(4) if family == "ipv4" else socket.inet_pton(socket.AF_INET6, text.decode("ascii"))


def _copy(prefixes: Prefixes, path: Path, mark: str, reading: Reading) -> Copy:
    return Copy(prefixes, str(path), mark, sha256(reading.data).hexdigest(), reading.time)


def _read(path: Path, limit: int) -> Reading:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not make us wait
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SourceFailed(f"{path}: not a regular file")
            data = stream.read(limit + 1)
    except OSError as error:
        raise SourceFailed(f"{path}: {error.strerror}") from None
    if len(data) > limit:
        raise SourceFailed(f"{path}: larger than {limit >> 20} MiB")
    return Reading(data, status.st_mtime)
