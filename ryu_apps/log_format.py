"""One line a record, as text for people or as JSON for programs."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable

FORMATS = ("text", "json")


def timestamp(seconds: float) -> str:
    """A Unix time as RFC 3339 text in UTC, to the millisecond."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


def one_line(text: str) -> str:
    """Control characters escaped: a port's name or a path in a request shall not make lines of its own."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{timestamp(record.created)} {record.levelname:<7} {one_line(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            **getattr(record, "facts", {}),
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "kind": getattr(record, "kind", "log"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def format_handlers(handlers: Iterable[logging.Handler], log_format: str) -> None:
    """Raises KeyError for an unknown format."""
    formatter = {"text": TextFormatter, "json": JsonFormatter}[log_format]()
    for handler in handlers:
        handler.setFormatter(formatter)
