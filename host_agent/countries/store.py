"""Copies of what sources said, aggregated, in the state directory: what is in force after a restart needs no new work.

A copy is one file: a line of JSON, then the packed prefixes, whose digest the line holds. A file that is damaged
counts as absent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from host_agent.countries.values import Key
from host_agent.drivers import files
from host_agent.prefixes import Prefixes, width
from host_agent.state import File

FORMAT = 1
Keep = Callable[[Path, bytes], None]  # puts a file in place


@dataclass(frozen=True)
class Copy:
    prefixes: Prefixes
    source: str  # a path or an address
    stamp: str  # of a local file: what changes when it changes
    digest: str  # SHA-256 of what the source gave, hexadecimal
    time: float  # when that was made or fetched, seconds since the epoch


@dataclass(frozen=True)
class Failure:
    time: float
    reason: str


def copy_path(state_dir: Path, key: Key, origin: str) -> Path:
    return state_dir / "countries" / f"{key[0]}.{key[1]}.{origin}"


def failure_path(state_dir: Path, key: Key) -> Path:
    return state_dir / "countries" / f"{key[0]}.{key[1]}.failure.json"


def keep(path: Path, content: bytes) -> None:
    """Whole or not at all, for root's eyes only."""
    files.write(File(str(path), content))


def keep_nothing(path: Path, content: bytes) -> None:
    """For those who only look."""


def encode(copy: Copy) -> bytes:
    head = {
        "format": FORMAT,
        "family": copy.prefixes.family,
        "source": copy.source,
        "stamp": copy.stamp,
        "source_sha256": copy.digest,
        "time": copy.time,
        "sha256": sha256(copy.prefixes.packed).hexdigest(),
    }
    return json.dumps(head).encode() + b"\n" + copy.prefixes.packed


def load(path: Path, key: Key) -> Copy | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        line, _, packed = path.read_bytes().partition(b"\n")
        head = json.loads(line)
        whole = sha256(packed).hexdigest() == head["sha256"] and len(packed) % width(key[1]) == 0
        if head["format"] == FORMAT and head["family"] == key[1] and whole:
            prefixes = Prefixes(key[1], packed)
            texts = (str(head["source"]), str(head["stamp"]), str(head["source_sha256"]))
            return Copy(prefixes, *texts, float(head["time"]))
    return None


def load_failure(path: Path) -> Failure | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        head = json.loads(path.read_bytes())
        return Failure(float(head["time"]), str(head["reason"]))
    return None


def encode_failure(failure: Failure) -> bytes:
    return json.dumps({"time": failure.time, "reason": failure.reason}).encode()
