"""Each limit and deadline of a real server: just below it passes, just above it is refused, and the log says so."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket

from geventwsgi import WSGIServer
from geventwsgi.http.body import MAX_CHUNK_LINE, MAX_TRAILERS
from geventwsgi.serving.http1.http1_exchange import DRAIN_BODY
from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.streams import tls_client_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = "GET / HTTP/1.1\r\nHost: x\r\n"
POST = "POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + "Transfer-Encoding: chunked\r\n\r\n"
UNREAD = "POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: "


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    if environ["PATH_INFO"] != "/unread":
        while environ["wsgi.input"].read(65536):
            pass
    start_response("200 OK", [])
    return [b"x" * (64 << 20)] if environ["PATH_INFO"] == "/big" else [b"hello"]


@contextmanager
def serving(**settings: Any) -> Iterator[tuple[WSGIServer, io.StringIO]]:
    """Yield a started server and its access log."""
    log = io.StringIO()
    server = WSGIServer(("127.0.0.1", 0), app, log=log, access_log_format="%(s)s %(r)s", **settings)
    server.start()
    try:
        yield server, log
    finally:
        server.stop(0)


@contextmanager
def connected(server: WSGIServer) -> Iterator[socket.socket]:
    with socket.create_connection(server.address) as client:
        client.settimeout(10)
        yield client


def status_of(client: socket.socket) -> int:
    """Return the status of the first response, 0 if the server closed without one."""
    answer = b""
    while b"\r\n" not in answer:
        piece = client.recv(4096)
        if not piece:
            return 0
        answer += piece
    return int(answer.split(b" ")[1])


def logged(log: io.StringIO) -> list[int]:
    """Return the statuses of the access log."""
    return [int(line.split()[0]) for line in log.getvalue().splitlines()]


def field(size: int) -> str:
    """Return a head whose longest field line has ``size`` bytes."""
    return f"{GET}A: {'b' * (size - 3)}\r\n\r\n"


def line(size: int) -> str:
    """Return a head whose request line has ``size`` bytes."""
    return f"GET /{'a' * (size - len('GET / HTTP/1.1'))} HTTP/1.1\r\nHost: x\r\n\r\n"


def head(size: int) -> str:
    """Return a head of ``size`` bytes in all."""
    text, number = GET, 0
    while size - len(text) > 4200:
        text += f"A{number:03}: {'b' * 3992}\r\n"
        number += 1
    return text + f"Z: {'c' * (size - len(text) - 7)}\r\n\r\n"


def body(size: int) -> str:
    return f"{POST}Content-Length: {size}\r\n\r\n{'b' * size}"


def chunks(size: int) -> str:
    return f"{CHUNKED}3\r\nabc\r\n{size - 3:x}\r\n{'d' * (size - 3)}\r\n0\r\n\r\n"


def chunk_line(size: int) -> str:
    return f"{CHUNKED}1;{'e' * (size - 2)}\r\na\r\n0\r\n\r\n"


def trailers(size: int) -> str:
    return f"{CHUNKED}0\r\n" + f"T: {'v' * (size - 7)}\r\n\r\n"


#: Name: the settings, what is sent for a size, the largest size that passes, the status above it.
SIZES: dict[str, tuple[dict[str, Any], Callable[[int], str], int, int]] = {
    "limit_request_line": ({"limit_request_line": 100}, line, 100, 414),
    "limit_request_line, default": ({}, line, 4094, 414),
    "limit_request_fields": ({"limit_request_fields": 5}, lambda n: GET + "A: b\r\n" * (n - 1) + "\r\n", 5, 431),
    "limit_request_fields, default": ({}, lambda n: GET + "A: b\r\n" * (n - 1) + "\r\n", 100, 431),
    "limit_request_field_size": ({"limit_request_field_size": 100}, field, 100, 431),
    "limit_request_field_size, default": ({}, field, 8190, 431),
    "the whole head": ({}, head, 65536, 431),
    "limit_request_body, declared": ({"limit_request_body": 100}, body, 100, 413),
    "limit_request_body, chunked": ({"limit_request_body": 100}, chunks, 100, 413),
    "a chunk-size line": ({}, chunk_line, MAX_CHUNK_LINE, 400),
    "trailers": ({"limit_request_field_size": 0}, trailers, MAX_TRAILERS, 431),
}


@pytest.mark.parametrize(("settings", "make", "most", "status"), SIZES.values(), ids=SIZES)
def test_a_size_at_its_limit_passes_and_one_above_is_refused(
    settings: dict[str, Any], make: Callable[[int], str], most: int, status: int
) -> None:
    for size, expected in ((most, 200), (most + 1, status)):
        with serving(**settings) as (server, log), connected(server) as client:
            client.sendall(make(size).encode())
            assert status_of(client) == expected
            eventually(lambda log=log: logged(log))
            assert logged(log) == [expected]


def test_an_unread_body_at_its_limit_keeps_the_connection_and_one_above_ends_it() -> None:
    for size, answers in ((DRAIN_BODY, 2), (DRAIN_BODY + 1, 1)):
        with serving() as (server, log), connected(server) as client:
            client.sendall(f"{UNREAD}{size}\r\n\r\n{'u' * size}{GET}Connection: close\r\n\r\n".encode())
            received = b""
            while piece := client.recv(65536):
                received += piece
            assert received.count(b"HTTP/1.1 200 OK") == answers
            assert logged(log) == [200] * answers


def drip(client: socket.socket, data: str, seconds: float) -> None:
    """Send ``data`` in even pieces over about ``seconds``."""
    pieces = 10
    step = -(-len(data) // pieces)
    for start in range(0, len(data), step):
        try:
            client.sendall(data[start : start + step].encode())
        except OSError:
            return
        gevent.sleep(seconds / pieces)


@pytest.mark.parametrize(("seconds", "status"), [(0.2, 200), (3, 408)])
def test_header_timeout(seconds: float, status: int) -> None:
    with serving(header_timeout=1) as (server, log), connected(server) as client:
        drip(client, f"{GET}\r\n", seconds)
        assert status_of(client) == status
        eventually(lambda: logged(log))
        assert logged(log) == [status]


@pytest.mark.parametrize(("seconds", "status"), [(0.2, 200), (4, 408)])
def test_body_min_rate_after_body_grace(seconds: float, status: int) -> None:
    with serving(body_grace=1, body_min_rate=1000) as (server, log), connected(server) as client:
        client.sendall(f"{POST}Content-Length: 100\r\n\r\n".encode())
        drip(client, "b" * 100, seconds)
        assert status_of(client) == status
        eventually(lambda: logged(log))
        assert logged(log) == [status]


@pytest.mark.parametrize(("seconds", "status"), [(0.1, 200), (3, 0)])
def test_first_byte_timeout_closes_silently(seconds: float, status: int) -> None:
    with serving(first_byte_timeout=1) as (server, log), connected(server) as client:
        gevent.sleep(seconds)
        if status:
            client.sendall(f"{GET}\r\n".encode())
        assert status_of(client) == status
        assert logged(log) == ([status] if status else [])


@pytest.mark.parametrize(("seconds", "status"), [(0.1, 200), (3, 0)])
def test_keepalive_closes_silently(seconds: float, status: int) -> None:
    with serving(keepalive=1) as (server, log), connected(server) as client:
        client.sendall(f"{GET}\r\n".encode())
        assert client.recv(4096).endswith(b"hello")
        gevent.sleep(seconds)
        if status:
            client.sendall(f"{GET}\r\n".encode())
        assert status_of(client) == status
        assert logged(log) == [200] + ([status] if status else [])


@pytest.mark.parametrize("in_time", [True, False])
def test_write_timeout_drops_a_client_that_takes_nothing(*, in_time: bool) -> None:
    with serving(write_timeout=1) as (server, log), connected(server) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert status_of(client) == 200
        gevent.sleep(0.1 if in_time else 2.5)
        received = 0
        try:
            while piece := client.recv(1 << 20):
                received += len(piece)
        except ConnectionResetError:
            pass
        assert (received > 60 << 20) is in_time
        eventually(lambda: logged(log))
        assert logged(log) == [200 if in_time else 499]


@pytest.mark.parametrize("in_time", [True, False])
def test_handshake_timeout_drops_a_client_that_says_nothing(*, in_time: bool) -> None:
    tls = {"certfile": certificates().certfile, "keyfile": certificates().keyfile}
    with serving(handshake_timeout=1, **tls) as (server, log), connected(server) as client:
        if in_time:
            gevent.sleep(0.1)
            with tls_client_context().wrap_socket(client, server_hostname="localhost") as encrypted:
                encrypted.sendall(f"{GET}\r\n".encode())
                assert status_of(encrypted) == 200
        else:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert logged(log) == ([200] if in_time else [])
