"""Numbers and lists, as people read them."""

from __future__ import annotations

from policies.words import counted, first_of


def test_one_is_one() -> None:
    assert [counted(number, "step") for number in (0, 1, 2)] == ["0 steps", "1 step", "2 steps"]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]


def test_of_a_long_list_the_first_are_named_and_the_others_counted() -> None:
    assert first_of([]) == "none" and first_of([200]) == "200"
    assert first_of(range(20)).endswith("18, 19") and first_of(range(23)).endswith("18, 19 and 3 more")
