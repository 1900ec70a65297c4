"""What every integration test must leave behind: nothing."""

from __future__ import annotations

import pytest

from tests.support.leftovers import Leftovers


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch, tmp_path):
    """Fail a test after which a process, a socket's file, a pidfile, shared memory or a temporary file is left."""
    with Leftovers(monkeypatch) as leftovers:
        leftovers.look_into(tmp_path)
        yield
