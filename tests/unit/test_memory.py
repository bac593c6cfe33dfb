"""What a large policy costs those who only want their turn."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from ryu_apps.policy.file import MANY_OBJECTS, without_collection


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    gc.collect()
    gc.freeze()  # so that only what comes now is counted
    yield
    gc.unfreeze()


def frozen_by(objects: int) -> int:
    before = gc.get_freeze_count()
    with without_collection():
        made = [[] for _ in range(objects)]  # type: ignore[var-annotated]
    assert gc.isenabled()
    frozen = gc.get_freeze_count() - before
    del made
    return frozen


def test_what_came_in_great_number_is_never_searched_for_cycles() -> None:
    assert frozen_by(2 * MANY_OBJECTS) >= 2 * MANY_OBJECTS


def test_a_small_edit_is_collected_as_ever() -> None:
    assert frozen_by(MANY_OBJECTS // 2) == 0


def test_what_is_not_searched_goes_all_the_same() -> None:
    before = gc.get_freeze_count()
    frozen_by(2 * MANY_OBJECTS)
    assert gc.get_freeze_count() < before + MANY_OBJECTS


def test_what_failed_is_searched() -> None:
    before, made = gc.get_freeze_count(), []
    with pytest.raises(ValueError, match="in vain"), without_collection():
        made += [[] for _ in range(2 * MANY_OBJECTS)]
        raise ValueError("in vain")
    assert gc.get_freeze_count() == before
    assert gc.isenabled()


def test_within_another_the_outer_one_decides() -> None:
    before = gc.get_freeze_count()
    with without_collection():
        with without_collection():
            made = [[] for _ in range(2 * MANY_OBJECTS)]  # type: ignore[var-annotated]
        assert gc.get_freeze_count() == before
        assert not gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)
