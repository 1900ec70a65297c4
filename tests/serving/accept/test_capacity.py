"""What a worker has room for, as books and as seen from outside."""

from __future__ import annotations

import errno
import io
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket

from geventwsgi import WSGIServer
from geventwsgi.serving import assembly
from geventwsgi.serving.accept.capacity import RESERVED_DESCRIPTORS, Capacity, Guest
from geventwsgi.serving.accept.timeouts import Timeouts
from geventwsgi.serving.wire import sockets
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


class TestBooks:
    @pytest.mark.parametrize("limit", [8, 64, 100])
    def test_with_few_descriptors_half_are_for_connections(self, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sysconf", {"SC_OPEN_MAX": limit}.get)
        assert Capacity(1).connections == limit // 2

    def test_without_a_number_descriptors_bound_the_connections(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sysconf", {"SC_OPEN_MAX": 5000}.get)
        assert Capacity(1).connections == 5000 - RESERVED_DESCRIPTORS
        assert Capacity(1, 7).connections == 7
        monkeypatch.setattr(os, "sysconf", {"SC_OPEN_MAX": -1}.get)  # no limit
        assert Capacity(1).connections > 1000000

    def test_addresses_are_counted_only_when_bounded(self) -> None:
        capacity = Capacity(1, per_address=1)
        one = Guest()
        one.remote_addr = "192.0.2.1"
        assert capacity.admits("192.0.2.1")
        capacity.enter(one)
        assert not capacity.admits("192.0.2.1")
        assert capacity.admits("192.0.2.2")
        assert capacity.admits("")
        capacity.leave(one)
        assert capacity.admits("192.0.2.1")
        assert Capacity(1).admits("192.0.2.1")


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., WSGIServer]]:
    """Make servers that park at once and are stopped when the test ends."""
    servers: list[WSGIServer] = []
    monkeypatch.setattr(assembly, "Timeouts", partial(Timeouts, warm=0.02))

    def make_one(**settings: Any) -> WSGIServer:
        server = WSGIServer(("127.0.0.1", 0), hello, **{"log": None, **settings})
        servers.append(server)
        server.start()
        return server

    yield make_one
    for server in servers:
        server.stop(0)


def connect(server: WSGIServer) -> socket.socket:
    client = socket.create_connection(server.address)
    client.settimeout(10)
    return client


def ask(client: socket.socket) -> bytes:
    client.sendall(GET)
    return client.recv(65536)


def parked(server: WSGIServer) -> int:
    return len(server._WSGIServer__capacity.parked)


class TestConnections:
    def test_the_one_idle_longest_gives_way(self, make: Callable[..., WSGIServer]) -> None:
        server = make(limit_connections=2)
        first, second = connect(server), connect(server)
        assert ask(first).endswith(b"hello")
        assert ask(second).endswith(b"hello")
        eventually(lambda: parked(server) == 2)
        assert ask(first).endswith(b"hello")
        eventually(lambda: parked(server) == 2)
        third = connect(server)
        assert ask(third).endswith(b"hello")
        assert second.recv(10) == b""
        assert ask(first).endswith(b"hello")
        assert server.connections == 2
        for client in (first, second, third):
            client.close()

    def test_then_the_oldest_half_sent_head(
        self, make: Callable[..., WSGIServer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("geventwsgi.serving.accept.capacity.HOARDED_AFTER", 0.1)
        server = make(limit_connections=2)
        clients = [connect(server), connect(server)]
        for client in clients:
            client.sendall(GET[:10])
            eventually(lambda: len(server._WSGIServer__capacity.half_sent) > 0)
        eventually(lambda: len(server._WSGIServer__capacity.half_sent) == 2)
        with connect(server) as third:
            assert ask(third).endswith(b"hello")
            assert clients[0].recv(10) == b""
        clients[0].close()
        clients[1].close()

    def test_while_all_are_busy_new_ones_wait_in_the_backlog(self, make: Callable[..., WSGIServer]) -> None:
        release = gevent.event.Event()

        def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            release.wait(10)
            return hello(environ, start_response)

        server = make(limit_connections=1)
        server.application = slow
        busy, waiting = connect(server), connect(server)
        busy.sendall(GET)
        waiting.sendall(GET)
        waiting.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.recv(10)
        assert server.connections == 1
        release.set()
        waiting.settimeout(10)
        assert busy.recv(65536).endswith(b"hello")
        assert waiting.recv(65536).endswith(b"hello")
        busy.close()
        waiting.close()

    def test_one_address_has_its_bound(self, make: Callable[..., WSGIServer]) -> None:
        server = make(limit_connections_per_address=2)
        clients = [connect(server), connect(server)]
        assert all(ask(client).endswith(b"hello") for client in clients)
        with connect(server) as third:
            assert third.recv(10) == b""
        with socket.create_connection(server.address, source_address=("127.0.0.2", 0)) as other:
            assert ask(other).endswith(b"hello")
        clients[0].close()
        eventually(lambda: server.connections == 1)
        with connect(server) as again:
            assert ask(again).endswith(b"hello")
        clients[1].close()


class TestExhaustion:
    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
    def test_accept_goes_on_after_one_line_and_one_idle_connection_less(
        self, make: Callable[..., WSGIServer], monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        log = io.StringIO()
        server = make(error_log=log)
        idle = connect(server)
        assert ask(idle).endswith(b"hello")
        eventually(lambda: parked(server) == 1)
        real, failures = sockets.accept, [number] * 3

        def failing(listener: Any) -> Any:
            if failures:
                raise OSError(failures.pop(), "out of it")
            return real(listener)

        monkeypatch.setattr(sockets, "accept", failing)
        with connect(server) as client:
            assert ask(client).endswith(b"hello")
        assert failures == []
        assert idle.recv(10) == b""
        assert log.getvalue().count("Cannot accept connections: out of it") == 1
        assert "ulimit -n" in log.getvalue()
        assert "Traceback" not in log.getvalue()
        idle.close()


def test_a_connection_leaves_the_books_whatever_ended_it(make: Callable[..., WSGIServer]) -> None:
    server = make(limit_connections_per_address=100)
    clients = [connect(server) for _ in range(20)]
    for number, client in enumerate(clients):
        client.sendall(GET[: number * 2])
    eventually(lambda: server.connections == 20)
    for number, client in enumerate(clients):
        if number % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
    eventually(lambda: server.connections == 0)
    capacity = server._WSGIServer__capacity
    assert (capacity.open(), capacity.parked, capacity.half_sent, capacity._by_address) == (0, {}, {}, {})


class TestSlots:
    """No number of slow clients locks the others out."""

    def serve(self, make: Callable[..., WSGIServer], app: Any) -> WSGIServer:
        server = make(worker_connections=2)
        server.application = app
        return server

    def test_a_request_that_waits_for_its_body_holds_no_slot(self, make: Callable[..., WSGIServer]) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            body = environ["wsgi.input"].read()
            start_response("200 OK", [])
            return [body or b"hello"]

        server = self.serve(make, app)
        slow = [connect(server) for _ in range(5)]
        for client in slow:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234")
        eventually(lambda: sum(c.exchange is not None for c in server._WSGIServer__service.connections) == 5)
        with connect(server) as client:
            assert ask(client).endswith(b"hello")
        for client in slow:
            client.sendall(b"56789")
            assert client.recv(65536).endswith(b"0123456789")
            client.close()
        assert server.requests == 0

    def test_a_request_that_waits_for_its_reader_holds_no_slot(self, make: Callable[..., WSGIServer]) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            start_response("200 OK", [])
            return [b"x" * (16 << 20)] if environ["PATH_INFO"] == "/big" else [b"hello"]

        server = self.serve(make, app)
        slow = [connect(server) for _ in range(5)]
        for client in slow:
            client.sendall(GET.replace(b"/ ", b"/big "))
            assert client.recv(1)
        with connect(server) as client:
            assert ask(client).endswith(b"hello")
        for client in slow:
            client.close()
        eventually(lambda: server.connections == 0)
        assert server.requests == 0
