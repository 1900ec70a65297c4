"""Objects of a request that the application keeps while its response is held: they act until it has ended."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import gevent
import gevent.event
import pytest

from geventwsgi.serving.request.lane import Lane
from tests.serving.http1.test_http1_held import GET, LAST, OTHER, App, Script, begin, chunk, held
from tests.support.eventually import eventually
from tests.support.servers import read_all, read_to, running, serving

if TYPE_CHECKING:
    from pathlib import Path


class Keeping(App):
    """Keeps what its last environ had, or one entry of it."""

    def __init__(self, only: str | None = None) -> None:
        super().__init__()
        self.only = only
        self.kept: dict[str, Any] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        def started(status: str, headers: Any) -> None:
            self.kept["write"] = start_response(status, headers)

        if environ["PATH_INFO"] != "/other":
            self.kept.update(environ if self.only is None else {self.only: environ[self.only]})
        return super().__call__(environ, started)


def test_what_is_kept_of_the_request_changes_nothing_of_what_was_sent() -> None:
    app = Keeping()
    with running(app) as server:
        client = begin(server, end=b"first\r\n")
        with pytest.raises(Exception, match="after the response had ended"):
            app.kept["write"](b"inserted")
        app.kept["wsgi.early_hints"]([("Link", "x")])
        app.kept["geventwsgi.hold"](Script())
        app.script.put(b"more", None)
        assert read_to(client, LAST) == chunk(b"more") + LAST


def test_a_deadline_that_is_kept_can_be_set() -> None:
    app = Keeping()
    with running(app) as server:
        client = begin(server, end=b"first\r\n")
        app.kept["geventwsgi.deadline"].set(0.1)
        assert 0 < app.kept["geventwsgi.deadline"].remaining <= 0.1
        with pytest.raises(ConnectionError):
            read_all(client)
        eventually(lambda: "Request timed out" in server.errors.getvalue())


def test_a_deadline_that_is_kept_can_be_lifted() -> None:
    app = Keeping()
    with running(app, request_timeout=0.2) as server:
        client = begin(server, end=b"first\r\n")
        app.kept["geventwsgi.deadline"].lift()
        gevent.sleep(0.4)
        app.script.put(b"more")
        read_to(client, b"more\r\n")


def test_a_deadline_that_is_kept_is_nothing_to_the_next_request() -> None:
    app = Keeping()
    with running(app) as server:
        client = begin(server, end=b"first\r\n")
        app.script.put(None)
        read_to(client, LAST)
        app.kept["geventwsgi.deadline"].set(0)
        client.sendall(OTHER)
        assert read_to(client, b"other").startswith(b"HTTP/1.1 200 OK\r\n")
        assert app.kept["geventwsgi.deadline"].remaining is None


@pytest.mark.parametrize("way", ["tcp", "tls", "unix"])
def test_close_may_ask_whether_the_client_has_left(tmp_path: Path, way: str) -> None:
    app = Keeping()
    seen: list[bool] = []
    app.closes = lambda: seen.append(app.kept["geventwsgi.client"].disconnected())
    with serving(app, way, tmp_path) as server:
        for leaves in (True, False):
            client = begin(server, way, end=b"first\r\n")
            if leaves:
                client.close()
            else:
                app.script.put(None)
            eventually(lambda: seen and seen.pop() is leaves)


def test_a_callback_may_be_added_while_it_is_held() -> None:
    app, called = Keeping(), gevent.event.Event()
    with running(app) as server:
        client = begin(server, end=b"first\r\n")
        app.kept["geventwsgi.client"].on_gone(called.set)
        client.close()
        assert called.wait(5)


def test_trailers_may_be_given_while_it_is_held__rfc9112_7_1_2() -> None:
    app = Keeping()
    with running(app) as server:
        client = begin(server, request=GET[:-2] + b"TE: trailers\r\n\r\n", end=b"first\r\n")
        app.kept["geventwsgi.send_trailers"]([("Digest", "x")])
        app.script.put(None)
        assert read_to(client, b"\r\n\r\n") == b"0\r\nDigest: x\r\n\r\n"


def test_a_lane_is_kept_for_objects_that_are_kept_alone() -> None:
    for app, lanes in ((App(), 0), (Keeping(), 1), (Keeping("geventwsgi.deadline"), 1)):
        with running(app) as server:
            client = server.connect(OTHER)
            for _ in range(2):
                read_to(client, b"other")
                client.sendall(GET)
                read_to(client, b"first\r\n")
                eventually(lambda: held(server) == 1)
                gc.collect()
                assert sum(type(each) is Lane and each.transport is not None for each in gc.get_objects()) == lanes
                app.script.put(None)
                read_to(client, LAST)
                client.sendall(OTHER)
