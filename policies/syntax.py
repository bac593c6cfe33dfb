"""Text of a document -> events (a mapping or list opens, closes, a scalar), each with its line.

JSON is checked by the ``json`` module and then walked token by token, because that module does not say
where a value stood. YAML comes from libyaml's parser, one event after the other: its tree builder
recurses and brings the interpreter down on deep nesting. Plain YAML scalars mean what YAML 1.2 (core
schema) says, so that ``on`` is text, ``012`` is no octal number and ``00:11:22:33:44:55`` no sexagesimal one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Literal

import yaml

Scalar = str | int | float | bool | None
_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_JSON_TOKEN = re.compile(r'"(?:[^"\\]+|\\.)*"|[{}\[\]]|[^\s"{}\[\],:]+')
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_YAML_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LONGEST_NUMBER = 40  # digits; nothing in a document is longer, and int() refuses 4300


class SyntaxFault(Exception):
    """The text is not JSON or YAML as we take it."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(message)


Kind = Literal["mapping", "list", "end", "scalar"]
Event = tuple[Kind, int, Scalar]
"""(kind, line, value): "mapping" and "list" open one, "end" closes the innermost. A plain tuple: there are millions."""

_JSON_OPENING: dict[str, Kind] = {"{": "mapping", "[": "list"}


def line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def json_events(text: str, first_line: int = 1) -> Iterator[Event]:
    """``first_line``: that of the text, where it is a part of a document."""
    _check_json(text)
    # Line by line, which is quick and sound: in JSON no token holds a line break.
    for line, content in enumerate(text.split("\n"), first_line):
        for word in _JSON_TOKEN.findall(content):
            first = word[0]
            if first == '"':
                yield "scalar", line, _json_string(word, line)
            elif first in _JSON_OPENING:
                yield _JSON_OPENING[first], line, None
            elif first in "}]":
                yield "end", line, None
            else:
                yield "scalar", line, _json_word(word, line)


def _check_json(text: str) -> None:
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        comma = _comma_too_many(text, error.pos)
        what = error.msg if comma is None else "nothing follows this comma"
        column = error.colno if comma is None else comma - text.rfind("\n", 0, comma)
        line = error.lineno if comma is None else line_at(text, comma)
        raise SyntaxFault(line, f"not valid JSON: {what} (column {column})") from None
    except RecursionError:
        raise SyntaxFault(1, "not a policy: its lists and mappings are nested far too deep") from None


def _json_string(token: str, line: int) -> str:
    if "\\" not in token:
        return token[1:-1]
    value = str(json.loads(token))
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise SyntaxFault(line, "a string holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
    return value


def _comma_too_many(text: str, at: int) -> int | None:
    """The place of a comma before a closing bracket. Python 3.13 stops at the comma, earlier ones at the bracket."""
    comma = at if text[at : at + 1] == "," else len(text[:at].rstrip()) - 1
    return comma if re.match(r",\s*[}\]]", text[max(comma, 0) :]) else None


def _json_word(word: str, line: int) -> Scalar:
    if word in ("true", "false", "null"):
        return _YAML_WORDS[word]
    if word in ("NaN", "Infinity", "-Infinity"):
        raise SyntaxFault(line, f"not valid JSON: {word} is no number of JSON")
    return _number(word)


def _number(word: str) -> int | float:
    return integer(word) if _INTEGER.fullmatch(word) else float(word)


def integer(word: str) -> int | float:
    return int(word) if len(word) <= _LONGEST_NUMBER else float(word)


def yaml_events(text: str) -> Iterator[Event]:
    documents = 0
    try:
        for event in yaml.parse(text, Loader=_YamlLoader):
            line = event.start_mark.line + 1 if event.start_mark else 1
            _refuse_yaml_extras(event, line)
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise SyntaxFault(line, "a second YAML document begins here: one file holds one policy")
                case yaml.MappingStartEvent():
                    yield "mapping", line, None
                case yaml.SequenceStartEvent():
                    yield "list", line, None
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    yield "end", line, None
                case yaml.ScalarEvent():
                    yield "scalar", line, _yaml_plain(event.value) if event.implicit[0] else event.value
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = min(mark.line, text.rstrip("\n").count("\n")) + 1 if mark else 1  # it may stand beyond the end
        tab = mark is not None and text[mark.index : mark.index + 1] == "\t"
        what = "a tab, but YAML is indented with spaces" if tab else error.problem or error.context
        raise SyntaxFault(line, f"not valid YAML: {what}") from None
    except yaml.reader.ReaderError as error:
        raise SyntaxFault(line_at(text, error.position), f"not valid YAML: {error.reason}") from None
    except UnicodeEncodeError as error:
        raise SyntaxFault(line_at(text, error.start), "not valid text: half of a surrogate pair") from None


def _refuse_yaml_extras(event: yaml.Event, line: int) -> None:
    """Anchors, aliases and tags: a policy says each thing where it stands, and never makes objects."""
    anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
    if isinstance(event, yaml.AliasEvent):
        raise SyntaxFault(line, f"the YAML alias *{anchor} is not accepted: write the value out")
    if anchor is not None:
        raise SyntaxFault(line, f"the YAML anchor &{anchor} is not accepted: write the value out")
    if tag is not None:
        raise SyntaxFault(line, f"the YAML tag {tag} is not accepted: write the plain value")


def _yaml_plain(word: str) -> Scalar:
    if word in _YAML_WORDS:
        return _YAML_WORDS[word]
    if _HEXADECIMAL.fullmatch(word) and len(word) <= _LONGEST_NUMBER:
        return int(word, 16)
    if _INTEGER.fullmatch(word) or _FLOAT.fullmatch(word):
        return _number(word)
    return word
