"""Options that the verbs of ``privacy-agent`` share. Each takes them all, and shows those that mean something to it."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHOWN = {  # of verbs that go by less than all
    "stop": ("--policy", "--topology", "--node", "--state-dir"),
    "confirm": ("--state-dir",),
    "boot": ("--node", "--state-dir", "--config-dir"),
    "warp": ("--config-dir",),
    "trace": ("--topology", "--node"),
}
ADVISED = re.compile(r"\bprivacy(?:-agent (apply|confirm|doctor|plan|stop)|ctl (trace))\b")


class Parser(argparse.ArgumentParser):
    """Says of words that a verb does not know how that verb is used, not how the whole program is."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, more = super().parse_known_args(args, namespace)
        if more:
            self.error(f"unrecognized arguments: {' '.join(more)}")
        return known, more


def common(verb: str) -> Parser:
    parser = Parser(add_help=False)
    for option, kind, default, words in _options():
        shown = option in SHOWN.get(verb, (option,))
        means = str if option == "--node" else Path
        parser.add_argument(
            option, metavar=kind, type=means, default=default, help=words if shown else argparse.SUPPRESS
        )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    return parser


def _options() -> Iterator[tuple[str, str, object, str]]:
    policy = os.environ.get("PRIVACY_ROUTER_POLICY", "/etc/privacy-router/policy.json")
    topology = os.environ.get("PRIVACY_ROUTER_TOPOLOGY") or None
    yield "--policy", "FILE", policy, "policy document (%(default)s)"
    yield "--state-dir", "DIR", "/var/lib/privacy-router", "keys and rendered files (%(default)s)"
    yield "--config-dir", "DIR", "/etc/privacy-router", "where wgcf-profile.conf is (%(default)s)"
    yield "--topology", "FILE", topology, "topology document, if there are several nodes"
    yield "--node", "NAME", socket.gethostname(), "this machine's name there (%(default)s)"


def as_typed(text: str, arguments: argparse.Namespace, space: str = " ") -> str:
    """With the options of this run in each command that the text advises: as it stands, it is about the same.

    ``space`` is what parts the command's words.
    """

    def whole(found: re.Match[str]) -> str:
        command = shlex.join([*found[0].split(), *_given(found[1] or found[2], arguments)])
        return command.replace(" ", space)

    return ADVISED.sub(whole, text)


def _given(verb: str, arguments: argparse.Namespace) -> Iterator[str]:
    """What this run was told, and the verb has to be told, too."""
    for option, _, default, _ in _options():
        told = getattr(arguments, option.removeprefix("--").replace("-", "_"), None)
        if option in SHOWN.get(verb, (option,)) and told is not None and str(told) != str(default):
            yield from (option, str(told))


def lacking_topology(arguments: argparse.Namespace) -> str | None:
    """What to say where a node is named, and no document has nodes."""
    if arguments.topology is not None or arguments.node == socket.gethostname():
        return None
    return f"--node {arguments.node}: there is no topology to find it in; name the document by --topology FILE"


class Version(argparse.Action):
    """Says which version this is, and ends."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="say which version this is")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # takes long to load

        print(f"privacy-router {version('privacy-router')}")
        parser.exit()
