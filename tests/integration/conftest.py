"""A switch with the example's ports, and a controller with the example, for each test its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from switch_sandbox import EXAMPLE, PORTS, Controller, Sandbox, Switch


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path)
    yield made
    made.close()


@pytest.fixture
def switch(sandbox: Sandbox) -> Switch:
    made = Switch(sandbox)
    made.add_ports(*PORTS)
    return made


@pytest.fixture
def controller(sandbox: Sandbox) -> Controller:
    """Not started."""
    policy = sandbox.directory / "policy.json"
    shutil.copy(EXAMPLE, policy)
    return Controller(sandbox, policy)
