"""What several unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eventlet import sleep
from session_world import World


@pytest.fixture
def world() -> Iterator[World]:
    """A session with the example's policy, and its switch."""
    made = World()
    yield made
    made.session.disconnect(made.connection)
    sleep(0)
