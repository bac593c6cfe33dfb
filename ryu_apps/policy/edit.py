"""Changes of the policy document as text, and the way they get to the disk.

A document that was edited here is written anew as a whole: its values and their order stay, the comments of a YAML file
do not.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from policies.document import is_json, parse_document
from policies.errors import DocumentError
from policies.tree import plain as plain_value

Route = dict[str, Any]


def plain(text: str, file: str) -> Any:
    """The document as plain mappings, lists and scalars, read as the policy's own reader reads it.

    Raises DocumentError.
    """
    document = parse_document(text, file)
    if document.doubled:
        raise DocumentError(document.doubled)
    return plain_value(document.root.value)


def document_text(document: Any, before: str, file: str) -> str:
    """The document as the file's new text; JSON or YAML, as the text before was."""
    if is_json(before, file):
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes every text that is not a plain word: PyYAML would leave 1e3 bare, which others read as a number."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _PLAIN.fullmatch(text) else '"')


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_Dumper.add_representer(str, _text_node)


def routes_of(document: Any, function: str) -> list[Route]:
    """The function's routes as the document writes them."""
    routes: list[Route] = _openflow(document).get("function_routing") or []
    return [route for route in routes if route.get("function") == function]


def with_routes(document: Any, function: str, routes: Sequence[Route]) -> Any:
    """The document with these routes instead of the function's own: where the first of those stood, or last."""
    openflow = _openflow(document)
    before: list[Route] = openflow.get("function_routing") or []
    named = [{**route, "function": function} for route in routes]
    after: list[Route] = []
    placed = False
    for route in before:
        if route.get("function") != function:
            after.append(route)
        elif not placed:
            after += named
            placed = True
    if not placed:
        after += named
    router = {**document["privacy_router"], "openflow": {**openflow, "function_routing": after}}
    return {**document, "privacy_router": router}


def _openflow(document: Any) -> dict[str, Any]:
    openflow: dict[str, Any] = document["privacy_router"].get("openflow") or {}
    return openflow


def replace_file(path: Path, text: str) -> None:
    """The file's new content, atomically: whoever reads it reads the old or the new one. Mode and owner stay.

    Behind a symbolic link the file that it points to is replaced. Raises OSError; then the old content stands.
    """
    target = path.resolve(strict=True)
    before = target.stat()
    descriptor, aside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            made = os.fstat(descriptor)
            if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):  # a service may not even ask
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, before.st_mode & 0o7777)
            os.fsync(descriptor)
        os.replace(aside, target)
    except BaseException:
        os.unlink(aside)
        raise
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
