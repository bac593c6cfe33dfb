"""Each test's own: a switch with the example's ports, a controller with the example, a node. A module's: a sandbox."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_sandbox import Node
from switch_sandbox import EXAMPLE, PORTS, Controller, Sandbox, Switch


@pytest.fixture(autouse=True, scope="session")
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces and Open vSwitch")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path) as made:
        yield made


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


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """With nothing applied."""
    with Node(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """For all tests of a module."""
    with Sandbox(tmp_path_factory.mktemp("shared")) as made:
        yield made
