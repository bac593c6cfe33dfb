"""The description of the REST interface (OpenAPI 3.1), for programs. The tests hold it against the interface."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def description() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(files("ryu_apps.rest").joinpath("openapi.yaml").read_text("utf-8"))
    return document
