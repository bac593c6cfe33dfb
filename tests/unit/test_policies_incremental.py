"""Reading a document with the help of its earlier version gives what reading it from nothing gives."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from policy_documents import EXAMPLE

from policies.errors import DocumentError
from policies.layout import EarlierList, Layout
from policies.load import Reading, read

EDITS = 30_000 if os.environ.get("SOAK") else 600
LISTS = ("privacy_flows", "function_routing")


def document(routes: int = 12) -> dict[str, Any]:
    """The example with more of everything that a list of it may have."""
    whole: dict[str, Any] = json.loads(EXAMPLE)
    router = whole["privacy_router"]
    router["netmaker"]["subnet"] = "100.64.0.0/10"
    router["containers"][1]["address"] = "100.104.71.1"
    router["openflow"]["function_routing"] += [
        {
            "function": f"f{number}",
            "target_socket": "internal_200",
            "match_fields": (
                {"ip": f"nw_dst=100.104.70.{20 + number}"},
                f"tcp,nw_dst=100.104.70.{20 + number},tp_dst=80",
                {"nw_dst": f"100.104.70.{20 + number}", "udp_dst": 53},
            )[number % 3],
        }
        for number in range(routes)
    ]
    return whole


def outcome(text: str, file: str, earlier: Reading | None) -> tuple[str, object]:
    """All that a reading says, places and layouts too, or all problems."""
    try:
        reading = read(text, file, earlier)
    except DocumentError as error:
        return "problems", error.problems
    layouts = reading.json.layouts if reading.json else {}
    where = {path: (layout.starts, layout.lines, layout.end) for path, layout in layouts.items()}
    return "policy", (repr(reading.policy), reading.text, where)


def items(reading: Reading) -> list[tuple[object, ...]]:
    chain = reading.chain
    sockets = chain.socket_networking
    return [
        chain.openflow.privacy_flows,
        chain.openflow.function_routing,
        chain.containers,
        sockets.privacy_sockets,
        sockets.mesh_sockets,
    ]


def check_step(text: str, file: str, earlier: Reading) -> Reading | None:
    """Reads a text both ways. What is the same in the same place must be the same object."""
    assert outcome(text, file, earlier) == outcome(text, file, None), text
    try:
        reading = read(text, file, earlier)
    except DocumentError:
        return None
    for before, after in zip(items(earlier), items(reading), strict=True):
        for old, new in zip(before, after, strict=False):
            assert old is new or (old, old.place) != (new, new.place)  # type: ignore[attr-defined]
        assert before is after or len(before) != len(after) or any(map(lambda a, b: a is not b, before, after))
    return reading


def edited(random: Random, text: str) -> str:
    """The text with one to three changes such as people and programs make, of which some leave a valid document."""
    for _ in range(random.choice((1, 1, 2, 3))):
        text = random.choice((_item_edit, _item_edit, _line_edit, _character_edit, _layout_edit))(random, text)
    return text


def _item_edit(random: Random, text: str) -> str:
    try:
        whole = json.loads(text)
        router = whole["privacy_router"]
        listed = random.choice(
            (
                router["openflow"]["function_routing"],
                router["openflow"]["function_routing"],
                router["openflow"]["privacy_flows"],
                router["containers"],
                router["socket_networking"]["mesh_sockets"],
            )
        )
        at = random.randrange(len(listed))
    except (ValueError, LookupError, TypeError):
        return text
    match random.randrange(5):
        case 0:
            del listed[at]
        case 1:
            listed.insert(random.randrange(len(listed) + 1), json.loads(json.dumps(listed[at])))
        case 2:
            listed.insert(at, listed.pop(random.randrange(len(listed))))
        case 3:
            new = f"100.104.70.{random.randrange(100, 250)}"
            route = {"function": f"n{random.randrange(9)}", "target_socket": "internal_201", "match_fields": {"ip": ""}}
            listed.insert(at, route | {"match_fields": {"ip": f"nw_dst={new}"}})
        case _ if isinstance(listed[at], dict):
            listed[at] |= random.choice(({"priority": random.randrange(85, 100)}, {"function": "é→"}, {"name": None}))
    return json.dumps(whole, indent=random.choice((1, 1, 1, 1, None, 4)), ensure_ascii=random.random() < 0.8)


def _line_edit(random: Random, text: str) -> str:
    lines = text.split("\n")
    at = random.randrange(len(lines))
    lines[at : at + random.randrange(3)] = random.choice(([], [""], [lines[random.randrange(len(lines))]]))
    return "\n".join(lines)


def _character_edit(random: Random, text: str) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(("", " ", "\n", ",", '"', "]", "}", "1", "\\")) + text[at + random.randrange(2) :]


def _layout_edit(random: Random, text: str) -> str:
    at = random.choice([0, *(index + 1 for index, character in enumerate(text) if character in ",{[")])
    return text[:at] + random.choice((" ", "\n", "\n\n\t", "\r\n")) + text[at:]


@pytest.mark.parametrize("seed", range(6))
def test_any_edit(seed: int) -> None:
    random = Random(seed)
    earlier = read(json.dumps(document(), indent=1), "a.json")
    good = kept = 0
    for _ in range(EDITS // 6):
        after = check_step(edited(random, earlier.text), "a.json", earlier)
        if after is not None:
            good += 1
            kept += any(map(lambda a, b: a is b, items(earlier)[1], items(after)[1]))
            earlier = after
        if len(earlier.chain.openflow.function_routing) < 4:
            earlier = read(json.dumps(document(), indent=1), "a.json")
    assert good > EDITS // 60 and kept > good // 4, (good, kept)


@pytest.mark.parametrize("file", ["a.json", "a.yaml"])  # a JSON text is a YAML text
def test_one_route_changed(file: str) -> None:
    whole = document()
    before = read(json.dumps(whole, indent=1), file)
    whole["privacy_router"]["openflow"]["function_routing"][5]["priority"] = 91
    after = check_step(json.dumps(whole, indent=1).replace(',\n     "priority"', ', "priority"'), file, before)
    assert after is not None
    old, new = before.chain.openflow.function_routing, after.chain.openflow.function_routing
    assert [index for index, (a, b) in enumerate(zip(old, new, strict=True)) if a is not b] == [5]
    assert after.chain.containers is before.chain.containers
    assert after.chain.openflow.privacy_flows is before.chain.openflow.privacy_flows


def test_what_moved_is_equal_and_has_its_new_place() -> None:
    whole = document()
    before = read(json.dumps(whole, indent=1), "a.json")
    del whole["privacy_router"]["openflow"]["function_routing"][3]
    after = check_step(json.dumps(whole, indent=1), "a.json", before)
    assert after is not None
    old, new = before.chain.openflow.function_routing, after.chain.openflow.function_routing
    assert (new[:3], new[3:]) == (old[:3], old[4:])
    assert all(a is b for a, b in zip(old[:3], new[:3], strict=True))
    assert new[3].match_fields is old[4].match_fields
    assert new[3].place.path.endswith("[3]")
    assert f'"{new[3].function}"' in after.text.split("\n")[new[3].place.line]


def test_an_earlier_version_of_another_file_is_no_help_and_no_harm() -> None:
    text = json.dumps(document(), indent=1)
    other = read(text, "b.json", read(text, "a.json"))
    assert other.chain.openflow.function_routing[0].place.file == "b.json"
    assert read(text, "b.json", other) is other


def test_a_rule_that_looks_at_each_route_sees_what_made_it_wrong() -> None:
    """The route stands as it was; what it relies on has changed."""
    whole = document()
    before = read(json.dumps(whole, indent=1), "a.json")
    for change in (
        {"netmaker": whole["privacy_router"]["netmaker"] | {"subnet": "100.104.71.0/24"}},
        {"socket_networking": whole["privacy_router"]["socket_networking"] | {"mesh_sockets": []}},
    ):
        kind, _ = outcome(json.dumps({"privacy_router": whole["privacy_router"] | change}, indent=1), "a.json", before)
        assert kind == "problems"
        assert check_step(json.dumps({"privacy_router": whole["privacy_router"] | change}), "a.json", before) is None


@pytest.mark.parametrize(
    ("earlier", "text", "position", "number", "run"),
    [
        ("[1, 2, 3]", "[1, 2, 3]", 1, 0, (0, 0, 3)),
        ("[1, 2, 3]", "[1, 2, 4]", 1, 0, (0, 0, 2)),
        ("[1, 2, 3]", "[9, 1, 2, 3]", 4, 1, (1, 0, 3)),
        ("[1, 2, 3]", "[2, 3]", 1, 0, (0, 1, 2)),
        ("[1, 2, 3]", "[1, 2, 3, 4]", 1, 0, (0, 0, 2)),
        ("[1, 2, 3]", "[1, 2]", 1, 0, (0, 0, 1)),
        ("[1, 2, 3]", "[12, 3]", 1, 0, None),
        ("[1, 2, 3]", "[9]", 1, 0, None),
        ("[1]", "[1, 1]", 4, 1, (1, 0, 1)),
    ],
)
def test_runs(earlier: str, text: str, position: int, number: int, run: Sequence[int] | None) -> None:
    from array import array

    starts = array("I", [index for index, character in enumerate(earlier) if character.isdigit()])
    layout = Layout(starts, array("I", [1] * len(starts)), len(earlier))
    assert EarlierList(earlier, layout, text).run(position, number) == (run and tuple(run))


def test_time_follows_what_changed_and_growth_is_linear() -> None:
    """In processor time, with much room: the one that must not be is reading everything again, or quadratic."""
    texts = {size: json.dumps(_large(size), indent=1) for size in (2_000, 8_000)}
    first: dict[int, float] = {}
    again: dict[int, float] = {}
    for size, text in texts.items():
        first[size], again[size] = (min(_timed(text) for _ in range(3)) for _timed in (_first, _again))
    assert first[8_000] < 4 * first[2_000] * 2, first
    assert again[8_000] < first[8_000] / 3, (first, again)


def _large(size: int) -> dict[str, Any]:
    whole = document(0)
    whole["privacy_router"]["openflow"]["function_routing"] = [
        {
            "function": f"f{number}",
            "target_socket": "internal_200",
            "match_fields": {"ip": f"nw_dst=100.{64 + number // 65536}.{number // 256 % 256}.{number % 256}"},
        }
        for number in range(1, size)
    ]
    return whole


def _first(text: str) -> float:
    started = time.process_time()
    read(text, "a.json")
    return time.process_time() - started


def _again(text: str) -> float:
    earlier = read(text, "a.json")
    after = text.replace('"f77"', '"f_77"')
    started = time.process_time()
    read(after, "a.json", earlier)
    return time.process_time() - started
