"""The operator's command: ``privacyctl check FILE...``, ``privacyctl flows FILE``.

Exit codes: 0 the documents are valid; 2 bad usage or an invalid document.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from itertools import groupby
from pathlib import Path

from policies.addresses import address_plan
from policies.errors import DocumentError
from policies.load import load
from policies.model import PrivacyRouter

DONE, INVALID = 0, 2
PIPE_CLOSED = 141  # 128 + SIGPIPE, as a shell reports it


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show "→" gets an escape, not a crash
            stream.reconfigure(errors="backslashreplace")
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at exit
        return PIPE_CLOSED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="privacyctl",
        description="Look at privacy router policies. Needs no root, no network and no switch.",
        epilog="Exit codes: 0 valid, 2 bad usage or an invalid document.",
    )
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = verbs.add_parser(
        "check",
        help="say whether policy documents are valid, with every problem of each",
        description="Validate policy documents. Every problem is named with its file, line and place in the document.",
    )
    check.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a policy document (.json, .yaml, .yml)")
    check.set_defaults(run=_check)
    flows = verbs.add_parser(
        "flows",
        help="print the flow entries that a policy means, as ovs-ofctl writes them",
        description="Print the flow entries that a policy compiles to, in ovs-ofctl(8) syntax with port names kept.",
    )
    flows.add_argument("file", metavar="FILE", type=Path, help="a policy document (.json, .yaml, .yml)")
    flows.set_defaults(run=_flows)
    return parser


def _check(arguments: argparse.Namespace) -> int:
    code = DONE
    for file in arguments.files:
        try:
            print(f"{file}: valid: {_summary(load(file))}")
        except DocumentError as error:
            _report(error)
            code = INVALID
    return code


def _flows(arguments: argparse.Namespace) -> int:
    from ryu_apps.flow import TABLES
    from ryu_apps.ofctl import entry_text
    from ryu_apps.pipeline import compile_pipeline

    try:
        policy = load(arguments.file)
    except DocumentError as error:
        _report(error)
        return INVALID
    entries = sorted(compile_pipeline(policy), key=lambda entry: entry.table)
    for table, in_table in groupby(entries, key=lambda entry: entry.table):
        print(f"# table {table}: {TABLES[table]}")
        for item, of_item in groupby(in_table, key=lambda entry: entry.item):
            print(f"# {item}")
            for entry in of_item:
                print(entry_text(entry))
    return DONE


def _summary(policy: PrivacyRouter) -> str:
    sockets = policy.socket_networking
    counts = (
        (len(address_plan(policy).hops), "hop"),
        (len(policy.openflow.privacy_flows), "privacy flow"),
        (len(policy.openflow.function_routing), "function route"),
        (len(sockets.privacy_sockets) + len(sockets.mesh_sockets), "socket"),
        (len(policy.containers), "container"),
    )
    return ", ".join(f"{number} {what}{'' if number == 1 else 's'}" for number, what in counts)


def _report(error: DocumentError) -> None:
    for problem in error.problems:
        print(problem, file=sys.stderr)
