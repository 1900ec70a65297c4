"""Streams: each chunk at once, a reader that stops costs its own request alone, and bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.event import Event

from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.servers import GET, Running, read_all, read_to, running
from tests.support.streams import tls_client_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gevent import socket

CHUNK = 65536
#: What may be under way for a reader that does not read: a chunk, and the kernels' buffers at both ends.
UNDER_WAY = 16 << 20


def connect(server: Running, tls: bool) -> socket.socket:
    client = server.connect()
    if not tls:
        return client
    wrapped = tls_client_context().wrap_socket(client, server_hostname="localhost")
    server.clients.append(wrapped)
    return wrapped


def settings(tls: bool) -> dict[str, Any]:
    return {"certfile": certificates().certfile, "keyfile": certificates().keyfile} if tls else {}


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_each_chunk_arrives_before_the_next_is_made(*, tls: bool) -> None:
    arrived = Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        for number in range(5):
            yield b"%d" % number
            assert arrived.wait(10)
            arrived.clear()

    with running(app, **settings(tls)) as server:
        client = connect(server, tls)
        client.sendall(GET)
        for number in range(5):
            read_to(client, b"1\r\n%d\r\n" % number)
            arrived.set()
        read_to(client, b"0\r\n\r\n")


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_a_reader_that_stops_blocks_its_own_request_and_bounded_memory(*, tls: bool) -> None:
    made = [0]
    closed: list[bool] = []

    def chunks() -> Iterator[bytes]:
        try:
            while True:
                made[0] += CHUNK
                yield b"x" * CHUNK
        finally:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        return [b"hello"] if environ["PATH_INFO"] == "/other" else chunks()

    with running(app, **settings(tls)) as server:
        stuck = connect(server, tls)
        stuck.sendall(GET)
        read_to(stuck, b"\r\n\r\n")

        def stands() -> bool:
            before = made[0]
            gevent.sleep(0.2)
            return made[0] == before

        eventually(stands)
        assert made[0] < UNDER_WAY
        other = connect(server, tls)
        other.sendall(b"GET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_all(other).endswith(b"hello")
        for client in server.clients:
            client.close()
        eventually(lambda: closed)
        eventually(lambda: 499 in server.statuses)


def test_frameworks_make_nothing_of_a_timeout_or_a_departure() -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask("held")
    ended: list[str] = []

    @app.route("/")
    def wait() -> str:
        try:
            gevent.sleep(20)
        finally:
            ended.append("finally")
        return "hello"

    with running(app, request_timeout=0.2) as server:
        assert read_all(server.connect(GET)).startswith(b"HTTP/1.1 504 ")
        eventually(lambda: server.statuses == [504])
    with running(app, on_disconnect="cancel") as server:
        server.connect(GET).close()
        eventually(lambda: server.statuses == [499])
    assert ended == ["finally", "finally"]
