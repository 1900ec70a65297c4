"""Requests beyond worker_connections: they wait in order, for a bounded time, and not too many of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.event import Event

from geventwsgi.errors import ClientDisconnected, RequestError
from geventwsgi.serving.loop.places import Places
from tests.support.eventually import eventually
from tests.support.servers import GET, Running, read_all, read_to, running

if TYPE_CHECKING:
    from collections.abc import Callable


class Slow:
    """Holds each request until it may go on; counts those that run."""

    def __init__(self) -> None:
        self.go = Event()
        self.began: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.began.append(environ["PATH_INFO"])
        self.go.wait(20)
        start_response("200 OK", [])
        return [b"hello"]


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def waiting(server: Running) -> int:
    return server.server._WSGIServer__capacity.places.queued


def test_they_wait_in_order_and_are_served() -> None:
    app = Slow()
    with running(app, worker_connections=1) as server:
        clients = []
        for number in range(5):
            clients.append(server.connect(get(f"/{number}")))
            eventually(lambda: len(app.began) + waiting(server) == len(clients))
        assert app.began == ["/0"]
        app.go.set()
        for client in clients:
            assert read_to(client, b"hello").startswith(b"HTTP/1.1 200 OK\r\n")
        assert app.began == [f"/{number}" for number in range(5)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_one_that_waited_too_long_gets_503_and_the_others_are_not_disturbed(method: str) -> None:
    app = Slow()
    with running(app, worker_connections=1, queue_timeout=0.2) as server:
        runs = server.connect(get("/runs"))
        eventually(lambda: app.began)
        answer = read_all(server.connect(get("/waits", method)))
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b"\r\n\r\n") is (method == "HEAD")
        app.go.set()
        assert read_to(runs, b"hello").startswith(b"HTTP/1.1 200 OK\r\n")
        assert read_to(server.connect(get("/next")), b"hello")
        assert app.began == ["/runs", "/next"]
        assert server.access.getvalue().splitlines()[0] == f"503 {method} /waits HTTP/1.1"
        assert server.server.requests == 0


def test_just_before_that_it_is_served() -> None:
    app = Slow()
    with running(app, worker_connections=1, queue_timeout=10) as server:
        server.connect(get("/runs"))
        eventually(lambda: app.began)
        waits = server.connect(get("/waits"))
        eventually(lambda: waiting(server))
        app.go.set()
        assert read_to(waits, b"hello").startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_queue_is_bounded__at_the_bound_and_one_beyond() -> None:
    app = Slow()
    with running(app, worker_connections=1, limit_request_queue=2, queue_timeout=10) as server:
        server.connect(get("/runs"))
        eventually(lambda: app.began)
        waits = [server.connect(get("/waits")) for _ in range(2)]
        eventually(lambda: waiting(server) == 2)
        answer = read_all(server.connect(get("/beyond")))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 10\r\n" in answer
        app.go.set()
        for client in waits:
            assert read_to(client, b"hello").startswith(b"HTTP/1.1 200 OK\r\n")


def test_one_whose_client_leaves_meanwhile_is_never_run() -> None:
    app = Slow()
    with running(app, worker_connections=1) as server:
        runs = server.connect(get("/runs"))
        eventually(lambda: app.began)
        server.connect(get("/leaves")).close()
        eventually(lambda: server.statuses == [499])
        assert waiting(server) == 0
        app.go.set()
        read_to(runs, b"hello")
        assert app.began == ["/runs"]
        assert server.access.getvalue().splitlines()[0] == "499 GET /leaves HTTP/1.1"


def test_a_request_that_has_begun_is_never_refused() -> None:
    """It gives its place away while it waits for its client, and takes the next free one however long that takes."""
    go = Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read()
        if not body:
            go.wait(20)
        start_response("200 OK", [])
        return [body or b"hello"]

    with running(app, worker_connections=1, queue_timeout=0.1, limit_request_queue=1) as server:
        upload = server.connect(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo")
        eventually(lambda: server.server.connections == 1 and server.server.requests == 0)
        server.connect(GET)
        eventually(lambda: server.server.requests == 1)
        upload.sendall(b"dy")
        gevent.sleep(0.4)
        go.set()
        assert read_to(upload, b"body").startswith(b"HTTP/1.1 200 OK\r\n")


def test_zero_bounds_neither_time_nor_number() -> None:
    places = Places(1, queue=0)
    places.take(0)
    greenlets = [gevent.spawn(places.take, 0) for _ in range(50)]
    gevent.sleep(0.05)
    assert not any(greenlet.ready() for greenlet in greenlets)
    gevent.killall(greenlets)
    assert places.queued == 0


def test_a_refusal_leaves_the_books_in_order() -> None:
    places = Places(1, queue=1)
    places.take(1)
    with pytest.raises(RequestError, match="503"):
        places.take(0.01)
    places.give_back()
    assert places.in_flight() == 0


# Requests that have begun, and wait for their turn once more after a wait for their clients


class Leaving:
    """An application whose request ends while a greenlet of it waits for its turn again: ``/one``.

    :param call: what the greenlet does, given the environ and ``write``.
    """

    def __init__(self, call: Callable[[dict[str, Any], Any], object]) -> None:
        self.one, self.other = Event(), Event()
        self.ended: list[object] = []
        self._call = call

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        path = environ["PATH_INFO"]
        write = start_response("200 OK", [("Content-Length", str(SIZE if path == "/one" else 2))])
        if path == "/one":
            gevent.spawn(self._run, environ, write)
            self.one.wait(20)
            return []
        if path == "/other":
            self.other.wait(20)
        return [b"ok"]

    def _run(self, environ: dict[str, Any], write: Any) -> None:
        try:
            self.ended.append(self._call(environ, write))
        except ClientDisconnected as error:
            self.ended.append(error)


SIZE = 16 << 20


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_greenlet_whose_request_ends_before_its_turn_comes_touches_nothing_of_the_next(kind: str) -> None:
    writes = kind == "write"
    app = Leaving(lambda environ, write: write(b"x" * SIZE) if writes else environ["wsgi.input"].read(9))
    with running(app, worker_connections=1) as server:
        client = server.connect(get("/one", "POST")[:-2] + b"Content-Length: 9\r\n\r\n1")
        eventually(lambda: server.server._WSGIServer__capacity.places.free == 1)  # it waits for its client
        other = server.connect(get("/other"))
        eventually(lambda: server.server._WSGIServer__capacity.places.free == 0)
        received = bytearray()
        if not writes:
            client.sendall(b"2")
        while writes and received.count(b"x") < SIZE:
            received += client.recv(1 << 20)
        eventually(lambda: waiting(server))
        app.one.set()
        eventually(lambda: "/one" in server.access.getvalue())
        with suppress(OSError):
            client.sendall(b"3456789" + get("/next") * 2)
        app.other.set()
        assert read_to(other, b"ok")
        eventually(lambda: app.ended)
        with suppress(OSError):
            while piece := client.recv(1 << 20):
                received += piece
        assert received.count(b"HTTP/1.1") == 1
        assert received.count(b"x") in (0, SIZE)
        assert isinstance(app.ended[0], ClientDisconnected)
        assert server.server.requests == 0
        assert server.server._WSGIServer__capacity.places.free == 1
