"""What a lab could leave behind, inside its sandbox and on the machine: for the demo's last line."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 20.0  # seconds
MARK = "PRIVACY_ROUTER_LAB"  # a variable in the environment of every process of a lab: its directory
# One command per kind of thing. A tool that is missing makes nothing, so it can leave nothing.
SNAPSHOTS = {
    "links": ["ip", "-oneline", "-brief", "link"],
    "ip rules": ["ip", "rule"],
    "ip rules (IPv6)": ["ip", "-6", "rule"],
    "routes": ["ip", "-4", "route", "show", "table", "all"],
    "iptables": ["iptables", "-S"],
    "iptables mangle": ["iptables", "-t", "mangle", "-S"],
    "iptables nat": ["iptables", "-t", "nat", "-S"],
    "ipsets": ["ipset", "list", "-name"],
    "bridges": ["ovs-vsctl", "--timeout=2", "list-br"],
}


def snapshot(lab: Path | None = None) -> dict[str, set[str]]:
    """The present state: kind -> its lines. Processes are all that are seen, or those of one lab."""
    state = {kind: _lines(command) for kind, command in SNAPSHOTS.items()}
    namespaces = Path("/run/netns")
    state["network namespaces"] = {each.name for each in namespaces.iterdir()} if namespaces.exists() else set()
    state["files"] = {str(each) for each in (*Path("/run/wireguard").glob("*"), *filter(None, [lab])) if each.exists()}
    state["processes"] = set(_processes(f"{MARK}={lab}" if lab else ""))
    return state


def left_behind(before: dict[str, set[str]], after: dict[str, set[str]]) -> list[str]:
    """What is there now and was not before, in words."""
    return [f"{kind}: {line}" for kind, lines in after.items() for line in sorted(lines - before[kind])]


def left_in_the_end(before: dict[str, set[str]], lab: Path | None = None, but: tuple[str, ...] = ()) -> list[str]:
    """What is left behind, ``but`` apart, when the lab's processes, which were killed, have had time to end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        left = [each for each in left_behind(before, snapshot(lab)) if each not in but]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def in_words(left: list[str]) -> str:
    kinds = [*SNAPSHOTS, "network namespaces", "files", "processes"]
    return "; ".join(left) or f"0 differences in {len(kinds)} kinds of objects"


def _lines(command: list[str]) -> set[str]:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return set()
    return set(result.stdout.splitlines())


def _processes(mark: str) -> Iterator[str]:
    """Processes that have this in their environment, as "pid command"."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # it has ended meanwhile
        if command and (not mark or mark.encode() in environment):
            yield f"{entry.name} {command[:60]}"
