"""How a run of the agent speaks: lines for people, or one JSON object at the end for programs."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

from host_agent.options import as_typed
from host_agent.steps import Step
from host_agent.words import wrapped

NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass
class Output:
    """``arguments``: what this run was told."""

    arguments: argparse.Namespace
    begin: float = field(default_factory=time.perf_counter)
    steps: list[dict[str, object]] = field(default_factory=list)

    @property
    def as_json(self) -> bool:
        return bool(self.arguments.json)

    def done(self, step: Step, milliseconds: float) -> None:
        self.steps.append({"step": str(step), "ms": round(milliseconds, 1)})
        self.line(f"{milliseconds:8.1f} ms  {step}", 15)

    def line(self, text: str, indent: int = 4) -> None:
        """On a terminal it is as wide as that; what is left goes to lines of their own, with this indent."""
        self.verbatim(self.text(text, indent))

    def verbatim(self, text: str) -> None:
        """A line that is to be copied, or is one of a script."""
        if not self.as_json:
            print(text, flush=True)

    def complaint(self, text: str) -> None:
        print(self.text(text, 4, sys.stderr), file=sys.stderr, flush=True)

    def text(self, text: str, indent: int = 4, stream: TextIO | None = None) -> str:
        """As it is said: broken for the terminal, if it goes to one, and what it advises with this run's options."""
        width = shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None
        unbroken = as_typed(text, self.arguments, NO_BREAK)  # a command is copied from one line
        return "\n".join(wrapped(line, width, indent) for line in unbroken.split("\n")).replace(NO_BREAK, " ")

    def advice(self, text: str) -> str:
        return as_typed(text, self.arguments)

    def result(self, **values: object) -> None:
        if self.as_json:
            print(json.dumps(values, indent=2))

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begin
