"""``health_path``: answered by the server, whatever the application does."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket

from geventwsgi import WSGIServer
from geventwsgi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
READY = b"HTTP/1.1 200 OK\r\n"
NOT_READY = b"HTTP/1.1 503 Service Unavailable\r\n"


def slow(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    gevent.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Length", "11")])
    return [b"application"]


@contextmanager
def serving(**options: Any) -> Iterator[WSGIServer]:
    server = WSGIServer(("127.0.0.1", 0), slow, **{"log": None, "health_path": "/healthz", **options})
    server.start()
    try:
        yield server
    finally:
        server.stop(0)


@contextmanager
def connected(server: WSGIServer) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=10) as client:
        yield client


def ask(client: socket.socket, request: bytes) -> bytes:
    """Send a request; return the response, its body included (which is never split here)."""
    client.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(65536)
        assert piece, received
        received += piece
    return received


def test_a_probe_is_answered_and_the_connection_kept() -> None:
    with serving() as server, connected(server) as client:
        for request in (PROBE, PROBE, PROBE.replace(b"/healthz", b"/healthz?from=balancer")):
            reply = ask(client, request)
            assert reply.startswith(READY)
            assert reply.endswith(b"\r\n\r\nready\n")
            assert b"Cache-Control: no-store\r\n" in reply
        assert ask(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"application")


def test_head_has_the_length_and_no_body() -> None:
    with serving() as server, connected(server) as client:
        reply = ask(client, PROBE.replace(b"GET", b"HEAD"))
        assert reply.startswith(READY)
        assert b"Content-Length: 6\r\n" in reply
        assert reply.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "request_", [PROBE.replace(b"GET", b"POST"), PROBE.replace(b"healthz", b"healthz/"), PROBE.replace(b"h", b"H", 1)]
)
def test_other_methods_and_paths_are_the_applications(request_: bytes) -> None:
    with serving() as server, connected(server) as client:
        assert ask(client, request_).endswith(b"application")


def test_it_is_off_by_default() -> None:
    with serving(health_path=None) as server, connected(server) as client:
        assert ask(client, PROBE).endswith(b"application")


def test_a_probe_waits_for_no_place_among_the_requests() -> None:
    with serving(worker_connections=1) as server, connected(server) as busy, connected(server) as client:
        busy.sendall(b"GET /?60 HTTP/1.1\r\nHost: x\r\n\r\n")
        while server.requests < 1:
            gevent.sleep(0.005)
        assert ask(client, PROBE).startswith(READY)
        assert server.requests == 1


def test_a_probe_leaves_no_access_record() -> None:
    log = io.StringIO()
    with serving(log=log) as server, connected(server) as client:
        ask(client, PROBE)
        ask(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert log.getvalue().count("HTTP/1.1") == 1


def test_it_says_503_while_the_server_is_not_to_get_requests() -> None:
    ready = True
    with serving(is_ready=lambda: ready) as server, connected(server) as client:
        assert ask(client, PROBE).startswith(READY)
        ready = False
        reply = ask(client, PROBE)
        assert reply.startswith(NOT_READY)
        assert reply.endswith(b"\r\n\r\ndraining\n")
        assert b"Connection: close" not in reply
        assert ask(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"application")


def test_it_says_503_and_closes_while_the_server_drains() -> None:
    with serving() as server, connected(server) as client, connected(server) as busy:
        busy.sendall(b"GET /?0.5 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ask(client, PROBE).startswith(READY)
        while server.requests < 1:
            gevent.sleep(0.005)
        drain = gevent.spawn(server.drain, 10)
        gevent.sleep(0)
        reply = ask(client, PROBE)
        assert reply.startswith(NOT_READY)
        assert b"Connection: close\r\n" in reply
        assert drain.get()


@pytest.mark.parametrize("path", ["healthz", "/a b", "/a?b", "/a#b", "/ä", 7])
def test_a_path_that_no_request_can_have_is_an_error(path: object) -> None:
    with pytest.raises(ConfigError, match="health_path must be"):
        WSGIServer(("127.0.0.1", 0), slow, health_path=path)
