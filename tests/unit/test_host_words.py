"""Long lists, as people read them."""

from __future__ import annotations

import pytest

from host_agent.words import wrapped


@pytest.mark.parametrize("width", [20, 40, 80, 1000])
def test_long_lists_are_broken_between_their_items(width: int) -> None:
    text = f"node: put in place {', '.join(f'chain {number}' for number in range(20))}"
    lines = wrapped(text, width, 4).splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert all(len(line) <= max(width, 27) for line in lines) and all(line.startswith("    ") for line in lines[1:])
    assert wrapped(text, None, 4) == text
