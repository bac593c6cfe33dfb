"""Kernel settings of containers that are not ours: what they were before we changed them, so that they get it back.

A network namespace of ours takes its settings with it. A container's stays, and its former values are nowhere but here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from host_agent.drivers import files, netlink, sysctl
from host_agent.drivers.namespaces import Namespaces
from host_agent.state import NODE, File, HostState, Sysctl

FILE = "former-settings.json"


@dataclass(frozen=True)
class Change:
    former: str
    ours: str


@dataclass(frozen=True)
class Place:
    """``inode`` tells the namespace from the one that a container gets when it is started again."""

    inode: int
    changes: Mapping[str, Change] = field(default_factory=dict)  # by key


def remember(state_dir: Path, namespaces: Namespaces, settings: Mapping[str, Iterable[Sysctl]]) -> None:
    """Before these are written, by namespace. The first value that was found is the one to give back.

    A link that is not there yet will be one of ours, and takes its settings with it.
    """
    containers = {
        name: inode
        for name in settings
        if name != NODE and (inode := namespaces.inode(name)) is not None
        if not netlink.links(namespaces.netlink(name))["lo"].ours
    }
    if not containers:
        return
    known = _read(state_dir)
    after = dict(known)
    for name, inode in containers.items():
        place = known.get(name)
        before = place.changes if place and place.inode == inode else {}
        ours = {it.key: it.value for it in settings[name]}
        with namespaces.inside(name):
            found = {it.key: it.value for it in sysctl.read(ours)}
        formers = {**found, **{key: change.former for key, change in before.items()}}
        # In the order in which they are written: that of ip_forward changes others.
        changed = {key: Change(formers[key], value) for key, value in ours.items() if key in found}
        after[name] = Place(inode, {**before, **changed})
    if after != known:
        _write(state_dir, after)


def give_back(state_dir: Path, wanted: HostState, namespaces: Namespaces) -> int:
    """Write the former values of what is no longer wanted, but where somebody else has set another value since."""
    known = _read(state_dir)
    kept: dict[str, Place] = {}
    count = 0
    for name, place in known.items():
        inode = namespaces.inode(name)
        if inode is None:  # not known here: it may be again
            kept[name] = place
        if inode != place.inode:
            continue  # else the container has gone, and its settings with it
        still = {it.key for it in wanted.namespace(name).sysctls}
        with namespaces.inside(name):
            there = {it.key: it.value for it in sysctl.read(place.changes)}
            for key, change in place.changes.items():
                if key not in still and there.get(key) == change.ours != change.former:
                    sysctl.write(Sysctl(key, change.former))
                    count += 1
        changes = {key: change for key, change in place.changes.items() if key in still}
        if changes:
            kept[name] = Place(place.inode, changes)
    if kept != known:
        _write(state_dir, kept)
    return count


def _read(state_dir: Path) -> dict[str, Place]:
    """Empty if nothing is remembered, or what is remembered is damaged."""
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        found = json.loads((state_dir / FILE).read_text())
        return {
            name: Place(int(place["inode"]), {key: Change(*map(str, it)) for key, it in place["changes"].items()})
            for name, place in found.items()
        }
    return {}


def _write(state_dir: Path, places: Mapping[str, Place]) -> None:
    path = state_dir / FILE
    if not places:
        path.unlink(missing_ok=True)
        return
    found = {
        name: {"inode": place.inode, "changes": {key: [it.former, it.ours] for key, it in place.changes.items()}}
        for name, place in places.items()
    }
    files.write(File(str(path), f"{json.dumps(found, indent=2)}\n".encode()))
