"""The verbs and options of ``privacy-agent`` for whoever runs a machine: run, boot, confirm, doctor, explain, warp."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from host_agent import boot, last_good, warp_import
from host_agent.confirm import file as confirm_file
from host_agent.confirm import path as confirm_path
from host_agent.confirm import restore as confirm
from host_agent.desired import desired
from host_agent.doctor import checks as doctor
from host_agent.doctor import facts as doctor_facts
from host_agent.doctor.ways import barred
from host_agent.drivers import daemon, ovs
from host_agent.drivers.namespaces import Namespaces
from host_agent.errors import AgentError, Refused
from host_agent.explain import entry as explain_entry
from host_agent.explain import facts as explain_facts
from host_agent.facts import names, survey
from host_agent.facts.drawn import NEW, Drawn
from host_agent.facts.values import Facts
from host_agent.options import Parser, common
from host_agent.output import Output
from host_agent.run.lock import end_running
from host_agent.run.log import Log
from host_agent.run.policy import Places
from host_agent.run.service import run
from host_agent.state import DEGRADED, HostState
from host_agent.status.report import in_sync, in_words
from host_agent.steps import Step, script
from policies.errors import DocumentError
from policies.host_model import Policy
from policies.load_node import load_for_node
from policies.words import counted

LEAST_TIME, LONGEST_TIME = 3, 3600  # seconds to confirm


def add_options(verb: str, parser: argparse.ArgumentParser) -> None:
    """What a verb can be told beside what all can."""
    if verb == "apply":
        parser.add_argument(
            "--confirm", type=int, metavar="SECONDS", help="restore the former state unless privacy-agent confirm comes"
        )
        parser.add_argument("--force", action="store_true", help="go on where your own connection may be cut")
    if verb == "plan":
        parser.add_argument("--commands", action="store_true", help="also print the commands that would do the same")
    if verb == "status":
        parser.add_argument(
            "--kernel",
            action="store_true",
            help="also print what the kernel holds: rules with counters, ip rules, routes",
        )


def add_verbs(verbs: Any, prog: str) -> None:
    reader = Parser(add_help=False, parents=[common("explain")])
    reader.add_argument("client", metavar="CLIENT", help="the client's IP address")
    reader.add_argument("destination", metavar="DESTINATION", help="an IP address or a host name")
    reader.add_argument("service", metavar="PROTOCOL/PORT", nargs="?", default="tcp/443", help="default: %(default)s")
    words = "say which rule, set, mark, routing table and device decide about a client's packet"
    verbs.add_parser("explain", help=words, description=words, parents=[reader]).set_defaults(operate=_explain)
    _add_warp(verbs, prog)
    for function, words in (
        (_run, "put the policy in force and keep it so; ending it removes nothing"),
        (_boot, "before the network is up: put the protection of the last good policy in force"),
        (_confirm, "keep what apply --confirm did"),
        (_doctor, "say what on this machine hinders the privacy router, each with the cure"),
    ):
        verb = function.__name__.removeprefix("_")
        verbs.add_parser(verb, help=words, description=words, parents=[common(verb)]).set_defaults(operate=function)


def _add_warp(verbs: Any, prog: str) -> None:
    """``privacyctl`` has a verb of its own for the first of these."""
    words = "the profile of the WARP tunnel"
    warp = verbs.add_parser("warp", help=words, description=words).add_subparsers(dest="action", required=True)
    words = "take over a profile that wgcf made: keys, addresses, MTU and peer, nothing that executes"
    name = f"{prog} warp import" if prog == "privacy-agent" else f"{prog} import wgcf"
    taking = warp.add_parser("import", prog=name, help=words, description=words, parents=[common("warp")])
    taking.add_argument("file", metavar="FILE", type=Path, help="what wgcf generate wrote: wgcf-profile.conf")
    taking.set_defaults(operate=_warp_import)
    words = "run wgcf to make an account and a profile"
    making = warp.add_parser("register", help=words, description=words, parents=[common("warp")])
    making.add_argument("--accept-tos", action="store_true", help=f"you have read and accept {warp_import.TERMS}")
    making.set_defaults(operate=_warp_register)


def show_plan(
    arguments: argparse.Namespace,
    steps: tuple[Step, ...],
    drawn: Drawn,
    paths: Mapping[str, str],
    waiting: Sequence[str],
    in_the_way: Sequence[str],
    more: Mapping[str, object],
    output: Output,
) -> int:
    """The steps in words or as a script, and what else is to be said; ``drawn`` is what ``apply`` will draw otherwise,
    ``paths`` are those of the namespaces, ``more`` is for programs. Returns the exit code."""
    told = [drawn.words(str(step)) for step in steps]
    warnings = confirm_path.warnings(steps)
    unconfirmed = confirm_file.words(arguments.state_dir)
    remarks = [f"warning: {it}" for it in warnings] + in_words(waiting) + [f"in the way: {it}" for it in in_the_way]
    remarks += [f"unconfirmed: {unconfirmed}"] if unconfirmed else []
    undone = confirm.was_undone(arguments.policy, arguments.state_dir)
    remarks += ["note: this policy was applied, and undone because nobody confirmed it"] if undone else []
    remarks += [f"note: {NEW} is a key that apply draws, or a name by such a key"] if NEW in str(told) else []
    remarks.append(counted(len(steps), "step") if steps else f"{in_sync(waiting, in_the_way)}: nothing to do")
    values: dict[str, object] = {
        "warnings": warnings,
        "strangers": in_the_way,
        "unconfirmed": unconfirmed,
        "undone": undone,
    }
    if arguments.commands:
        values["commands"] = lines = list(map(drawn.command, script(steps, paths)))
        for words in (*lines, *(f"# {output.advice(it)}" for it in remarks)):
            output.verbatim(words)
    else:
        for words in (*told, *remarks):
            output.line(words)
    output.result(in_sync=not steps, steps=told, waiting=waiting, **values, **more)
    return 1 if steps else 0


def before_apply(
    arguments: argparse.Namespace,
    found: HostState,
    steps: tuple[Step, ...],
    facts: Facts,
    namespaces: Namespaces,
) -> None:
    """The operator's own safety: his connection, and the way back. Raises Refused, Conflict."""
    confirm.refuse_while_waiting(arguments.state_dir)
    warnings = confirm_path.warnings(steps)
    for words in warnings:
        print(f"warning: {words}", file=sys.stderr)
    if arguments.confirm is None:
        if warnings and not arguments.force and not _agreed():
            raise Refused(
                "not applied: your own connection may be cut; use --confirm SECONDS to have the former state back "
                "unless you confirm, or --force"
            )
        return
    if not LEAST_TIME <= arguments.confirm <= LONGEST_TIME:
        raise Refused(f"--confirm: expected {LEAST_TIME} to {LONGEST_TIME} seconds, got {arguments.confirm}")
    if steps:
        documents = last_good.documents(arguments.policy, arguments.topology)
        confirm.begin(arguments.policy, documents, arguments.confirm, found, facts, namespaces, arguments.state_dir)


def after_apply(arguments: argparse.Namespace, facts: Facts, output: Output) -> None:
    state_dir = arguments.state_dir
    if confirm_file.waits(state_dir):
        output.line(f"the former state is restored in {arguments.confirm} s, unless you run: privacy-agent confirm")
        return
    confirm_file.forget_refusal(state_dir)
    daemon.shorten_logs(state_dir)
    names.keep(state_dir, facts.answers)
    last_good.keep(state_dir, last_good.documents(arguments.policy, arguments.topology))


def before_stop(arguments: argparse.Namespace, output: Output) -> None:
    """A ``run`` would build everything again, and a change that waits would bring it back."""
    if end_running(arguments.state_dir):
        output.line("privacy-agent run was ended")
    confirm.cancel(arguments.state_dir)


def _agreed() -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def _run(arguments: argparse.Namespace, output: Output) -> int:
    require_root()
    places = Places(arguments.policy, arguments.state_dir, arguments.config_dir, arguments.topology, arguments.node)
    return run(places, Log(arguments.json, advice=output.advice))


def _boot(arguments: argparse.Namespace, output: Output) -> int:
    require_root()
    count = boot.put_in_force(arguments.state_dir, arguments.config_dir, arguments.node, output.done)
    words = "no last good policy yet: nothing to do" if count is None else f"in force: {counted(count, 'step')}"
    output.line(words)
    output.result(in_force=count is not None, steps=output.steps)
    return 0


def _confirm(arguments: argparse.Namespace, output: Output) -> int:
    require_root()
    words = confirm.confirm(arguments.state_dir)
    output.line(words)
    output.result(confirmed=True, message=words)
    return 0


def _doctor(arguments: argparse.Namespace, output: Output) -> int:
    require_root()
    wanted, paths, unfinished = _as_far_as_possible(arguments)
    with Namespaces(paths) as namespaces:
        found = (*unfinished, *doctor.findings(doctor_facts.machine(wanted, namespaces), wanted))
    for finding in found:
        output.line(f"{finding.where}: {finding.what}")
        output.line(f"    cure: {finding.cure}", 10)
    if unfinished and not wanted.namespaces:
        output.line("what may be in a policy's way was not looked at: there is none yet that could be carried out")
    for words in in_words(it for it in wanted.waiting if not it.startswith(DEGRADED)):
        output.line(words)
    output.line(counted(len(found), "finding") if found else "nothing hinders the privacy router here")
    output.result(findings=[asdict(finding) for finding in found])
    return 1 if found else 0


def _warp_import(arguments: argparse.Namespace, output: Output) -> int:
    return _taken(*warp_import.import_profile(arguments.file, arguments.config_dir), output)


def _warp_register(arguments: argparse.Namespace, output: Output) -> int:
    return _taken(*warp_import.register(arguments.config_dir, arguments.accept_tos), output)


def _taken(profile: Path, former: Path | None, output: Output) -> int:
    output.line(f"{profile}: written; privacy-agent apply uses it")
    if former:
        output.line(f"the profile that was there is in {former}")
    output.result(profile=str(profile), former=str(former) if former else None)
    return 0


def _explain(arguments: argparse.Namespace, output: Output) -> int:
    policy = load_for_node(arguments.policy, arguments.topology, arguments.node)
    missing: list[str] = []
    destinations = names.resolve(arguments.destination, missing)
    if not destinations:
        raise Refused(*missing)
    sent = explain_entry.packet(arguments.client, destinations[0], arguments.service)
    facts = survey.survey(policy, arguments.state_dir, arguments.config_dir)
    found = explain_entry.way(policy, desired(policy, facts), facts, sent, explain_facts.surroundings())
    for line in found.lines:
        output.line(f"{line.place:8} {line.words}".strip(), 9)
        if line.at_switch:
            output.verbatim(output.advice(f"{'':8} privacyctl trace {arguments.policy} '{line.at_switch}'"))
    by = f" by {found.device}" if found.device else ""
    output.line(f"in the end: {found.end}{by}")
    output.result(**asdict(found))
    return 0


def _as_far_as_possible(
    arguments: argparse.Namespace,
) -> tuple[HostState, Mapping[str, str], tuple[doctor.Finding, ...]]:
    """What the policy, or else the last good one, asks for, paths of its namespaces, and what keeps it from being
    carried out."""
    wanted, paths = HostState(), {}
    policy: Policy | None = None
    found: tuple[doctor.Finding, ...] = ()
    try:
        policy = load_for_node(arguments.policy, arguments.topology, arguments.node)
    except DocumentError as error:
        found = doctor.unfinished(error)
        with suppress(DocumentError):
            policy = last_good.load(arguments.state_dir, arguments.node)
    try:
        if policy is None:
            survey.require_tools(None)
        else:
            facts = survey.survey(policy, arguments.state_dir, arguments.config_dir)
            wanted, paths = desired(policy, facts), dict(facts.namespaces)
            found += barred(policy, wanted, facts, explain_facts.surroundings())
        if wanted.bridges or (policy is None and ovs.installed()):
            ovs.read()
    except (DocumentError, AgentError) as error:
        found += doctor.unfinished(error)
    return wanted, paths, found


def require_root() -> None:
    if os.geteuid() != 0:
        raise Refused("privacy-agent works on network namespaces and needs root: run it with sudo")
