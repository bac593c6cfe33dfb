"""The agent's own files: written whole or not at all, readable by root only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from glob import glob
from pathlib import Path

from host_agent.state import File


def read(wanted: Iterable[File], swept: Iterable[str] = ()) -> frozenset[File]:
    """The files at these paths, and those that match one of these patterns, glob(7)."""
    paths = {Path(file.path) for file in wanted}
    paths |= {Path(path) for pattern in swept for path in glob(pattern)}
    found = set()
    for path in paths:
        with suppress(FileNotFoundError):
            found.add(File(str(path), path.read_bytes(), path.stat().st_mode & 0o777))
    return frozenset(found)


def write(file: File) -> None:
    path = Path(file.path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, file.mode)  # whatever the umask, which a unit sets
        stream.write(file.content)
        stream.flush()
        os.fsync(stream.fileno())
    aside.rename(path)
    _sync(path.parent)


def remove(file: File) -> None:
    Path(file.path).unlink(missing_ok=True)


def forget_hash(path: Path) -> None:
    """Remove the file that is written for the operator alone, and its directory if that is empty then."""
    with suppress(OSError):
        path.unlink()
        path.parent.rmdir()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
