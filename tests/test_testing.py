"""Serving inside a test: the context manager and the fixture."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests

from geventwsgi.errors import BindError
from geventwsgi.testing import live_server
from tests.support.certificates import certificates

if TYPE_CHECKING:
    from collections.abc import Callable


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def test_serves_from_a_thread_until_the_block_ends() -> None:
    before = set(threading.enumerate())  # a fixture of the session may serve already
    with live_server(app) as url:
        assert [thread.name for thread in set(threading.enumerate()) - before] == ["geventwsgi.testing"]
        for path in ("/a", "/b"):
            assert requests.get(url + path, timeout=10).text == path
    assert set(threading.enumerate()) <= before
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)


def test_two_servers_at_once() -> None:
    with live_server(app) as one, live_server(app) as two:
        assert one != two
        assert requests.get(two + "/x", timeout=10).text == requests.get(one + "/x", timeout=10).text


def test_ends_although_a_client_keeps_its_connection() -> None:
    with requests.Session() as session, live_server(app) as url:
        session.get(url, timeout=10)


def test_settings_and_tls() -> None:
    with live_server(app, certfile=certificates().certfile, keyfile=certificates().keyfile) as url:
        assert url.startswith("https://127.0.0.1:")
        assert requests.get(url + "/tls", verify=certificates().ca_certs, timeout=10).text == "/tls"


def test_ipv6() -> None:
    with live_server(app, host="::1") as url:
        assert url.startswith("http://[::1]:")
        assert requests.get(url + "/six", timeout=10).text == "/six"


def test_an_error_at_start_is_raised_in_the_test() -> None:
    with pytest.raises(BindError), live_server(app, certfile="missing.pem"):
        pytest.fail("started without its certificate")


def test_an_error_in_the_block_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), live_server(app):
        raise ZeroDivisionError


def test_the_fixture(gwsgi_server: Callable[..., str]) -> None:
    assert requests.get(gwsgi_server(app) + "/one", timeout=10).text == "/one"
    assert requests.get(gwsgi_server(app, keepalive=0) + "/two", timeout=10).headers["Connection"] == "close"


def test_gevent_takes_the_tests_thread_for_the_main_one() -> None:
    """Otherwise each server would have libev's default loop, of which there is one: the end of one ended the next."""
    script = """
import threading
from geventwsgi.testing import live_server
from tests.test_testing import app
with live_server(app):
    from gevent.hub import MAIN_THREAD_IDENT
    print(MAIN_THREAD_IDENT == threading.main_thread().ident, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_in_a_patched_process_the_test_goes_on() -> None:
    """A thread is a greenlet there, and the hub in which it serves is the test's."""
    script = """
from gevent import monkey; monkey.patch_all()
import requests
from geventwsgi.testing import live_server
from tests.test_testing import app
for path in ("/one", "/two"):
    with live_server(app) as url:
        print(requests.get(url + path, timeout=10).text, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("/one\n/two\n", "")


def test_a_server_that_cannot_be_imported_is_an_error_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that serves would be gone, and nobody there to say that it listens."""
    monkeypatch.setitem(sys.modules, "geventwsgi.serving.server", None)
    with pytest.raises(ImportError), live_server(lambda environ, start_response: []):
        pass
