"""The pytest fixture ``gwsgi_server``, there wherever geventwsgi is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest


@pytest.fixture
def gwsgi_server() -> Iterator[Callable[..., str]]:
    """Serve applications until the test ends: ``url = gwsgi_server(app, **settings)``.

    Takes what :func:`geventwsgi.testing.live_server` takes and may be called several times.
    """
    from geventwsgi.testing import live_server

    with ExitStack() as stack:
        yield lambda app, **settings: stack.enter_context(live_server(app, **settings))
