"""A real server in this process, and everything that its application sees."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

import pytest

from geventwsgi.testing import live_server
from tests.support.apps import witness
from tests.support.wire import Wire


@pytest.fixture(scope="package")
def server():
    """A way to a server with default settings."""
    with live_server(witness.application, error_log=None) as url:
        parts = urlsplit(url)
        yield Wire((parts.hostname, parts.port))


@pytest.fixture
def serve():
    """Start servers with other settings: ``with serve(keepalive=0) as server``."""

    @contextlib.contextmanager
    def started(app=witness.application, **settings):
        with live_server(app, **{"error_log": None, **settings}) as url:
            parts = urlsplit(url)
            yield Wire((parts.hostname, parts.port))

    return started


@pytest.fixture(autouse=True)
def seen():
    """The requests that reached the application in this test, as [method, path]."""
    witness.SEEN.clear()
    return witness.SEEN
