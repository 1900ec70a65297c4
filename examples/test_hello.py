"""Serving in a test: the application behind a real socket, for the test that needs one.

    pytest test_hello.py

The server runs in a thread of the test process, on a port that was free.
"""

from urllib.request import urlopen

import pytest
from hello import app

from geventwsgi.testing import live_server


def test_by_context_manager():
    with live_server(app) as url, urlopen(url, timeout=10) as response:
        assert response.read().startswith(b"Hello from worker ")


def test_by_fixture(gwsgi_server):
    """The fixture comes with geventwsgi; it may serve several applications."""
    with urlopen(gwsgi_server(app), timeout=10) as response:
        assert response.status == 200


@pytest.fixture(scope="module")
def hello_url():
    """One server for all tests of the module."""
    with live_server(app) as url:
        yield url


def test_by_own_fixture(hello_url):
    with urlopen(hello_url, timeout=10) as response:
        assert response.status == 200
