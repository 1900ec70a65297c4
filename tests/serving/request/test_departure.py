"""A client that leaves, or seems to, while its request runs: who is told, and what becomes of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving.request import departure
from geventwsgi.serving.wire.poller import WatcherPoller
from geventwsgi.serving.wire.sockets import borrowed
from tests.support.eventually import eventually
from tests.support.servers import GET, read_all, read_to, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CLOSE = GET[:-2] + b"Connection: close\r\n\r\n"


class App:
    """Waits until a test lets it go on; keeps what it saw."""

    def __init__(self, before: Callable[[dict[str, Any]], object] = lambda _environ: None) -> None:
        self.before = before
        self.environs: list[dict[str, Any]] = []
        self.go = Event()
        self.ended: list[BaseException | None] = []

    @property
    def environ(self) -> dict[str, Any]:
        eventually(lambda: self.environs)
        return self.environs[-1]

    @property
    def client(self) -> Any:
        return self.environ["geventwsgi.client"]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.environs.append(environ)
        try:
            self.before(environ)
            self.go.wait(20)
        except BaseException as error:
            self.ended.append(error)
            raise
        self.ended.append(None)
        start_response("200 OK", [])
        return [b"hello"]


class TestNotify:
    def test_the_event_is_set_and_the_request_goes_on(self) -> None:
        app = App()
        with running(app) as server:
            client = server.connect(GET)
            gone = app.client.gone
            assert not gone.is_set()
            assert app.environ["waitress.client_disconnected"]() is False
            client.close()
            assert gone.wait(10)
            assert app.environ["waitress.client_disconnected"]() is True
            assert app.client.gone is gone
            assert app.ended == []
            app.go.set()
            eventually(lambda: server.statuses == [499])
            assert app.ended == [None]
            assert server.errors.getvalue() == ""

    def test_an_event_asked_for_afterwards_is_set(self) -> None:
        app = App()
        with running(app) as server:
            server.connect(GET).close()
            assert app.environ
            eventually(app.environ["waitress.client_disconnected"])
            assert app.client.gone.is_set()

    def test_callbacks_are_called_once_by_a_greenlet_that_may_wait(self) -> None:
        app, called = App(), []

        def callback() -> None:
            gevent.sleep(0.01)
            called.append("then")

        with running(app) as server:
            client = server.connect(GET)
            app.client.on_gone(callback)
            client.close()
            eventually(lambda: called)
            app.client.on_gone(lambda: called.append("at once"))
            eventually(lambda: len(called) == 2)
            app.go.set()
            eventually(lambda: server.statuses)
        assert called == ["then", "at once"]

    def test_a_callback_that_fails_is_logged_and_the_next_is_called(self) -> None:
        app, called = App(), []

        def broken() -> None:
            raise RuntimeError("broken callback")

        with running(app) as server:
            client = server.connect(GET)
            app.client.on_gone(broken)
            app.client.on_gone(lambda: called.append(1))
            client.close()
            eventually(lambda: called)
            app.go.set()
            assert "Error in an on_gone callback" in server.errors.getvalue()
            assert "broken callback" in server.errors.getvalue()

    def test_callbacks_of_two_requests_share_no_spawn_tree(self) -> None:
        app, found = App(), []

        def callback() -> None:
            tree: Any = gevent.getcurrent().spawn_tree_locals  # every Greenlet has it
            found.append(dict(tree))
            tree["user"] = "alice"

        app.before = lambda environ: environ["geventwsgi.client"].on_gone(callback)
        with running(app) as server:
            clients = [server.connect(GET), server.connect(GET)]
            eventually(lambda: len(app.environs) == len(clients))
            for client in clients:
                client.close()
            eventually(lambda: len(found) == len(clients))
            app.go.set()
        assert found == [{}, {}]

    def test_what_a_request_asked_for_ends_with_it(self) -> None:
        app, called = App(), []
        with running(app) as server:
            client = server.connect(GET)
            first, gone = app.client, app.client.gone
            first.on_gone(lambda: called.append(1))
            first.cancel_on_gone()
            app.go.set()
            read_to(client, b"hello")
            app.go.clear()
            client.sendall(GET)
            eventually(lambda: len(app.environs) == 2)
            client.close()
            eventually(app.environ["waitress.client_disconnected"])
            app.go.set()
            eventually(lambda: len(app.ended) == 2)
        assert (app.ended, called, gone.is_set()) == ([None, None], [], False)

    def test_after_the_request_nothing_is_heard_any_more(self) -> None:
        app, called = App(), []
        app.go.set()
        with running(app) as server:
            client = server.connect(GET)
            read_to(client, b"hello")
            app.client.on_gone(lambda: called.append(1))
            assert not app.client.gone.is_set()
            client.close()
            eventually(lambda: server.server.connections == 0)
        assert called == []

    def test_a_write_after_the_departure_fails__although_the_kernel_would_take_it(self) -> None:
        failures: list[BaseException] = []

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            write = start_response("200 OK", [])
            write(b"first")
            environ["geventwsgi.client"].gone.wait(10)
            try:
                write(b"second")
            except OSError as error:
                failures.append(error)
                raise
            return iter(())

        with running(app) as server:
            client = server.connect(GET)
            read_to(client, b"first\r\n")
            client.close()
            eventually(lambda: server.statuses == [499])
        assert isinstance(failures[0], ClientDisconnected)

    def test_an_error_of_the_application_after_it_is_still_logged(self) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            environ["geventwsgi.client"].gone.wait(10)
            raise ValueError("a bug")

        with running(app) as server:
            server.connect(GET).close()
            eventually(lambda: server.statuses)
            assert "ValueError: a bug" in server.errors.getvalue()


class TestCancel:
    def test_the_request_ends_where_it_waits(self) -> None:
        app = App()
        with running(app, on_disconnect="cancel") as server:
            client = server.connect(GET)
            assert app.environ
            client.close()
            eventually(lambda: server.statuses == [499])
            assert isinstance(app.ended[0], ClientDisconnected)
            assert server.errors.getvalue() == ""
            eventually(lambda: server.server.connections == 0)

    def test_a_request_may_ask_for_it_or_decline(self) -> None:
        asks = App(lambda environ: environ["geventwsgi.client"].cancel_on_gone())
        with running(asks) as server:
            server.connect(GET).close()
            eventually(lambda: server.statuses == [499])
        declines = App(lambda environ: environ["geventwsgi.client"].cancel_on_gone(cancel=False))
        with running(declines, on_disconnect="cancel") as server:
            server.connect(GET).close()
            assert declines.client.gone.wait(10)
            gevent.sleep(0.05)
            assert declines.ended == []
            declines.go.set()
            eventually(lambda: declines.ended == [None])

    def test_asking_too_late_raises_at_once(self) -> None:
        def late(environ: dict[str, Any]) -> None:
            environ["geventwsgi.client"].gone.wait(10)
            environ["geventwsgi.client"].cancel_on_gone()

        app = App(late)
        with running(app) as server:
            server.connect(GET).close()
            eventually(lambda: server.statuses == [499])
        assert isinstance(app.ended[0], ClientDisconnected)

    def test_a_generator_runs_its_finally_and_close_is_called(self) -> None:
        seen: list[str] = []

        class Body:
            def __iter__(self) -> Iterator[bytes]:
                try:
                    yield b"first"
                    gevent.sleep(20)
                finally:
                    gevent.sleep(0.05)
                    seen.append("finally")

            def close(self) -> None:
                gevent.sleep(0.05)
                seen.append("close")

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Body:
            start_response("200 OK", [])
            return Body()

        with running(app, on_disconnect="cancel") as server:
            client = server.connect(GET)
            read_to(client, b"first\r\n")
            client.close()
            eventually(lambda: seen == ["finally", "close"])
            eventually(lambda: server.statuses == [499])
            assert server.errors.getvalue() == ""

    def test_whatever_the_application_makes_of_it_is_a_departure(self) -> None:
        def wraps(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            try:
                gevent.sleep(20)
            except OSError as error:
                raise RuntimeError("database gone?") from error
            return []

        def swallows(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            try:
                gevent.sleep(20)
            except OSError:
                start_response("500 Internal Server Error", [])
            return [b"sorry"]

        for app in (wraps, swallows):
            with running(app, on_disconnect="cancel") as server:
                server.connect(GET).close()
                eventually(lambda: server.statuses == [499])
                assert server.errors.getvalue() == ""

    def test_another_connection_is_not_disturbed(self) -> None:
        app = App()
        with running(app, on_disconnect="cancel") as server:
            stays = server.connect(CLOSE)
            eventually(lambda: len(app.environs) == 1)
            leaves = server.connect(GET)
            eventually(lambda: len(app.environs) == 2)
            leaves.close()
            eventually(lambda: server.statuses == [499])
            app.go.set()
            assert read_all(stays).endswith(b"hello")


class TestPipelining:
    @pytest.mark.parametrize("more", [GET, GET * 50, b"x" * 60_000], ids=["one", "many", "an upload"])
    def test_bytes_behind_the_request_do_not_hide_a_departure(self, more: bytes) -> None:
        app = App()
        with running(app, on_disconnect="cancel") as server:
            client = server.connect(GET)
            assert app.environ
            client.sendall(more)
            gevent.sleep(0.02)
            assert app.ended == []
            client.close()
            eventually(lambda: app.ended and isinstance(app.ended[0], ClientDisconnected))

    def test_nor_do_they_for_the_second_request(self) -> None:
        app = App()
        app.go.set()
        with running(app, on_disconnect="cancel") as server:
            client = server.connect(GET)
            read_to(client, b"hello")
            app.go.clear()
            client.sendall(GET * 3)
            eventually(lambda: len(app.environs) == 2)
            client.close()
            eventually(lambda: isinstance(app.ended[-1], ClientDisconnected))


class TestHalfClose:
    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(departure, "PROBE_AFTER", 0.02)
        monkeypatch.setattr(departure, "PROBE_AGAIN", 0.05)

    def test_a_client_that_reads_on_is_served__before_the_head(self) -> None:
        app = App()
        with running(app, on_disconnect="cancel") as server:
            client = server.connect(GET)
            assert app.environ
            client.shutdown(socket.SHUT_WR)
            interim = read_to(client, b"\r\n\r\n")  # RFC 9110 section 15.2: a client can take any number of them
            assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
            app.go.set()
            answer = read_all(client)
            while answer.startswith(interim):
                answer = answer.removeprefix(interim)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"hello")
            eventually(lambda: server.statuses == [200])

    def test_a_client_that_reads_on_is_served__within_chunks(self) -> None:
        go = Event()

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            start_response("200 OK", [])
            yield b"first"
            go.wait(10)
            yield b"second"

        with running(app, on_disconnect="cancel") as server:
            client = server.connect(GET)
            read_to(client, b"first\r\n")
            client.shutdown(socket.SHUT_WR)
            assert read_to(client, b"0") == b"0"
            go.set()
            rest = read_all(client)
            assert rest.lstrip(b"0") == b"6\r\nsecond\r\n0\r\n\r\n"
            eventually(lambda: server.statuses == [200])

    def test_a_fast_answer_has_nothing_before_it(self) -> None:
        app = App()
        app.go.set()
        with running(app) as server:
            client = server.connect(GET)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")

    @pytest.mark.parametrize("request_", [b"GET / HTTP/1.0\r\n\r\n", GET], ids=["1.0", "with a length"])
    def test_nothing_is_said_where_nothing_can_be(self, request_: bytes) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            start_response("200 OK", [("Content-Length", "11")])
            yield b"first"
            gevent.sleep(0.3)
            yield b"second"

        with running(app) as server:
            client = server.connect(request_)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client).endswith(b"\r\n\r\nfirstsecond")
            eventually(lambda: server.statuses == [200])

    def test_who_half_closes_first_and_leaves_later_is_missed(self) -> None:
        app = App()
        with running(app, on_disconnect="cancel") as server:
            client = server.connect(GET)
            assert app.environ
            client.shutdown(socket.SHUT_WR)
            read_to(client, b"\r\n\r\n")
            gevent.sleep(0.05)
            assert app.ended == []
            client.close()
            eventually(lambda: server.statuses == [499])

    def test_also_where_there_is_no_epoll(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("geventwsgi.serving.server.poller", WatcherPoller)
        app = App()
        with running(app, on_disconnect="cancel") as server:
            stays, leaves = server.connect(CLOSE), server.connect(GET)
            eventually(lambda: len(app.environs) == 2)
            stays.shutdown(socket.SHUT_WR)
            leaves.close()
            eventually(lambda: server.statuses == [499])
            app.go.set()
            assert read_all(stays).endswith(b"hello")

    def test_on_a_unix_socket_the_kernel_tells(self, tmp_path: Path) -> None:
        app = App()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        with running(app, listener=listener, on_disconnect="cancel") as server:
            client = server.connect(GET)
            assert app.environ
            client.shutdown(socket.SHUT_WR)
            gevent.sleep(0.1)
            assert app.ended == []
            app.go.set()
            assert read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")
            app.go.clear()
            leaves = server.connect(GET)
            eventually(lambda: len(app.environs) == 2)
            leaves.close()
            eventually(lambda: server.statuses == [200, 499])

    def test_gone_takes_it_for_a_departure(self) -> None:
        app = App()
        with running(app, on_disconnect="cancel", half_close="gone") as server:
            client = server.connect(GET)
            assert app.environ
            client.shutdown(socket.SHUT_WR)
            eventually(lambda: server.statuses == [499])
            with pytest.raises(ConnectionResetError):
                client.recv(10)

    def test_an_end_that_comes_with_the_request_is_seen(self) -> None:
        app = App()
        with running(app, on_disconnect="cancel") as server:
            client = server.connect()
            client.sendall(GET)
            client.close()
            eventually(lambda: server.statuses == [499])


def test_a_client_that_vanished_without_a_word_is_found_by_the_kernel() -> None:
    """And so is one whose end waits behind more bytes than the kernel takes in."""
    with running(App()) as server:
        server.connect(GET)
        eventually(lambda: server.server.connections)
        (connection,) = server.server._WSGIServer__service.connections
        with borrowed(connection.stream.fileno()) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE"):
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_the_environ_of_an_upgraded_connection_is_left_alone() -> None:
    go = Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        connection = environ["geventwsgi.socket"]
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        go.wait(10)
        connection.sendall(b"bye")
        return []

    with running(app, on_disconnect="cancel") as server:
        client = server.connect(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        read_to(client, b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        gevent.sleep(0.2)
        go.set()
        assert read_all(client) == b"bye"
