"""Whatever a document holds, reading it gives a policy or a DocumentError, never another exception."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from policy_documents import DOCUMENTS, EXAMPLE

from policies.addresses import address_plan
from policies.errors import DocumentError
from policies.load import parse

NONSENSE: tuple[object, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    100,
    65536,
    10**39,
    1.5,
    float("inf"),
    "",
    " ",
    "x",
    "lo",
    "a\nb",
    "$(reboot); `id` | x > /etc/passwd & 'q' \"q\" \\",
    "-rf",
    "../../etc",
    "a" * 10_000,
    "é→😀",
    "\x00",
    "\u202e",
    "0.0.0.0/0",
    "255.255.255.255",
    "10.99.0.0/24",
    "2001:db8::/32",
    "internal_100",
    "internal_200",
    "nw_dst=100.104.70.10,tcp",
    "output:warp0",
    [],
    [None],
    [[[]]],
    ["x", 1],
    {},
    {"": None},
    {"ip": "nw_dst=1.2.3.4"},
    {"a": {"b": {"c": [1, {"d": None}]}}},
)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
ALL_KEYS = yaml.safe_load((DOCUMENTS / "all-keys.yaml").read_text(encoding="utf-8"))


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from paths(child, (*path, key))


def put(document: Any, path: tuple[Any, ...], value: object) -> Any:
    if not path:
        return value
    document = copy.deepcopy(document)
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return document


def remove(document: Any, path: tuple[Any, ...]) -> None:
    for step in path[:-1]:
        document = document[step]
    del document[path[-1]]


def judged(text: str, file: str) -> bool:
    """True if the text is a policy. A policy must be good enough to be used, a refusal to be printed."""
    try:
        policy = parse(text, file)
    except DocumentError as error:
        assert error.problems
        for problem in error.problems:
            assert str(problem).encode("utf-8").decode("utf-8").isprintable()
            assert 0 <= problem.place.line <= text.count("\n") + 1
            assert problem.place.file == file
        return False
    address_plan(policy)
    return True


@pytest.mark.parametrize("path", list(paths(ALL_KEYS)), ids=lambda path: ".".join(map(str, path)) or "root")
def test_any_value_in_any_place(path: tuple[Any, ...]) -> None:
    for value in NONSENSE:
        document = put(ALL_KEYS, path, value)
        judged(json.dumps(document, indent=1), "a.json")
        judged(yaml.dump(document, Dumper=DUMPER), "a.yaml")


@pytest.mark.parametrize("path", list(paths(ALL_KEYS))[1:], ids=lambda path: ".".join(map(str, path)))
def test_any_key_or_entry_left_out_or_added(path: tuple[Any, ...]) -> None:
    document = copy.deepcopy(ALL_KEYS)
    remove(document, path)
    judged(json.dumps(document), "a.json")
    if isinstance(path[-1], str):
        assert not judged(json.dumps(put(ALL_KEYS, (*path[:-1], f"{path[-1]}\n$(id)"), 1)), "a.json")


def test_many_random_changes_at_once() -> None:
    chance = random.Random(20240607)
    everywhere = list(paths(ALL_KEYS))[1:]
    good = 0
    for _ in range(1500):
        document = copy.deepcopy(ALL_KEYS)
        for path in chance.sample(everywhere, chance.randint(1, 12)):
            try:
                if chance.random() < 0.3:
                    remove(document, path)
                else:
                    document = put(document, path, chance.choice(NONSENSE))
            except (KeyError, IndexError, TypeError):
                continue  # an earlier change took the place away
        good += judged(json.dumps(document, indent=1), "a.json")
    assert good  # some changes leave a policy, so the suite has seen both outcomes


def test_text_that_is_cut_or_scrambled() -> None:
    chance = random.Random(7)
    for text, file in (
        (EXAMPLE, "a.json"),
        ((DOCUMENTS / "privacy-router.yaml").read_text(encoding="utf-8"), "a.yaml"),
    ):
        for _ in range(400):
            start = chance.randrange(len(text))
            end = start + chance.randrange(60)
            noise = "".join(chance.choices('{}[]:,"\\\n\t -#&*!|>%@`~?\x00\ufeff\ud800é0a', k=chance.randrange(4)))
            judged(text[:start] + noise + text[end:], file)
        for end in range(0, len(text), 7):
            judged(text[:end], file)
