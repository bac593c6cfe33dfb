"""``make demo``: build the lab in a sandbox, drive real traffic through the chain, print what was seen.

This process stays on the machine: it starts the sandbox, shows progress, and in the end checks that nothing is
left. The sandbox's first process is ``inside.py``; it reports over its standard output, a JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import traces
from door import open_door
from line import Line
from processes import only_child
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sandbox import dying_with_parent, sandboxed

from host_agent.status.tables import drawn
from policies.errors import DocumentError
from policies.load import load

HERE = Path(__file__).resolve().parent
POLICY = HERE.parent / "policies" / "documents" / "privacy-router.json"
DIRECTORY = Path("/tmp/privacy-router-lab")
TOOLS = {
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "ovs-vswitchd": "openvswitch-switch",
    "mnexec": "mininet",
    "iptables": "iptables",
    "ipset": "ipset",
    "wg": "wireguard-tools",
}


def main() -> int:
    options = _options()
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if os.geteuid() != 0:
        print("demo: must be run as root: it makes network namespaces and a private Open vSwitch", file=sys.stderr)
        return 3
    if missing:
        print(f"demo: missing packages: {' '.join(missing)}; run: make setup", file=sys.stderr)
        return 3
    directory: Path = options.directory.resolve()
    if options.down:
        return take_down(directory)
    if running(directory):
        print(f"demo: a lab runs already in {directory}; remove it: {removal(directory)}", file=sys.stderr)
        return 4
    if directory.exists() and any(directory.iterdir()) and not (directory / "before.json").exists():
        print(f"demo: {directory} is no directory of an earlier demo, and is not empty", file=sys.stderr)
        return 2
    if not is_fit(options.policy):
        return 2
    shutil.rmtree(directory, ignore_errors=True)
    return run(options, directory)


def removal(directory: Path) -> str:
    """The command that takes down a lab in this directory."""
    return "make demo-down" if directory == DIRECTORY else f"{sys.executable} {__file__} --down --directory {directory}"


def is_fit(file: Path) -> bool:
    """Whether the lab can show this policy. What is wrong with it is said."""
    from needs import unmet  # which needs Mininet: whether that is there has been asked by now

    try:
        lacking = list(unmet(load(file)))
    except DocumentError as error:
        print(error, file=sys.stderr)
        return False
    if lacking:
        print(f"demo: {file} lacks what the lab's checks look for: {'; '.join(lacking)}", file=sys.stderr)
    return not lacking


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo",
        description="Build a data centre, an Internet and the privacy router in a sandbox of their own, drive real "
        "traffic through the chain, and print what was seen. Nothing of the machine is touched.",
        epilog="Exit codes: 0 every line held; 1 not every line, or the demo broke off; 2 the policy is invalid, or "
        "nothing that the lab can show; 3 not root, or packages are missing; 4 a lab is up in the directory.",
    )
    parser.add_argument("--policy", type=Path, default=POLICY, help="the policy document (default: the example)")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="logs, keys and state of the lab")
    parser.add_argument("--keep", action="store_true", help="leave the lab up and say how to look around")
    parser.add_argument("--down", action="store_true", help="remove a lab that was kept")
    parser.add_argument("--json", type=Path, help="also write the lines to this file")
    return parser.parse_args()


def run(options: argparse.Namespace, directory: Path) -> int:
    """Run the whole demo and print its table. Returns the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    before = traces.snapshot(directory)
    directory.mkdir(mode=0o700, parents=True)
    (directory / "before.json").write_text(json.dumps({kind: sorted(lines) for kind, lines in before.items()}))
    policy = directory / f"policy{options.policy.suffix}"  # its own: the lab's operator may edit it, by REST as well
    shutil.copyfile(options.policy, policy)
    begin = time.monotonic()
    door = open_door()
    lab = start(options, policy, directory, door.fileno())
    lines, error = [], None
    try:
        for message in messages(lab):
            if "progress" in message:
                console.print(f"{time.monotonic() - begin:5.1f} s  {message['progress']}", highlight=False)
            elif "line" in message:
                lines.append(Line(**message["line"]))
            else:
                break
        else:
            where = [f"in line {line.number}, {line.what}: {line.measured}" for line in lines if line.broke_off]
            error = f"The demo broke off {where[0] if where else f'with exit code {lab.wait()}'}"
    except KeyboardInterrupt:
        error = "The demo was interrupted"
    if error or not options.keep:
        lab.kill()
        lab.wait()
    if not error and not options.keep:
        if all(line.held for line in lines):
            shutil.rmtree(directory)
        lines.append(nothing_is_left(before, directory))
    if lines:
        show(console, lines)
    if options.json:
        options.json.write_text(json.dumps([asdict(line) for line in lines], indent=1))
    held = error is None and all(line.held for line in lines)
    if not held:
        print(f"\n{error or 'Not every line held'}. Logs: {directory}/logs, {directory}/lab.log", file=sys.stderr)
    else:
        console.print(f"\nEvery line held ({time.monotonic() - begin:.0f} s).", highlight=False)
    if options.keep and not error:
        entrance = f"nsenter --all --target {only_child(lab.pid)} --"
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        print(how_to_look_around(entrance, url, directory, policy))
    return 0 if held else 1


def start(options: argparse.Namespace, policy: Path, directory: Path, door: int) -> subprocess.Popen[str]:
    """Start the sandbox. Unless it shall be kept it dies with this process, however that ends."""
    script = str(HERE / "inside.py")
    end = "keep" if options.keep else "take-down"
    command = sandboxed([sys.executable, script, str(directory), str(policy), str(door), end])
    lab = subprocess.Popen(
        command if options.keep else dying_with_parent(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=(directory / "lab.log").open("wb"),
        text=True,
        env={**os.environ, traces.MARK: str(directory)},
        pass_fds=[door],
        start_new_session=True,
    )
    (directory / "pid").write_text(str(lab.pid))
    return lab


def messages(lab: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What the lab reports: progress, lines, "end"; it may also end without a word."""
    assert lab.stdout is not None
    for text in lab.stdout:
        yield json.loads(text)


def nothing_is_left(before: dict[str, set[str]], directory: Path) -> Line:
    left = traces.left_in_the_end(before, directory)
    return Line(9, "Machine: nothing is left of the lab", not left, traces.in_words(left))


def show(console: Console, lines: list[Line]) -> None:
    table = Table(box=None, pad_edge=False)
    for title, justify in (("", "right"), ("What was seen", "left"), ("Measured", "left"), ("", "left")):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for line in lines:
        mark = "[green]held[/]" if line.held else f"[bold red]{'broke off' if line.broke_off else 'FAILED'}[/]"
        table.add_row(str(line.number), escape(line.what), escape(line.measured), mark)
    console.print()
    console.print(drawn(table, console), soft_wrap=True)


def how_to_look_around(enter: str, url: str, directory: Path, policy: Path) -> str:
    """What may be typed: ``enter`` goes before a command in the lab."""
    return f"""
The lab is still up. Look around:
  a page         {url}/
  flows          curl {url}/v1/flows     # also /v1/chain, /stats/switches, /stats/flow/DPID
  the policy     {policy}     # a copy: edit it, or PUT another one (docs/rest.md)
  REST's token   TOKEN=$(cat {directory}/state/rest-token)
  flow entries   {enter} ovs-ofctl -O OpenFlow13 --names dump-flows ovsbr0
  the client     {enter} ip netns exec client curl http://198.51.100.80/
  a container    {enter} ip netns exec ct101 bash
                 # also ct100, warp, ct200, ct201, client, vps, warpend, internet
  host agent     {enter} \\
                   {sys.prefix}/bin/privacy-agent status \\
                   --policy {policy} \\
                   --state-dir {directory}/state --config-dir {directory}/config
  logs           {directory}/logs
  take it down   {removal(directory)}"""


def running(directory: Path) -> int | None:
    """The process id of the sandbox that was started with this directory, if it still runs."""
    try:
        pid = int((directory / "pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if str(directory).encode() in command else None


def take_down(directory: Path) -> int:
    """Remove a lab that was kept. Returns the exit code."""
    pid = running(directory)
    if pid is None:
        print(f"demo: no lab is up in {directory}")
        return 0
    os.kill(pid, signal.SIGKILL)
    before = {kind: set(lines) for kind, lines in json.loads((directory / "before.json").read_text()).items()}
    shutil.rmtree(directory)
    left = traces.left_in_the_end(before, directory)
    print("The lab is down." if not left else "Still there:\n" + "\n".join(left))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
