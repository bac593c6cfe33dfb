"""Text -> tree: syntax, lines, and everything that is refused before a key is looked at."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from policy_documents import EXAMPLE, problems

from policies.document import LARGEST, parse_document, read_text
from policies.errors import DocumentError, Problem
from policies.json_frame import Doubt, json_tree
from policies.syntax import SyntaxFault, json_events
from policies.tree import DEEPEST, LISTS, MOST_VALUES, Node, build
from policies.tree import plain as plain_value


def plain(node: Node) -> object:
    """Node by node, as whoever looks for the line of something meets them."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    return [plain(child) for child in node.value] if isinstance(node.value, LISTS) else node.value


def refusal(text: str, file: str) -> tuple[int, str]:
    (problem,) = refusals(text, file)
    return problem.place.line, problem.message


def refusals(text: str, file: str) -> tuple[Problem, ...]:
    try:
        return parse_document(text, file).doubled
    except DocumentError as error:
        return error.problems


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE,
        '{"a"\n:\t1, "b": [], "c": {}, "": ""}',
        '{"a": ["yes", "0x10", "~", "1:30", "a: b # c", "- x"], "b": [-0, 1.5, 1e3, true, false, null]}',
        '{"a\\u0022]": "\\ud83d\\ude00 \\\\ \\" \\/ \\t", "b": "\u007f \u0085 \u2028"}',
        json.dumps({"k" * 5000: "v" * 5000}),
        '{"a": 123456789012345678901234567890}',
    ],
)
def test_json_values_are_those_of_the_json_module(text: str) -> None:
    assert plain(parse_document(text, "a.json").root) == json.loads(text)


def test_json_lines_are_counted_by_newlines_only() -> None:
    root = parse_document('{"a": "\u2028\u0085",\r\n\r\n"b"\n:\n[1,\n {"c": 2}\n]}', "a.json").root
    assert isinstance(root.value, dict)
    b = root.value["b"]
    assert (root.value["a"].line, b.key_line, b.line) == (1, 3, 5)
    assert isinstance(b.value, LISTS)
    assert [node.line for node in b.value] == [5, 6]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{\n"a": 1,\n}', 2, "nothing follows this comma (column 7)"),
        ('{\n"a": [1,\n2 , ]}', 3, "nothing follows this comma (column 3)"),
        ('{\n"a": 1, b: 2}', 2, "double quotes"),
        ('{"a": 1}\n{"b": 2}', 2, "Extra data"),
        ('{"a":\n NaN}', 2, "NaN"),
        ('{"a":\n -Infinity}', 2, "-Infinity"),
        ('{"a": "x\n"}', 1, "control character"),
        ('{\n"a": 1\n,"a": 2}', 3, "given twice, first in line 2"),
        ('{"a":\n"\\ud83d"}', 2, "surrogate"),
        ('{"a":' * (DEEPEST + 1), 1, "JSON"),
        ('{"a":' * (DEEPEST + 1) + "1" + "}" * (DEEPEST + 1), 1, "nested deeper"),
        ("[" * 100_000 + "]" * 100_000, 1, "nested"),
        ("# no comment in JSON", 1, "JSON"),
        ("\ufeff{}", 1, "byte order mark"),
        ("", 0, "empty"),
        (" \n ", 0, "empty"),
    ],
)
def test_json_refusals(text: str, line: int, message: str) -> None:
    at, said = refusal(text, "a.json")
    assert (at, message in said) == (line, True), said


def test_every_duplicate_key_is_named_with_its_path() -> None:
    document = parse_document('{"a": [{"b": 1,\n"b": 2}],\n"a": 3}', "a.json")
    assert [(problem.place.line, problem.place.path) for problem in document.doubled] == [(2, "a[0].b"), (3, "a")]
    assert plain(document.root) == {"a": 3}
    _, said = refusal('{"a": 1, "a": 2}', "a.json")
    assert said == "this key is given twice, both times in this line: keep one of them"


def test_a_key_given_twice_in_an_item_of_a_list() -> None:
    at, said = refusal('{"a": [{"b": 1},\n{"c": {"b": 1,\n"b": 2}}]}', "a.json")
    assert (at, "given twice, first in line 2" in said) == (3, True)


def test_depth_counts_what_is_inside_each_other_only() -> None:
    inner = "[" * (DEEPEST - 2) + "]" * (DEEPEST - 2)
    parse_document('{"a": [' + inner + "]}", "a.json")
    parse_document('{"a": [[' + ", ".join(["[[]]"] * 100) + "]]}", "a.json")
    assert "nested deeper" in refusal('{"a": [1, [' + inner + "]]}", "a.json")[1]


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ('{"a": "é' + "a" * LARGEST + '"}', "a.json"),
        ("a: " + "é" * (LARGEST // 2), "a.yaml"),
    ],
)
def test_texts_that_no_file_may_hold(text: str, file: str) -> None:
    assert refusal(text, file) == (0, "larger than 32 MiB, which no policy is")


@pytest.mark.parametrize(
    ("text", "file", "line"),
    [
        ('{"a": [' + "1," * MOST_VALUES + "1]}", "a.json", 0),
        ('{"a": [' + "[]," * (MOST_VALUES // 2) + "[]]}", "a.json", 0),
        ("a:\n" + "- 1\n" * (MOST_VALUES + 1), "a.yaml", MOST_VALUES + 2),
    ],
)
def test_a_document_of_tiny_values_is_refused_before_it_takes_memory(text: str, file: str, line: int) -> None:
    at, said = refusal(text, file)
    assert (at, "1,000,000" in said) == (line, True), (at, said)


def with_care(text: str) -> Node | None:
    root, doubled = build(json_events(text), "a.json")
    if doubled:
        raise DocumentError(doubled)
    return root


def unfolded(node: Node) -> object:
    """The node with the nodes of all lists in it."""
    if isinstance(node.value, dict):
        return {key: unfolded(child) for key, child in node.value.items()}, node.line, node.key_line
    value = [unfolded(child) for child in node.value] if isinstance(node.value, LISTS) else node.value
    return value, type(value), node.line, node.key_line


@pytest.mark.parametrize("seed", range(3))
def test_the_quick_way_and_the_careful_way_see_the_same(seed: int) -> None:
    random = Random(seed)
    earlier = None
    for _ in range(300):
        text = _random_json(random, 0)
        text = text if random.random() < 0.6 or earlier is None else _spliced(random, earlier.text, text)
        try:
            careful = with_care(text)
        except (SyntaxFault, DocumentError):
            with pytest.raises(Doubt):
                json_tree(text, "a.json", earlier)
            continue
        assert careful is not None
        for before in (None, earlier):
            quick, read = json_tree(text, "a.json", before)
            assert unfolded(quick) == unfolded(careful), text
            assert plain_value(quick.value) == plain(careful), text
        earlier = read


def _spliced(random: Random, one: str, other: str) -> str:
    return one[: random.randrange(len(one) + 1)] + other + one[random.randrange(len(one) + 1) :]


def _random_json(random: Random, depth: int) -> str:
    blank = random.choice(("", "", " ", "\n", "\r\n\t"))
    words = ("1", "-0", "1.5", "1e999", "true", "null", "9" * 41, '""', '"a, [b"', '"\\u0041"', '"{é"')
    odd = ("NaN", '"\\ud83d"', "01", "[1,]")
    kind = random.random() if depth < 5 else 1.0
    if kind < 0.3:
        keys = random.sample(("a", "b", "c d", "", "é"), random.randrange(4)) + ["a"] * (random.random() < 0.03)
        inner = (f'"{key}"{blank}:{_random_json(random, depth + 1)}' for key in keys)
        return f"{blank}{{{blank}{f',{blank}'.join(inner)}{blank}}}{blank}"
    if kind < 0.7:
        items = (_random_json(random, depth + 1) for _ in range(random.randrange(6)))
        return f"{blank}[{blank}{f'{blank},'.join(items)}]{blank}"
    return f"{blank}{random.choice(odd if random.random() < 0.02 else words)}"


def test_yaml_scalars_mean_what_yaml_1_2_says() -> None:
    text = """
words: [yes, on, no, ~, null, true, False, "true", 'null', 2001-01-01, 1:30, 012]
numbers: [1, -2, 0x0800, 1.5, 1e3, "5"]
mac: 11:22:33:44:55:16
empty:
"""
    assert plain(parse_document(text, "a.yaml").root) == {
        "words": ["yes", "on", "no", None, None, True, False, "true", "null", "2001-01-01", "1:30", "012"],
        "numbers": [1, -2, 2048, 1.5, 1000.0, "5"],
        "mac": "11:22:33:44:55:16",
        "empty": None,
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: &x 2", 2, "anchor &x"),
        ("a: 1\nb: *x", 2, "alias *x"),
        ("a: 1\nb: !!python/object:os.system 2", 2, "tag"),
        ("a: 1\nb: ! 2", 2, "tag"),
        ("a: 1\na: 2", 2, "given twice"),
        ("a: 1\n---\nb: 2", 2, "second YAML document"),
        ("a: 1\nb: c: d", 2, "YAML"),
        ("a: 1\n\tb: 2", 2, "a tab, but YAML is indented with spaces"),
        ("a: 1\nb: \x00", 2, "YAML"),
        ("a: 1\n? [b]\n: 2", 2, "key must be text"),
        ("a: 1\n5: 2", 2, "key must be text"),
        ("a: \ud83d", 1, "surrogate"),
        ("# only a comment\n", 0, "empty"),
        ("[" * 100_000, 1, "nested deeper"),
        ("- " * 100_000, 1, "nested deeper"),
        ("{a: " * 100_000, 1, "nested deeper"),
    ],
)
def test_yaml_refusals(text: str, line: int, message: str) -> None:
    at, said = refusal(text, "a.yaml")
    assert (at, message in said) == (line, True), said


def test_the_suffix_decides_the_syntax_and_else_the_first_character() -> None:
    assert plain(parse_document("{a: 1}", "a.yml").root) == {"a": 1}
    assert plain(parse_document("a: 1", "policy").root) == {"a": 1}
    assert "JSON" in refusal("{a: 1}", "policy")[1]
    assert "JSON" in refusal("a: 1", "a.JSON")[1]


@pytest.mark.parametrize("text", ["[]", '"privacy_router"', "5", "null"])
def test_a_document_is_a_mapping(text: str) -> None:
    for file in ("a.json", "a.yaml"):
        (found,) = problems(text, file)
        assert found[0] == ""
        assert "expected a mapping" in found[2]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b'{"a":\n"\xff"}', 2, "not UTF-8 text (byte 0xff)"),
        ("{}".encode("utf-16"), 1, "not UTF-8"),
        (b" " * (LARGEST + 1), 0, "larger than 32 MiB"),
    ],
)
def test_files_that_cannot_be_text(tmp_path: Path, content: bytes, line: int, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(DocumentError) as caught:
        read_text(file)
    (problem,) = caught.value.problems
    assert (problem.place.file, problem.place.line) == (str(file), line)
    assert message in problem.message


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    for file, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file"),
        (Path("a\0b"), "null byte"),
    ):
        with pytest.raises(DocumentError, match=reason):
            read_text(file)


def test_a_problem_reads_as_compilers_write_it() -> None:
    (problem,) = refusals('{"a": 1,\n"a": 2}', "x/a.json")
    assert str(problem) == "x/a.json:2: a: this key is given twice, first in line 1: keep one of them"
    with pytest.raises(DocumentError) as caught:
        parse_document("", "x/a.json")
    assert str(caught.value) == "x/a.json: is empty: a policy document was expected"
