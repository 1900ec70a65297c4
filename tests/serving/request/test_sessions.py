"""A connection in an application's hands ends with its request, whatever greenlets of the application still use it."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import select, socket
from gevent.event import Event

from geventwsgi.errors import ClientDisconnected
from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.servers import Running, read_to, running
from tests.support.streams import tls_client_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAKE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
RESET = b"\x01\0\0\0\0\0\0\0"

#: What an application does with the socket of its request.
Deed = Callable[[Any], object]


class App:
    """Takes the connection over and does something with it; has a greenlet of its own beside that."""

    def __init__(self, deed: Deed = lambda sock: None, beside: Deed | None = None) -> None:
        self.deed, self.beside = deed, beside
        self.sockets: list[Any] = []
        self.environs: list[dict[str, Any]] = []
        self.greenlets: list[gevent.Greenlet[..., Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        sock = environ["geventwsgi.socket"]
        self.environs.append(environ)
        self.sockets.append(sock)
        sock.sendall(b"101\r\n\r\n")
        if self.beside is not None:
            self.greenlets.append(gevent.spawn(self.beside, sock))
            gevent.sleep(0)
        self.deed(sock)
        return []

    def result(self) -> Any:
        """Return what the greenlet beside came to: its value or its exception."""
        (greenlet,) = self.greenlets
        greenlet.join(10)
        assert greenlet.ready(), "it waits for ever"
        return greenlet.value if greenlet.successful() else greenlet.exception


@pytest.fixture(params=["tcp", "tls", "unix"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    @contextmanager
    def serve(app: App, **settings: Any) -> Iterator[tuple[Running, Callable[[], socket.socket]]]:
        if request.param == "tls":
            settings |= {"certfile": certificates().certfile, "keyfile": certificates().keyfile}
        if request.param == "unix":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            settings["listener"] = listener

        def connect() -> socket.socket:
            client = server.connect()
            if request.param == "tls":
                client = tls_client_context().wrap_socket(client, server_hostname="localhost")
                server.clients.append(client)
            client.sendall(TAKE)
            read_to(client, b"101\r\n\r\n")
            return client

        with running(app, **settings) as server:
            yield server, connect

    return serve


def ended(server: Running) -> None:
    """Wait until no connection is left."""
    eventually(lambda: not server.server.connections)


def read_to_the_end(client: socket.socket) -> None:
    with suppress(ConnectionError):
        while client.recv(1 << 20):
            pass


def outcome(deed: Callable[[], Any]) -> Any:
    """Return what a call comes to: its value, or the exception that it raises."""
    try:
        return deed()
    except OSError as error:
        return error


@pytest.mark.parametrize("when", ["while the server lingers", "after the close"])
def test_a_recv_after_the_end_returns_at_once(serve: Callable[..., Any], when: str) -> None:
    app = App()
    with serve(app) as (server, connect):
        client = connect()
        if when == "after the close":
            client.close()
            ended(server)
        else:
            assert client.recv(1) == b""
        with gevent.Timeout(5):
            assert app.sockets[0].recv(10) == b""
        client.close()
        ended(server)


def test_a_late_reader_does_not_take_the_end_from_the_server(serve: Callable[..., Any]) -> None:
    """The server reads away what comes until the client has ended, too: a second reader would wait in its place."""
    app = App(beside=lambda sock: (gevent.sleep(0.05), sock.recv(10)))
    with serve(app) as (server, connect):
        client = connect()
        assert client.recv(1) == b""
        app.result()
        client.close()
        ended(server)


@pytest.mark.parametrize("end", ["returns", "raises", "is killed"])
@pytest.mark.parametrize("wait", ["recv", "sendall", "select"])
def test_whoever_still_waits_is_told(serve: Callable[..., Any], wait: str, end: str) -> None:
    def deed(sock: Any) -> None:
        gevent.sleep(0.05)
        if end == "raises":
            raise RuntimeError("on purpose")
        if end == "is killed":
            raise gevent.GreenletExit

    waits: dict[str, Deed] = {
        "recv": lambda sock: outcome(lambda: sock.recv(10)),
        "sendall": lambda sock: outcome(lambda: sock.sendall(b"x" * (32 << 20))),
        "select": lambda sock: (select.select([sock], [], [], 60)[0] == [sock], outcome(lambda: sock.recv(10))),
    }
    app = App(deed, beside=waits[wait])
    with serve(app) as (server, connect):
        client = connect()
        eventually(lambda: app.greenlets)
        if wait != "sendall":
            read_to_the_end(client)
        client.close()
        result = app.result()
        assert result == (True, b"") if wait == "select" else isinstance(result, ClientDisconnected)
        ended(server)


def test_all_readers_and_senders_are_told(serve: Callable[..., Any]) -> None:
    def beside(sock: Any) -> int:
        deeds = [lambda: sock.recv(10)] * 3 + [lambda: sock.sendall(b"x" * (16 << 20))] * 3
        greenlets = [gevent.spawn(outcome, deed) for deed in deeds]
        return len(gevent.joinall(greenlets, timeout=10))

    app = App(lambda sock: gevent.sleep(0.05), beside)
    with serve(app) as (server, connect):
        client = connect()
        eventually(lambda: app.greenlets)
        client.close()
        assert app.result() == 6
        ended(server)


def test_a_duplicate_does_not_keep_the_connection_open(serve: Callable[..., Any]) -> None:
    duplicates: list[int] = []
    app = App(lambda sock: duplicates.append(os.dup(sock.fileno())))
    with serve(app) as (server, connect):
        client = connect()
        assert client.recv(1) == b""
        client.close()
        ended(server)
        os.close(duplicates[0])


def test_a_client_that_takes_nothing_is_dropped_while_the_application_goes_on(serve: Callable[..., Any]) -> None:
    go = Event()
    app = App(lambda sock: go.wait(10), lambda sock: outcome(lambda: sock.sendall(b"x" * (32 << 20))))
    with serve(app, write_timeout=0.2) as (server, connect):
        client = connect()
        assert "write_timeout" in str(app.result())
        read_to_the_end(client)
        assert app.environs[0]["geventwsgi.client"].gone.wait(5)
        assert app.sockets[0].recv(10) == b""
        go.set()
        ended(server)
        assert "Traceback" not in server.errors.getvalue()


def test_a_client_that_resets_ends_it_for_all(serve: Callable[..., Any]) -> None:
    def deed(sock: Any) -> None:
        with suppress(ClientDisconnected):
            while sock.recv(10):
                pass

    app = App(deed, lambda sock: outcome(lambda: sock.sendall(b"x" * (32 << 20))))
    with serve(app) as (server, connect):
        client = connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        ended(server)
        assert isinstance(app.result(), ClientDisconnected)


def test_what_is_left_of_a_session_is_no_cycle(serve: Callable[..., Any]) -> None:
    """A cycle would keep its memory, and a descriptor of its own, until the collector comes by."""
    app = App(lambda sock: sock.fileno())
    with serve(app) as (server, connect):
        connect().close()
        ended(server)
        gc.collect()
        gc.disable()
        try:
            connect().close()
            ended(server)
            left = weakref.ref(app.sockets[-1])
            app.sockets.clear()
            app.environs.clear()
            eventually(lambda: left() is None)
        finally:
            gc.enable()
