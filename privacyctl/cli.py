"""The operator's command: ``check``, ``flows`` and ``trace`` of a document; the other verbs are the host agent's.

Exit codes of those three: 0 the documents are valid; 2 bad usage or an invalid document.
"""

from __future__ import annotations

import argparse
import io
import os
import socket
import sys
from itertools import groupby
from pathlib import Path

from host_agent.options import Parser, Version, lacking_topology
from policies.addresses import chain_hops
from policies.document import read_text
from policies.errors import DocumentError
from policies.host_model import Director
from policies.load import load, read_policy
from policies.load_node import view_for_node
from policies.model import PrivacyRouter
from policies.words import counted

DONE, INVALID = 0, 2
PIPE_CLOSED = 141  # 128 + SIGPIPE, as a shell reports it


# Verbs that are the host agent's, and its own words for them.
AGENT_VERBS = {
    "plan": ("plan", "say what would be done to this machine"),
    "apply": ("apply", "make this machine as the policy says"),
    "status": ("status", "say how this machine is"),
    "confirm": ("confirm", "keep what apply --confirm did"),
    "stop": ("stop", "remove everything of ours from this machine"),
    "explain": ("explain", "say what decides about a client's packet on this machine"),
    "doctor": ("doctor", "say what on this machine is in the way"),
    "import": ("warp import", "take over a WARP profile: import wgcf FILE"),
}


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in AGENT_VERBS:
        return _agent(words)
    arguments = _parser().parse_args(words)
    if hasattr(arguments, "node") and (lacking := lacking_topology(arguments)):
        print(lacking, file=sys.stderr)
        return INVALID
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


def _parser() -> Parser:
    parser = Parser(
        prog="privacyctl",
        description="Look at policies: check, flows and trace need no root, no network and no switch. "
        "Make this machine as they say: these commands are those of privacy-agent.",
        epilog="Exit codes: 0 valid, done or in sync; 1 differences; 2 bad usage or an invalid document; "
        "3 something is missing on this machine; 4 another run holds the lock.",
    )
    parser.add_argument("--version", action=Version)
    nodes, node = _of_nodes(), _of_one_node()
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = verbs.add_parser(
        "check",
        parents=[nodes],
        help="say whether policy documents are valid and safe, with every problem of each",
        description="Validate policy documents, and prove that their flow entries keep what the chain promises. "
        "Every problem is named with its file, line and place in the document, and with a packet that shows it. "
        "With a topology this is done for every node, and for the ways between them.",
    )
    check.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a policy document (.json, .yaml, .yml)")
    check.set_defaults(run=_check)
    flows = verbs.add_parser(
        "flows",
        parents=[nodes, node],
        help="print the flow entries that a policy means, as ovs-ofctl writes them",
        description="Print the flow entries that a policy compiles to, in ovs-ofctl(8) syntax with port names kept.",
    )
    flows.add_argument("file", metavar="FILE", type=Path, help="a policy document (.json, .yaml, .yml)")
    flows.set_defaults(run=_flows)
    trace = verbs.add_parser(
        "trace",
        parents=[nodes, node],
        help="say what the switch would do with a packet",
        description="Say which flow entries of a policy document take a packet, and where it leaves.",
        epilog="Example: privacyctl trace policy.json 'in_port=internal_100,ip,nw_src=10.100.0.2,nw_dst=198.51.100.1'",
    )
    trace.add_argument("file", metavar="FILE", type=Path, help="a policy document (.json, .yaml, .yml)")
    trace.add_argument("packet", metavar="PACKET", help="its fields, as ovs-ofctl writes a match; the rest is 0")
    trace.set_defaults(run=_trace)
    for verb, (_, words) in AGENT_VERBS.items():
        verbs.add_parser(verb, help=f"{words} (privacy-agent)", add_help=False)
    return parser


def _of_nodes() -> Parser:
    options = Parser(add_help=False)
    options.add_argument(
        "--topology",
        metavar="FILE",
        type=Path,
        default=Path(topology) if (topology := os.environ.get("PRIVACY_ROUTER_TOPOLOGY")) else None,
        help="topology document, if there are several nodes",
    )
    return options


def _of_one_node() -> Parser:
    options = Parser(add_help=False)
    options.add_argument(
        "--node", metavar="NAME", default=socket.gethostname(), help="whose switch, by its name there (%(default)s)"
    )
    return options


def _agent(words: list[str]) -> int:
    """What concerns the machine itself is the host agent's business, with its own options and exit codes."""
    from host_agent.cli import main as agent

    verb, *rest = words
    if verb == "import":
        rest = _of_wgcf(rest)
    return agent([*AGENT_VERBS[verb][0].split(), *rest], prog="privacyctl")


def _of_wgcf(words: list[str]) -> list[str]:
    """What follows ``import wgcf``. Ends the program if something else is to be imported."""
    if words[:1] not in (["wgcf"], ["-h"], ["--help"]):
        Parser(usage="privacyctl import wgcf FILE").error("a profile that wgcf made is all that can be taken over")
    return words[1:] if words[0] == "wgcf" else words


def _check(arguments: argparse.Namespace) -> int:
    code = DONE
    for file in arguments.files:
        try:
            print("\n".join(_proved(file, arguments.topology)))
        except DocumentError as error:
            _report(error)
            code = INVALID
    return code


def _flows(arguments: argparse.Namespace) -> int:
    from ryu_apps.flows.flow import TABLES
    from ryu_apps.flows.pipeline import compile_node
    from ryu_apps.openflow.ofctl import entry_text

    try:
        view = view_for_node(load(arguments.file), arguments.topology, arguments.node)
    except DocumentError as error:
        _report(error)
        return INVALID
    entries = sorted(compile_node(view), key=lambda entry: entry.table)
    for table, in_table in groupby(entries, key=lambda entry: entry.table):
        print(f"# table {table}: {TABLES[table]}")
        for item, of_item in groupby(in_table, key=lambda entry: entry.item):
            print(f"# {item}")
            for entry in of_item:
                print(entry_text(entry))
    return DONE


def _trace(arguments: argparse.Namespace) -> int:
    from policies.match import MatchError
    from privacyctl.trace import explained
    from ryu_apps.flows.pipeline import compile_node
    from ryu_apps.packets.simulate import simulate

    try:
        view = view_for_node(load(arguments.file), arguments.topology, arguments.node)
        entries = compile_node(view)
        trace = simulate(entries, arguments.packet)
    except DocumentError as error:
        _report(error)
        return INVALID
    except MatchError as error:
        print(f"the packet: {error}", file=sys.stderr)
        return INVALID
    print("\n".join(explained(trace, entries)))
    return DONE


def _proved(file: Path, topology: Path | None) -> tuple[str, ...]:
    """What the document asks for, in numbers, and what it says in vain.

    Raises DocumentError if it is invalid or its flow entries are unsafe.
    """
    from privacyctl.unserved import unserved
    from ryu_apps.policy.file import compile_reading, without_collection

    with without_collection():
        reading = read_policy(read_text(file), str(file))
        router, director = reading.policy.privacy_router, reading.policy.director
        compiled = compile_reading(reading, topology) if router else None
    counts = (*(_of_chain(router) if router else ()), *(_of_director(director) if director else ()))
    nodes = compiled.nodes if compiled else {}
    remarks = unserved({name: node.entries for name, node in nodes.items()})
    numbers = ", ".join(counted(number, what) for number, what in counts)
    if compiled and compiled.topology:
        names = [node.name for node in compiled.topology.nodes]
        numbers += f"; proved for {counted(len(names), 'node')}: {', '.join(names)}"
    return (f"{file}: valid: {numbers}", *remarks)


def _of_director(director: Director) -> tuple[tuple[int, str], ...]:
    clients = sum(len(tunnel.clients) for tunnel in director.tunnels)
    return ((len(director.xray.clients), "Xray client"), (len(director.tunnels), "tunnel"), (clients, "tunnel client"))


def _of_chain(policy: PrivacyRouter) -> tuple[tuple[int, str], ...]:
    sockets = policy.socket_networking
    return (
        (len(chain_hops(policy)), "hop"),
        (len(policy.openflow.privacy_flows), "privacy flow"),
        (len(policy.openflow.function_routing), "function route"),
        (len(sockets.privacy_sockets) + len(sockets.mesh_sockets), "socket"),
        (len(policy.containers), "container"),
    )


def _report(error: DocumentError) -> None:
    for problem in error.problems:
        print(problem, file=sys.stderr)
