"""The last policy that was put in force and found so, with the addresses its names had: what a boot without a name
server starts from, and what serves while the policy file holds something invalid or unconfirmed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path

from host_agent.drivers import files
from host_agent.state import File

DIRECTORY = "last-good"
SUFFIXES = (".json", ".yaml", ".yml")


def keep(state_dir: Path, text: str, suffix: str, addresses: Mapping[str, tuple[IPv4Address, ...]]) -> None:
    """Remember the policy's text and the addresses. Writes nothing if this is what is remembered already."""
    directory = state_dir / DIRECTORY
    known = {name: list(map(str, found)) for name, found in sorted(addresses.items())}
    path = directory / f"policy{suffix if suffix in SUFFIXES else '.json'}"
    wanted = {
        File(str(path), text.encode()),
        File(str(directory / "addresses.json"), f"{json.dumps(known, indent=2)}\n".encode()),
    }
    for file in wanted - files.read(wanted):
        files.write(file)
    for other in SUFFIXES:
        if other != path.suffix:
            (directory / f"policy{other}").unlink(missing_ok=True)


def policy_path(state_dir: Path) -> Path | None:
    paths = [state_dir / DIRECTORY / f"policy{suffix}" for suffix in SUFFIXES]
    return next((path for path in paths if path.exists()), None)


def addresses(state_dir: Path) -> dict[str, tuple[IPv4Address, ...]]:
    """Empty if none are remembered, or what is remembered is damaged."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        known = json.loads((state_dir / DIRECTORY / "addresses.json").read_text())
        return {str(name): tuple(map(IPv4Address, found)) for name, found in known.items()}
    return {}


def digest(text: str) -> str:
    """What tells one text of a policy from another."""
    return sha256(text.encode()).hexdigest()
