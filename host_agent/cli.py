"""``privacy-agent``: make this machine's network as the policy document says, show it, or take it down again."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from host_agent import actual, former_settings, last_good, operate, survey
from host_agent.apply import apply
from host_agent.countries.gather import gather
from host_agent.desired import desired
from host_agent.drivers import ovs
from host_agent.drivers.files import forget_hash
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError, Conflict, Refused
from host_agent.lock import locked
from host_agent.plan import plan
from host_agent.report import Status, status
from host_agent.state import HostState
from host_agent.steps import Step
from policies.addresses import address_plan
from policies.errors import DocumentError
from policies.host_model import Policy
from policies.load_node import load_for_node

if TYPE_CHECKING:
    from rich.table import Table

EXIT_CODES = """exit codes: 0 done or in sync, 1 differences or not converged, 2 bad usage or invalid document,
3 something is missing on this machine, 4 another run holds the lock"""


PIPED_WIDTH = 160  # columns of a table that no terminal shows


@dataclass
class Output:
    """Where results go: lines for people, or one JSON object at the end."""

    as_json: bool
    begin: float = field(default_factory=time.perf_counter)
    steps: list[dict[str, object]] = field(default_factory=list)

    def done(self, step: Step, milliseconds: float) -> None:
        self.steps.append({"step": str(step), "ms": round(milliseconds, 1)})
        self.line(f"{milliseconds:8.1f} ms  {step}")

    def line(self, text: str) -> None:
        if not self.as_json:
            print(text, flush=True)

    def result(self, **values: object) -> None:
        if self.as_json:
            print(json.dumps(values, indent=2))

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begin


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    output = Output(arguments.json)
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    try:
        return _run(arguments, output)
    except DocumentError as error:
        return _failed(output, 2, [str(problem) for problem in error.problems])
    except AgentError as error:
        return _failed(output, error.exit_code, list(error.problems))
    except OSError as error:
        return _failed(output, AgentError.exit_code, [f"the state of this machine cannot be read: {error}"])


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    policy = os.environ.get("PRIVACY_ROUTER_POLICY", "/etc/privacy-router/policy.json")
    common.add_argument("--policy", type=Path, default=Path(policy), help="policy document (default: %(default)s)")
    common.add_argument(
        "--state-dir", type=Path, default=Path("/var/lib/privacy-router"), help="keys and rendered files (%(default)s)"
    )
    common.add_argument(
        "--config-dir", type=Path, default=Path("/etc/privacy-router"), help="wgcf-profile.conf (%(default)s)"
    )
    common.add_argument(
        "--topology",
        type=Path,
        default=Path(topology) if (topology := os.environ.get("PRIVACY_ROUTER_TOPOLOGY")) else None,
        help="topology document, if there are several nodes",
    )
    common.add_argument("--node", default=socket.gethostname(), help="this machine's name in it (%(default)s)")
    common.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser = argparse.ArgumentParser(prog="privacy-agent", description=__doc__, epilog=EXIT_CODES)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, words in {
        "apply": "make the machine as the policy says, and verify it",
        "plan": "say what apply would do; write nothing",
        "status": "say how things are, what is waiting, and who shook hands when",
        "stop": "remove everything of ours and nothing else; keys and profiles stay in the state directory",
    }.items():
        operate.add_options(verb, verbs.add_parser(verb, help=words, description=words, parents=[common]))
    operate.add_verbs(verbs, common)
    return parser


def _run(arguments: argparse.Namespace, output: Output) -> int:
    if hasattr(arguments, "operate"):
        code: int = arguments.operate(arguments, output)
        return code
    if arguments.verb == "stop":
        return _stop(arguments, output)
    policy = load_for_node(arguments.policy, arguments.topology, arguments.node)
    _require_root()
    if arguments.verb == "apply":
        with locked(arguments.state_dir):
            return _apply(policy, arguments, output)
    return _look(policy, arguments, output)


def _apply(policy: Policy, arguments: argparse.Namespace, output: Output) -> int:
    facts = survey.survey(policy, arguments.state_dir, arguments.config_dir, countries=gather)
    wanted = desired(policy, facts)
    with Namespaces({**last_good.namespaces(arguments.state_dir, arguments.node), **facts.namespaces}) as namespaces:
        steps = plan(wanted, actual.read(wanted, namespaces))
        operate.before_apply(arguments, wanted, steps, facts, namespaces, output)
        count = apply(wanted, namespaces, arguments.state_dir, output.done)
        former_settings.give_back(arguments.state_dir, wanted, namespaces)
    operate.after_apply(arguments, facts, output)
    for item in wanted.waiting:
        output.line(f"waiting: {item}")
    output.line(f"in sync: {count} steps, {output.seconds:.2f} s")
    output.result(in_sync=True, steps=output.steps, waiting=wanted.waiting, seconds=round(output.seconds, 3))
    return 0


def _look(policy: Policy, arguments: argparse.Namespace, output: Output) -> int:
    facts = survey.survey(policy, arguments.state_dir, arguments.config_dir)
    wanted = desired(policy, facts)
    with Namespaces(facts.namespaces) as namespaces:
        found = actual.read(wanted, namespaces)
        if arguments.verb == "plan":
            return _plan(wanted, found, arguments, output)
        addresses = address_plan(policy.privacy_router) if policy.privacy_router else None
        report = status(wanted, found, addresses, namespaces, arguments.state_dir)
    output.result(**report.as_json())
    if not arguments.json:
        _print_status(report)
    return 0 if report.in_sync else 1


def _plan(wanted: HostState, found: HostState, arguments: argparse.Namespace, output: Output) -> int:
    if found.strangers:
        raise Conflict(*sorted(map(str, found.strangers)))
    steps = plan(wanted, found)
    more = operate.show_plan(arguments, steps, output)
    output.result(in_sync=not steps, steps=list(map(str, steps)), waiting=wanted.waiting, **more)
    return 1 if steps else 0


def _stop(arguments: argparse.Namespace, output: Output) -> int:
    """Works without a valid policy: what is ours is found by its marks."""
    try:
        policy = load_for_node(arguments.policy, arguments.topology, arguments.node)
    except DocumentError:
        policy = None
        output.line(f"{arguments.policy}: no valid policy; going by the last good one and the marks on this machine")
    _require_root()
    survey.require_tools(None)
    operate.before_stop(arguments, output)
    if policy and policy.privacy_router:
        ovs.read()  # a switch that does not run would keep what is ours
    paths = last_good.namespaces(arguments.state_dir, arguments.node)
    paths |= survey.namespaces(policy) if policy else {}
    with locked(arguments.state_dir), Namespaces(paths) as namespaces:
        count = apply(HostState(), namespaces, arguments.state_dir, output.done)
        count += former_settings.give_back(arguments.state_dir, HostState(), namespaces)
    if policy and policy.director:
        forget_hash(Path(policy.director.advanced.tunnel_director.hash_file))
    output.line(f"removed: {count} steps, {output.seconds:.2f} s; keys and profiles stay in {arguments.state_dir}")
    output.result(in_sync=True, steps=output.steps, kept=str(arguments.state_dir))
    return 0


def _require_root() -> None:
    if os.geteuid() != 0:
        raise Refused("privacy-agent works on network namespaces and needs root: run it with sudo")


def _failed(output: Output, code: int, problems: list[str]) -> int:
    for problem in problems:
        print(problem, file=sys.stderr)
    output.result(in_sync=False, exit_code=code, problems=problems, steps=output.steps)
    return code


def _print_status(report: Status) -> None:
    from rich.console import Console  # takes long to load, and only ``status`` prints tables

    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    places = _table("role", "place", "objects", "state")
    for row in report.places:
        differing = f"{row.differences} differ" if row.differences else "in sync"
        places.add_row(row.role, row.place, str(row.objects), differing)
    console.print(places)
    if report.daemons:
        daemons = _table("daemon", "pid", "namespace", "log")
        for daemon in report.daemons:
            daemons.add_row(daemon.name, str(daemon.pid), daemon.namespace, daemon.log)
        console.print(daemons)
    if report.peers:
        peers = _table("WireGuard", "peer", "endpoint", "handshake", "received", "sent")
        for peer in report.peers:
            age = "never" if peer.handshake_age is None else f"{peer.handshake_age} s ago"
            name = f"{peer.namespace}/{peer.device}"
            peers.add_row(name, peer.public_key, peer.endpoint or "-", age, f"{peer.received} B", f"{peer.sent} B")
        console.print(peers)
    if report.tunnels:
        tunnels = _table("tunnel", "state", "judged by", "endpoint", "since")
        for tunnel in report.tunnels:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(tunnel.since))
            tunnels.add_row(tunnel.device, tunnel.state, tunnel.judged_by, tunnel.endpoint, since)
        console.print(tunnels)
    if report.items:
        items = _table("policy item", "family", "outcome", "packets", "bytes")
        for item in report.items:
            items.add_row(item.item, item.family, item.outcome, str(item.packets), str(item.bytes))
        console.print(items)
    for kernel in report.kernel:
        console.print(kernel.command, style="bold", markup=False, highlight=False)
        for line in kernel.lines:
            console.print(f"  {line}", markup=False, highlight=False)
    for title, lines in (
        ("waiting", report.waiting),
        ("in the way", report.strangers),
        ("differs", report.differences),
    ):
        for line in lines:
            console.print(f"{title}: {line}", markup=False, highlight=False)


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
