"""How long lists are said to people. Pure."""

from __future__ import annotations


def wrapped(text: str, width: int | None, indent: int) -> str:
    """Broken behind commas where it is wider than ``width`` columns; None: it may be as wide as it is."""
    lines = [""]
    for part in text.split(", "):
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if width is None or len(longer) < width or not lines[-1]:
            lines[-1] = longer
        else:
            lines[-1] += ","
            lines.append(f"{' ' * indent}{part}")
    return "\n".join(lines)
