"""Scripts for pywsgi that subclass the server and log by it, run by pywsgi's server and by ours."""

from __future__ import annotations

import io
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent.pywsgi
import pytest
from gevent import socket

import geventwsgi
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVERS = [gevent.pywsgi.WSGIServer, geventwsgi.WSGIServer]
both = pytest.mark.parametrize("base", SERVERS, ids=["pywsgi", "geventwsgi"])
either = pytest.mark.parametrize("handler_class", [None, gevent.pywsgi.WSGIHandler], ids=["ours", "handler"])


def hello(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    server.start()
    try:
        yield server
    finally:
        server.stop(1)


def ask(server: Any, target: str = "/") -> bytes:
    data = b""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        while piece := client.recv(65536):
            data += piece
    return data


#: Names that scripts give to things of their own, some of which ours has as well.
NAMES = (
    "config", "logger", "requests", "connections", "served", "tls", "capacity", "service", "worker", "view", "drain",
    "in_flight", "_config", "_logger", "_requests", "_connections", "_service", "_acceptor", "_capacity", "_view",
    "_worker", "_application", "_handled", "_wrap", "_tls", "_ssl_args", "_wrap_socket", "_is_ready", "_hook",
)  # fmt: skip


@both
@either
@pytest.mark.parametrize("when", ["before", "after"])
def test_subclass_with_attributes_of_its_own(base: Any, handler_class: Any, when: str) -> None:
    class Mine(base):
        def __init__(self) -> None:
            if when == "before":
                self.take_names()
            super().__init__(("127.0.0.1", 0), hello, log=None, handler_class=handler_class)
            if when == "after":
                self.take_names()

        def take_names(self) -> None:
            for name in NAMES:
                setattr(self, name, f"my {name}")

    with serving(Mine()) as server:
        assert ask(server).endswith(b"hello")
        assert ask(server).endswith(b"hello")
        assert [getattr(server, name) for name in NAMES] == [f"my {name}" for name in NAMES]


@both
@either
def test_subclass_with_methods_of_its_own(base: Any, handler_class: Any) -> None:
    class Mine(base):
        def refuse(self, *_args: Any) -> None:
            raise RuntimeError("nobody calls it")

        drain = in_flight = requests = connections = served = config = logger = refuse

    with serving(Mine(("127.0.0.1", 0), hello, log=None, handler_class=handler_class)) as server:
        assert ask(server).endswith(b"hello")


class Log:
    """An object of a script's own with ``write``."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, text: str) -> None:
        self.lines.append(text)

    def writelines(self, lines: list[str]) -> None:
        self.lines += lines

    def flush(self) -> None:
        """Do nothing."""


@both
@either
@pytest.mark.parametrize("make", [Log, io.StringIO])
def test_log_of_the_server_is_the_object_that_was_given(base: Any, handler_class: Any, make: Any) -> None:
    log, errors = make(), make()
    server = base(("127.0.0.1", 0), hello, log=log, error_log=errors, handler_class=handler_class)
    assert (server.log, server.error_log) == (log, errors)


@both
@either
def test_logger_that_is_given_is_reached_by_the_servers_log(base: Any, handler_class: Any, caplog: Any) -> None:
    logger = logging.getLogger("test.script")

    def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        server.log.info("from %s", "the view")
        server.error_log.warning("careful")
        return hello(_environ, start_response)

    server = base(("127.0.0.1", 0), application, log=logger, error_log=logger, handler_class=handler_class)
    with caplog.at_level(logging.INFO, logger="test.script"), serving(server):
        assert ask(server).endswith(b"hello")
        eventually(lambda: any("GET / HTTP/1.1" in message for message in caplog.messages))
    assert {"from the view", "careful"} <= set(caplog.messages)
    assert server.log.name == "test.script"


class Environ(dict):
    """What an application of a script's takes for its environ."""


@both
@either
def test_environ_is_of_the_servers_class(base: Any, handler_class: Any) -> None:
    class Mine(base):
        environ_class = Environ

    seen = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        seen.append((type(environ), environ["PATH_INFO"], environ["x.mine"]))
        return hello(environ, start_response)

    server = Mine(("127.0.0.1", 0), application, log=None, environ={"x.mine": 1}, handler_class=handler_class)
    with serving(server):
        ask(server, "/a")
    assert seen == [(Environ, "/a", 1)]


@both
@either
def test_environ_is_made_anew_for_each_request_where_a_subclass_makes_it(base: Any, handler_class: Any) -> None:
    class Mine(base):
        count = 0

        def get_environ(self) -> dict[str, Any]:
            self.count += 1
            return {**super().get_environ(), "x.count": self.count}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['x.count']} {environ['PATH_INFO']} {environ['REMOTE_ADDR']}".encode()]

    with serving(Mine(("127.0.0.1", 0), application, log=None, handler_class=handler_class)) as server:
        first, second = (ask(server, f"/{number}").rpartition(b"\r\n\r\n")[2].decode().split() for number in (1, 2))
    assert int(second[0]) == int(first[0]) + 1
    assert (first[1:], second[1:]) == (["/1", "127.0.0.1"], ["/2", "127.0.0.1"])


def test_what_an_application_changes_of_such_an_environ_is_logged() -> None:
    class Mine(geventwsgi.WSGIServer):
        environ_class = Environ

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["REMOTE_ADDR"] = "192.0.2.9"  # as ProxyFix does
        return hello(environ, start_response)

    log = Log()
    with serving(Mine(("127.0.0.1", 0), application, log=log)) as server:
        ask(server)
        eventually(lambda: log.lines)
        assert log.lines[0].startswith("192.0.2.9 - - [")


@both
@pytest.mark.parametrize("given", [{"log": None}, {}], ids=["silent", "default"])
def test_gevent_websockets_handler_says_no_more_than_under_pywsgi(base: Any, given: Any, capfd: Any) -> None:
    handler = pytest.importorskip("geventwebsocket.handler", reason="gevent-websocket is not installed")
    with serving(base(("127.0.0.1", 0), hello, handler_class=handler.WebSocketHandler, **given)) as server:
        assert ask(server).endswith(b"hello")
    assert capfd.readouterr() == ("", "")


@both
def test_failure_under_a_handler_that_is_assigned_shows_no_secret(base: Any, capfd: Any) -> None:
    def broken(_environ: dict[str, Any], _start_response: Callable[..., Any]) -> list[bytes]:
        raise ValueError("oh")

    server = base(("127.0.0.1", 0), broken, log=None, environ={"HTTP_COOKIE": "secret"})
    server.handler_class = gevent.pywsgi.WSGIHandler
    with serving(server):
        assert b" 500 " in ask(server)
    error = capfd.readouterr().err
    assert "ValueError: oh" in error
    assert "secret" not in error
