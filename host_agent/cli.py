"""``privacy-agent``: make this machine's network as the policy document says, show it, or take it down again."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from host_agent import actual, former_settings, last_good, operate
from host_agent.apply import apply
from host_agent.confirm.restore import was_undone
from host_agent.countries.gather import gather
from host_agent.desired import desired
from host_agent.doctor.checks import in_the_way
from host_agent.doctor.others import others
from host_agent.drivers import ovs
from host_agent.drivers.files import forget_hash
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError, Conflict, Refused
from host_agent.facts import survey
from host_agent.facts.drawn import drawn
from host_agent.lock import locked
from host_agent.options import Parser, Version, common, lacking_topology
from host_agent.output import Output
from host_agent.plan import plan
from host_agent.state import HostState
from host_agent.status.report import in_sync, in_words, status
from policies.addresses import address_plan
from policies.errors import DocumentError
from policies.host_model import Policy
from policies.load_node import load_for_node
from policies.words import counted

EXIT_CODES = """exit codes: 0 done or in sync, 1 differences or not converged, 2 bad usage or invalid document,
3 something is missing on this machine, 4 another run holds the lock"""
INVALID = 2
BY_POLICY = ("apply", "plan", "status", "run", "explain", "doctor")  # the others look at what was in force


def main(argv: Sequence[str] | None = None, prog: str = "privacy-agent") -> int:
    arguments = _parser(prog).parse_args(argv)
    output = Output(arguments)
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    try:
        return _run(arguments, output)
    except DocumentError as error:
        return _failed(output, INVALID, [*map(str, error.problems), *_advice(arguments.policy)])
    except AgentError as error:
        return _failed(output, error.exit_code, list(error.problems))
    except OSError as error:
        return _failed(output, AgentError.exit_code, [f"the state of this machine cannot be read: {error}"])


def _parser(prog: str) -> Parser:
    words = "Make this machine's network as the policy document says, keep it so, show it, or take it down again."
    parser = Parser(prog=prog, description=words, epilog=EXIT_CODES)
    parser.add_argument("--version", action=Version)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, words in {
        "apply": "make the machine as the policy says, and verify it",
        "plan": "say what apply would do; write nothing",
        "status": "say how things are, what is waiting, and who shook hands when",
        "stop": "remove everything of ours and nothing else; keys and profiles stay in the state directory",
    }.items():
        operate.add_options(verb, verbs.add_parser(verb, help=words, description=words, parents=[common(verb)]))
    operate.add_verbs(verbs, prog)
    return parser


def _run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.verb in BY_POLICY and (lacking := lacking_topology(arguments)):
        raise Refused(lacking)
    if hasattr(arguments, "operate"):
        code: int = arguments.operate(arguments, output)
        return code
    if arguments.verb == "stop":
        return _stop(arguments, output)
    if arguments.verb == "apply":
        policy = load_for_node(arguments.policy, arguments.topology, arguments.node)
        operate.require_root()
        with locked(arguments.state_dir):
            return _apply(policy, arguments, output)
    policy, problems = _policy_or_last_good(arguments, output)
    operate.require_root()
    code = _look(policy, problems, arguments, output)
    return INVALID if problems else code


def _policy_or_last_good(arguments: argparse.Namespace, output: Output) -> tuple[Policy, list[str]]:
    """What to look at the machine by, and what is wrong with the document if it is not what that says.

    Raises DocumentError if there is no last good policy either.
    """
    try:
        return load_for_node(arguments.policy, arguments.topology, arguments.node), []
    except DocumentError as error:
        operate.require_root()
        policy = last_good.load(arguments.state_dir, arguments.node)
        if policy is None:
            raise
        problems = [*map(str, error.problems), *_advice(arguments.policy)]
        instead = f"what follows goes by the last good policy: {last_good.policy_path(arguments.state_dir)}"
        for words in (*problems, instead):
            output.complaint(words)
        return policy, problems


def _advice(policy: Path) -> list[str]:
    return [] if policy.exists() else ["name a document by --policy FILE, or install one there: README.md, step 1"]


def _apply(policy: Policy, arguments: argparse.Namespace, output: Output) -> int:
    facts = survey.survey(policy, arguments.state_dir, arguments.config_dir, countries=gather)
    wanted = desired(policy, facts)
    with Namespaces({**last_good.namespaces(arguments.state_dir, arguments.node), **facts.namespaces}) as namespaces:
        found = actual.read_whole(wanted, namespaces)
        operate.before_apply(arguments, found, plan(wanted, found), facts, namespaces)
        count = apply(wanted, namespaces, arguments.state_dir, output.done)
        former_settings.give_back(arguments.state_dir, wanted, namespaces)
        beside = in_the_way(others(wanted, namespaces), wanted)
    operate.after_apply(arguments, facts, output)
    for words in (*in_words(wanted.waiting), *(f"in the way: {it}" for it in beside)):
        output.line(words)
    output.line(f"{in_sync(wanted.waiting, beside)}: {counted(count, 'step')}, {output.seconds:.2f} s")
    seconds = round(output.seconds, 3)
    output.result(in_sync=True, steps=output.steps, waiting=wanted.waiting, strangers=beside, seconds=seconds)
    return 0


def _look(policy: Policy, problems: list[str], arguments: argparse.Namespace, output: Output) -> int:
    facts = survey.survey(policy, arguments.state_dir, arguments.config_dir)
    wanted = desired(policy, facts)
    more: dict[str, object] = {"problems": problems} if problems else {}
    with Namespaces(facts.namespaces) as namespaces:
        found = actual.read_whole(wanted, namespaces)
        if arguments.verb == "plan":
            if found.strangers:
                raise Conflict(*sorted(map(str, found.strangers)))
            beside = in_the_way(others(wanted, namespaces), wanted)
            steps = plan(wanted, found)
            new = drawn(facts.identity, arguments.state_dir, wanted.files)
            return operate.show_plan(arguments, steps, new, facts.namespaces, wanted.waiting, beside, more, output)
        addresses = address_plan(policy.privacy_router) if policy.privacy_router else None
        report = status(wanted, found, addresses, namespaces, arguments.state_dir)
        report = replace(report, undone=was_undone(arguments.policy, arguments.state_dir))
    output.result(**report.as_json(), **more)
    if not arguments.json:
        from host_agent.status.tables import show  # takes long to load, and only ``status`` shows tables

        show(report, arguments.kernel, output.text)
    return 0 if report.in_sync else 1


def _stop(arguments: argparse.Namespace, output: Output) -> int:
    """Works without a valid policy: what is ours is found by its marks."""
    try:
        policy = load_for_node(arguments.policy, arguments.topology, arguments.node)
    except DocumentError:
        policy = None
        output.line(f"{arguments.policy}: no valid policy; going by the last good one and the marks on this machine")
    operate.require_root()
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
    steps = counted(count, "step")
    output.line(f"removed: {steps}, {output.seconds:.2f} s; keys and profiles stay in {arguments.state_dir}")
    output.result(in_sync=True, steps=output.steps, kept=str(arguments.state_dir))
    return 0


def _failed(output: Output, code: int, problems: list[str]) -> int:
    for problem in problems:
        output.complaint(problem)
    output.result(in_sync=False, exit_code=code, problems=problems, steps=output.steps)
    return code
