"""Workers that reach each other."""

from __future__ import annotations

import pytest

from tests.support.mesh import Nodes


@pytest.fixture
def nodes(tmp_path_factory):
    # A unix socket's path has some hundred bytes.
    made = Nodes(tmp_path_factory.mktemp("m") / "d")
    yield made
    made.stop()
