"""The log of ``run``: a line for a person or a JSON object for a program, on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TextIO

Level = Literal["info", "warning", "error"]
PRIORITIES: dict[Level, int] = {"info": 6, "warning": 4, "error": 3}  # of syslog(3), as sd-daemon(3) takes them


@dataclass(frozen=True)
class Log:
    as_json: bool = False
    stream: TextIO = sys.stderr
    advice: Callable[[str], str] = str  # completes the commands that words name

    def __call__(self, level: Level, event: str, words: str, **values: object) -> None:
        """``words`` is for people; ``values`` say the same to programs."""
        words = self.advice(words)
        if self.as_json:
            moment = datetime.now(UTC).isoformat(timespec="milliseconds")
            said = {"time": moment, "level": level, "event": event, "message": words, **values}
            print(json.dumps(said), file=self.stream, flush=True)
        else:
            prefix = f"<{PRIORITIES[level]}>" if "JOURNAL_STREAM" in os.environ else ""
            line = " ".join(words.splitlines())
            print(f"{prefix}{event}: {line}", file=self.stream, flush=True)
