"""How often an entry is put back."""

from __future__ import annotations

from ryu_apps.switches.repairs import REPAIRS_A_MINUTE, SECONDS_IN_A_FIGHT, RepairBudget


def test_a_fight_is_slow_and_is_over_when_the_minute_has_passed() -> None:
    budget = RepairBudget()
    fought = [budget.spend("one", float(number)) for number in range(REPAIRS_A_MINUTE)]
    assert fought == [False] * (REPAIRS_A_MINUTE - 1) + [True]
    assert budget.due("one", 9.5) == 9.0 + SECONDS_IN_A_FIGHT and budget.due("another", 9.5) == 9.5
    assert budget.due("one", 61.0) == 61.0


def test_what_was_not_repaired_for_a_minute_is_forgotten_and_nothing_else() -> None:
    budget = RepairBudget()
    for entry, now in (("first", 0.0), ("second", 1.0), ("first", 50.0), ("third", 70.0)):
        budget.spend(entry, now)
    assert {*budget._repairs} == {"first", "third"}
    budget.spend("third", 109.0)
    assert {*budget._repairs} == {"first", "third"}
    budget.spend("third", 110.0)
    assert {*budget._repairs} == {"third"}
