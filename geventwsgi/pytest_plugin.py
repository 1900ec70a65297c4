"""The pytest fixture ``gwsgi_server``, available wherever geventwsgi is installed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def gwsgi_server() -> Iterator[Callable[..., str]]:
    """Return a function that serves an application until the test ends, and returns its URL.

    It takes the arguments of :func:`geventwsgi.testing.live_server` and may be called several times.
    """
    from geventwsgi.testing import live_server  # pytest loads this module for every project

    with ExitStack() as stack:
        yield lambda app, **settings: stack.enter_context(live_server(app, **settings))
