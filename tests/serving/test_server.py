"""WSGIServer in a script: pywsgi's arguments, methods and attributes, counting, draining, accepting."""

from __future__ import annotations

import errno
import io
import logging
import socket as stdlib_socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import pywsgi, socket
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler

from geventwsgi import WSGIServer
from geventwsgi.errors import BindError, ConfigError
from geventwsgi.serving import script_attributes
from geventwsgi.serving.loop import marks
from geventwsgi.serving.wire import sockets
from geventwsgi.serving.wire.sockets import borrowed
from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.streams import tls_client_context

CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def show_environ(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return ["\n".join(f"{key}={value}" for key, value in environ.items()).encode()]


def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    gevent.sleep(0.2)
    return hello(environ, start_response)


Make = Callable[..., WSGIServer]
deferring = pytest.mark.skipif(not hasattr(socket, "TCP_DEFER_ACCEPT"), reason="no TCP_DEFER_ACCEPT here")


@pytest.fixture
def make() -> Iterator[Make]:
    """Make servers that are stopped when the test ends."""
    servers: list[WSGIServer] = []

    def make_one(application: Any = hello, listener: Any = ("127.0.0.1", 0), **arguments: Any) -> WSGIServer:
        server = WSGIServer(listener, application, **{"log": None, **arguments})
        servers.append(server)
        server.start()
        return server

    yield make_one
    for server in servers:
        server.stop(0)


@pytest.fixture
def unstarted() -> Iterator[Make]:
    """Make servers that the test starts; they are stopped when it ends."""
    servers: list[WSGIServer] = []

    def make_one(application: Any = hello, **arguments: Any) -> WSGIServer:
        servers.append(WSGIServer(("127.0.0.1", 0), application, **{"log": None, **arguments}))
        return servers[-1]

    yield make_one
    for server in servers:
        server.stop(0)


def connect(server: WSGIServer) -> socket.socket:
    client = socket.create_connection((server.server_host, server.server_port))
    client.settimeout(10)
    return client


def answered(server: WSGIServer) -> socket.socket:
    """Return a client that has had a request answered."""
    client = connect(server)
    client.sendall(GET)
    while not client.recv(1000).endswith(b"hello"):
        pass
    return client


def rest(client: socket.socket) -> bytes:
    data = b""
    with client:
        while piece := client.recv(65536):
            data += piece
    return data


def ask(server: WSGIServer, request: bytes = CLOSE) -> bytes:
    client = connect(server)
    client.sendall(request)
    return rest(client)


class TestListeners:
    def test_port_0_is_known_after_start(self, make: Make) -> None:
        server = make()
        assert server.started
        assert server.server_host == "127.0.0.1"
        assert server.server_port == server.address[1] > 0
        assert ask(server).endswith(b"\r\n\r\nhello")

    @pytest.mark.parametrize("listener", ["127.0.0.1:0", ":0", 0])
    def test_pywsgis_forms(self, make: Make, listener: Any) -> None:
        server = make(listener=listener)
        client = socket.create_connection(("127.0.0.1", server.server_port))
        client.sendall(CLOSE)
        assert rest(client).endswith(b"hello")

    @pytest.mark.parametrize("kind", [stdlib_socket.socket, socket.socket])
    def test_a_listening_socket_that_may_block(self, make: Make, kind: type) -> None:
        sock = kind()
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        server = make(listener=sock)
        gevent.sleep(0.05)
        assert ask(server).endswith(b"hello")
        gevent.sleep(0.05)
        assert ask(server).endswith(b"hello")

    def test_a_unix_socket(self, make: Make, tmp_path: Any) -> None:
        sock = stdlib_socket.socket(stdlib_socket.AF_UNIX)
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        make(show_environ, listener=sock)
        client = socket.socket(stdlib_socket.AF_UNIX)
        client.connect(str(tmp_path / "s"))
        client.sendall(CLOSE)
        body = rest(client)
        assert b"\nREMOTE_ADDR=\n" in body
        assert b"\nSERVER_NAME=x\n" in body

    def test_ipv6(self, make: Make) -> None:
        assert b"\nREMOTE_ADDR=::1\n" in ask(make(show_environ, listener=("::1", 0)))

    def test_answers_carry_no_nagle_delay(self, make: Make) -> None:
        server = make()
        with connect(server) as client:
            client.sendall(GET)
            client.recv(1000)
            (connection,) = server._WSGIServer__service.connections
            with borrowed(connection.stream.fileno()) as sock:
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    @deferring
    def test_a_connection_is_accepted_with_its_first_bytes(self, make: Make) -> None:
        server = make(show_environ)
        with connect(server) as silent:
            assert f"REMOTE_PORT={silent.getsockname()[1]}\n".encode() not in ask(server)
            assert server.connections == 0
            silent.sendall(CLOSE)
            assert rest(silent).startswith(b"HTTP/1.1 200 OK\r\n")

    @deferring
    def test_a_silent_client_is_accepted_a_moment_later(self, make: Make) -> None:
        """And then has its time, as ever."""
        server = make(first_byte_timeout=0.2)
        with connect(server) as silent:
            eventually(lambda: server.connections == 1)
            assert silent.recv(100) == b""

    def test_a_listener_that_may_be_closed_before_the_server_keeps_nobody_to_itself(self, make: Make) -> None:
        server = make(reuse_port=True)
        with connect(server):
            eventually(lambda: server.connections == 1)
            if hasattr(socket, "TCP_DEFER_ACCEPT"):
                assert server.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) == 0


class TestPywsgi:
    def test_is_a_context_manager(self) -> None:
        with WSGIServer(("127.0.0.1", 0), hello, log=None) as server:
            server.start()
            assert ask(server).endswith(b"hello")
        assert server.closed
        assert not server.started

    def test_serve_forever_until_stop(self) -> None:
        server = WSGIServer(("127.0.0.1", 0), hello, log=None)
        serving = gevent.spawn(server.serve_forever)
        eventually(lambda: server.started)
        assert ask(server).endswith(b"hello")
        server.stop()
        serving.get(timeout=5)

    def test_accepting_can_pause(self, make: Make) -> None:
        server = make()
        server.stop_accepting()
        client = connect(server)
        client.sendall(CLOSE)
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        server.start_accepting()
        assert rest(client).endswith(b"hello")

    def test_environ(self, make: Make) -> None:
        server = make(show_environ, environ={"my.key": "mine", "SERVER_NAME": "named"})
        body = ask(server)
        assert b"\nmy.key=mine\n" in body
        assert b"\nSERVER_NAME=named\n" in body
        assert b"\nGATEWAY_INTERFACE=CGI/1.1\n" in body
        assert b"\nSERVER_PORT=%d\n" % server.server_port in body
        assert b"\nwsgi.input_terminated=True\n" in body
        environ = server.get_environ()
        environ["my.key"] = "other"
        assert server.get_environ()["my.key"] == "mine"

    def test_the_application_may_be_replaced(self, make: Make) -> None:
        server = make()
        assert server.application is hello
        server.application = show_environ
        assert b"REMOTE_ADDR" in ask(server)

    def test_one_accept_at_a_time_among_processes(self) -> None:
        assert WSGIServer(0, hello, log=None, environ={"wsgi.multiprocess": True}).max_accept == 1
        assert WSGIServer(0, hello, log=None).max_accept > 1

    def test_access_lines_go_to_log(self, make: Make) -> None:
        log = io.StringIO()
        ask(make(log=log))
        eventually(log.getvalue)
        assert '"GET / HTTP/1.1" 200 5' in log.getvalue()

    def test_errors_go_to_error_log(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        def broken(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            environ["wsgi.errors"].write("said\n")
            raise ValueError("broken")

        log = io.StringIO()
        assert ask(make(broken, error_log=log)).startswith(b"HTTP/1.1 500 ")
        assert "said" in log.getvalue()
        assert "ValueError: broken" in log.getvalue()
        assert "GET / HTTP/1.1" in log.getvalue()
        with caplog.at_level(logging.ERROR, "mine"):
            ask(make(broken, error_log=logging.getLogger("mine")))
        assert "ValueError: broken" in caplog.text

    @pytest.mark.parametrize("tls", [False, True])
    def test_handler_class_speaks_its_own_code(self, make: Make, *, tls: bool) -> None:
        handled = []

        class Handler(WSGIHandler):
            def handle(self) -> None:
                handled.append(self.client_address)
                super().handle()

        settings = {"certfile": certificates().certfile, "keyfile": certificates().keyfile} if tls else {}
        server = make(handler_class=Handler, **settings)
        client: Any = connect(server)
        if tls:
            client = tls_client_context().wrap_socket(client, server_hostname="localhost")
        client.sendall(CLOSE)
        assert rest(client).endswith(b"hello")
        assert len(handled) == 1

    def test_a_client_of_a_handler_class_has_handshake_timeout_for_its_handshake(self, make: Make) -> None:
        files = {"certfile": certificates().certfile, "keyfile": certificates().keyfile}
        with connect(make(handler_class=WSGIHandler, handshake_timeout=0.1, **files)) as client:
            client.settimeout(5)
            assert client.recv(1) == b""

    def test_a_handler_class_logs_where_the_arguments_say(self, make: Make) -> None:
        log, error_log = io.StringIO(), io.StringIO()
        assert ask(make(handler_class=WSGIHandler, log=log, error_log=error_log)).endswith(b"hello")
        eventually(log.getvalue)
        assert '"GET / HTTP/1.1" 200' in log.getvalue()
        assert error_log.getvalue() == ""

    @pytest.mark.parametrize("name", ["Authorization", "Cookie"])
    def test_a_failure_under_a_handler_class_shows_no_secret(self, make: Make, name: str, capfd: Any) -> None:
        def broken(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            raise ValueError("broken")

        server = make(broken, handler_class=WSGIHandler)
        ask(server, CLOSE.replace(b"Host: x", f"Host: x\r\n{name}: s3cret".encode()))
        shown: list[str] = []
        eventually(lambda: shown.append("".join(capfd.readouterr())) or "ValueError" in "".join(shown))
        assert "s3cret" not in "".join(shown)

    def test_a_line_left_unfinished_in_wsgi_errors_ends_with_its_request(self, make: Make) -> None:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            environ["wsgi.errors"].write(f"unfinished {environ['PATH_INFO']}")
            return hello(environ, start_response)

        error_log = io.StringIO()
        server = make(application, error_log=error_log)
        for path in (b"/1 ", b"/2 "):
            ask(server, CLOSE.replace(b"/ ", path))
        eventually(lambda: "unfinished /2\n" in error_log.getvalue())
        assert "unfinished /1\n" in error_log.getvalue()

    def test_a_keyboard_interrupt_in_a_workers_application_is_its_failure(self, make: Make) -> None:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            raise KeyboardInterrupt

        assert ask(make(application, error_log=None, worker=object())).startswith(b"HTTP/1.1 500 ")

    def test_spawn_must_be_able_to(self) -> None:
        with pytest.raises(TypeError, match="spawn is 'raw': pass 'default', a number, a pool"):
            WSGIServer(("127.0.0.1", 0), hello, spawn="raw")

    @pytest.mark.parametrize(
        ("argument", "cure"),
        [({"config": "x.py"}, "pass a Config, or settings by name"), ({"ssl_context": 5}, "pass an ssl.SSLContext")],
        ids=["config", "ssl_context"],
    )
    def test_an_argument_of_another_type_is_named(self, argument: dict[str, Any], cure: str) -> None:
        ((name, value),) = argument.items()
        with pytest.raises(TypeError, match=f"^{name} is {value!r}: {cure}"):
            WSGIServer(("127.0.0.1", 0), hello, **argument)

    @pytest.mark.parametrize("spawn", [2, Pool(2)], ids=["int", "pool"])
    def test_a_pool_bounds_connections(self, make: Make, spawn: Any) -> None:
        server = make(spawn=spawn)
        clients = [connect(server) for _ in range(3)]
        for client in clients:
            client.sendall(GET)
        assert clients[0].recv(1000).endswith(b"hello")
        assert clients[1].recv(1000).endswith(b"hello")
        clients[2].settimeout(0.1)
        with pytest.raises(TimeoutError):
            clients[2].recv(1000)
        clients[0].close()
        clients[2].settimeout(10)
        assert clients[2].recv(1000).endswith(b"hello")
        for client in clients:
            client.close()

    def test_spawn_may_be_a_callable(self, make: Make) -> None:
        spawned = []

        def spawn(*args: Any) -> Any:
            spawned.append(args)
            return gevent.spawn(*args)

        ask(make(spawn=spawn))
        assert len(spawned) == 1

    def test_spawn_none_is_refused(self) -> None:
        with pytest.raises(TypeError, match="leave it out"):
            WSGIServer(0, hello, spawn=None)


class TestSettings:
    def test_any_setting_by_name(self, make: Make) -> None:
        server = make(limit_request_line=50, keepalive=0)
        assert ask(server, b"GET /" + b"a" * 60 + b" HTTP/1.1\r\n").startswith(b"HTTP/1.1 414 ")
        assert b"\r\nConnection: close\r\n" in ask(server, GET)

    def test_an_unknown_setting_is_named_with_its_neighbour(self) -> None:
        with pytest.raises(ConfigError, match="keepalive"):
            WSGIServer(0, hello, keep_alive=5)

    def test_a_wrong_value_is_an_error(self) -> None:
        with pytest.raises(ConfigError, match="keepalive"):
            WSGIServer(0, hello, keepalive="soon")

    def test_a_missing_certificate_is_an_error(self) -> None:
        with pytest.raises(BindError, match=r"none\.pem"):
            WSGIServer(0, hello, certfile="none.pem")

    def test_worker_connections_bound_requests_in_flight_not_connections(self, make: Make) -> None:
        running: list[int] = []
        most: list[int] = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            running.append(1)
            most.append(len(running))
            gevent.sleep(0.02)
            running.pop()
            return hello(environ, start_response)

        server = make(app, worker_connections=2)
        idle = [connect(server) for _ in range(5)]
        clients = [connect(server) for _ in range(6)]
        for client in clients:
            client.sendall(CLOSE)
        assert all(rest(client).endswith(b"hello") for client in clients)
        assert max(most) == 2
        for client in idle:
            client.close()

    def test_no_sendfile(self, make: Make, tmp_path: Any) -> None:
        """Then the wrapper is an iterable like any other, of which nobody knows the length."""
        path = tmp_path / "file"
        path.write_bytes(b"content")

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](path.open("rb"))

        assert ask(make(app, sendfile=False)).endswith(b"\r\n\r\n7\r\ncontent\r\n0\r\n\r\n")
        assert ask(make(app)).endswith(b"\r\nContent-Length: 7\r\nConnection: close\r\n\r\ncontent")


class TestTLS:
    def client(self, server: WSGIServer) -> Any:
        context = tls_client_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context.wrap_socket(connect(server), server_hostname="localhost")

    def test_serves_and_says_so(self, make: Make) -> None:
        server = make(show_environ, certfile=certificates().certfile, keyfile=certificates().keyfile)
        assert server.ssl_enabled
        client = self.client(server)
        assert client.selected_alpn_protocol() == "http/1.1"
        client.sendall(CLOSE)
        body = rest(client)
        assert b"\nwsgi.url_scheme=https\n" in body
        assert b"\nHTTPS=on\n" in body

    def test_takes_pywsgis_ssl_context(self, make: Make) -> None:
        context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates().certfile, certificates().keyfile)
        client = self.client(make(ssl_context=context))
        client.sendall(CLOSE)
        assert rest(client).endswith(b"hello")

    def context(self) -> Any:
        context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates().certfile, certificates().keyfile)
        return context

    @pytest.mark.parametrize("handler_class", [None, WSGIHandler])
    def test_tls_that_a_script_assigns_is_served(self, unstarted: Make, handler_class: Any) -> None:
        server = unstarted(handler_class=handler_class, log=None)
        server.ssl_args = {"server_side": True}
        server.wrap_socket = self.context().wrap_socket
        server.start()
        client = self.client(server)
        client.sendall(CLOSE)
        assert rest(client).endswith(b"hello")

    @pytest.mark.parametrize("given", ["files", "context"])
    def test_arguments_that_a_script_assigns_are_served(self, unstarted: Make, given: str) -> None:
        server = unstarted()
        files = {"certfile": certificates().certfile, "keyfile": certificates().keyfile}
        server.ssl_args = files if given == "files" else {"ssl_context": self.context()}
        server.start()
        client = self.client(server)
        client.sendall(CLOSE)
        assert rest(client).endswith(b"hello")

    def test_an_environ_of_assigned_tls_says_https(self, unstarted: Make) -> None:
        server = unstarted(show_environ)
        server.wrap_socket = self.context().wrap_socket
        server.start()
        client = self.client(server)
        client.sendall(CLOSE)
        assert b"\nwsgi.url_scheme=https\n" in rest(client)

    def test_a_function_of_a_scripts_own_wraps_for_a_handler_class(self, unstarted: Make) -> None:
        server = unstarted(handler_class=WSGIHandler, ssl_context=self.context(), log=None)
        wrap, wrapped = server.wrap_socket, []

        def own(*arguments: Any, **keywords: Any) -> Any:
            wrapped.append(True)
            return wrap(*arguments, **keywords)

        server.wrap_socket = own
        server.start()
        client = self.client(server)
        client.sendall(CLOSE)
        assert rest(client).endswith(b"hello")
        assert wrapped == [True]

    def test_without_a_certificate_tls_that_was_asked_for_is_no_plain_http(self, unstarted: Make) -> None:
        server = unstarted()
        server.ssl_args = {"server_side": True}
        with pytest.raises(ConfigError, match=r"^ssl_args names no certificate: add certfile and keyfile"):
            server.start()

    def test_a_function_without_a_context_is_refused(self, unstarted: Make) -> None:
        with pytest.raises(ConfigError, match=r"^wrap_socket was given a function without a context: pass ssl_context"):
            unstarted().wrap_socket = lambda *arguments, **keywords: None

    def test_arguments_of_a_server_without_tls_are_none(self, unstarted: Make) -> None:
        assert unstarted().ssl_args is None

    def test_the_side_may_be_named(self, make: Make) -> None:
        client = self.client(make(ssl_context=self.context(), server_side=True))
        client.sendall(CLOSE)
        assert rest(client).endswith(b"hello")

    def test_a_failed_handshake_is_a_debug_line(self, make: Make) -> None:
        log = io.StringIO()
        server = make(certfile=certificates().certfile, keyfile=certificates().keyfile, error_log=log)
        assert ask(server)[:2] in (b"", b"\x15\x03")  # nothing, or a TLS alert
        assert log.getvalue() == ""
        client = self.client(server)
        client.sendall(CLOSE)
        assert rest(client).endswith(b"hello")


class TestCounting:
    def test_connections_and_requests(self, make: Make) -> None:
        server = make(slow)
        assert (server.connections, server.requests) == (0, 0)
        idle, busy = answered(server), connect(server)
        busy.sendall(GET)
        eventually(lambda: (server.connections, server.requests) == (2, 1))
        assert busy.recv(1000).endswith(b"hello")
        eventually(lambda: (server.connections, server.requests) == (2, 0))
        idle.close()
        busy.close()
        eventually(lambda: server.connections == 0)


class TestDrain:
    def test_answers_what_is_in_flight_and_closes_what_is_idle(self, make: Make) -> None:
        server = make(slow)
        idle, busy = answered(server), connect(server)
        busy.sendall(GET)
        eventually(lambda: server.requests == 1)
        draining = gevent.spawn(server.drain, 10)
        answer = rest(busy)
        assert answer.endswith(b"hello")
        assert b"\r\nConnection: close\r\n" in answer
        assert rest(idle) == b""
        assert draining.get(timeout=5) is True
        with pytest.raises(OSError) as caught:
            socket.create_connection(server.address)
        assert caught.value.errno == errno.ECONNREFUSED

    def test_a_request_that_has_arrived_is_answered(self, make: Make) -> None:
        server = make()
        client = connect(server)
        client.sendall(GET)
        assert client.recv(1000).endswith(b"hello")
        client.sendall(GET)
        gevent.sleep(0)
        assert server.drain(5)
        assert rest(client).endswith(b"hello")

    @deferring
    def test_a_sweep_waits_for_the_first_bytes_of_who_has_connected(self, make: Make) -> None:
        server = make()
        client = connect(server)
        draining = gevent.spawn(server.drain, 5, sweep=True)
        gevent.sleep(0.1)
        client.sendall(GET)
        answer = rest(client)
        assert answer.endswith(b"hello")
        assert b"\r\nConnection: close\r\n" in answer
        assert draining.get(timeout=5) is True

    @deferring
    def test_a_sweep_does_not_wait_for_ever_for_the_silent(self, make: Make) -> None:
        server = make()
        with connect(server):
            assert server.drain(5, sweep=True)

    @deferring
    def test_a_sweep_ends_with_a_drain_in_more_of_a_hurry(self, make: Make) -> None:
        log = io.StringIO()
        server = make(error_log=log)
        with connect(server):
            draining = gevent.spawn(server.drain, 5, sweep=True)
            gevent.sleep(0.05)
            assert server.drain(0)
            assert draining.get(timeout=5)
        assert log.getvalue() == ""

    def test_cuts_what_does_not_end_in_time(self, make: Make) -> None:
        ended: list[str] = []

        def endless(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [])
            try:
                while True:
                    yield b"x"
                    gevent.sleep(0.01)
            finally:
                ended.append("finally")

        server = make(endless)
        client = connect(server)
        client.sendall(GET)
        client.recv(1000)
        assert server.drain(0.05) is False
        assert ended == ["finally"]
        assert server.connections == 0
        client.close()

    def test_applications_are_told(self, make: Make) -> None:
        def until_told(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [])
            yield b"x"
            assert environ["geventwsgi.server"].draining.wait(10)
            yield b"bye"

        server = make(until_told)
        client = connect(server)
        client.sendall(GET)
        client.recv(1000)
        assert server.drain(10) is True
        assert b"bye" in rest(client)

    def test_what_is_cut_is_named(self, make: Make) -> None:
        log = io.StringIO()
        server = make(slow, error_log=log)
        client = connect(server)
        client.sendall(GET)
        eventually(lambda: server.requests == 1)
        assert list(server.in_flight().values()) == ['"GET / HTTP/1.1" from 127.0.0.1']
        server.drain(0.01)
        assert 'Cut, since it had not ended after 0.01 s: "GET / HTTP/1.1" from 127.0.0.1' in log.getvalue()
        client.close()

    def test_sweep_serves_what_waits_to_be_accepted(self, make: Make) -> None:
        server = make()
        server.stop_accepting()
        clients = [connect(server) for _ in range(5)]
        for client in clients:
            client.sendall(GET)
        assert server.drain(10, sweep=True) is True
        assert server.served == 5
        for client in clients:
            assert rest(client).endswith(b"hello")

    def test_without_connections_it_ends_at_once(self, make: Make) -> None:
        assert make().drain(60) is True

    def test_with_a_handler_class_it_only_stops_accepting(self, make: Make) -> None:
        server = make(handler_class=WSGIHandler)
        assert server.drain(60) is True
        assert (server.connections, server.closed) == (0, True)


def test_what_comes_while_a_pools_greenlet_is_looked_at_is_served(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = marks.settled_references

    def look_for_long(me: Any) -> list[int]:
        gevent.sleep(0.05)
        return looks(me)

    monkeypatch.setattr(marks, "settled_references", look_for_long)
    server = make(spawn=Pool(1))
    with socket.create_connection(server.address, 5) as client:
        for _ in range(3):
            client.sendall(GET)
            assert client.recv(1000).endswith(b"hello")


def test_the_loop_of_a_script_turns_although_nothing_happens(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that Python hears of signals."""
    monkeypatch.setattr(script_attributes, "LOOK", 0.01)
    make()
    turns: list[None] = []
    watcher = gevent.get_hub().loop.check()
    watcher.start(turns.append, None)
    try:
        with gevent.Timeout(5):
            gevent.get_hub().join(0.3)
    finally:
        watcher.close()
    assert len(turns) > 5


class TestStops:
    """A stop that somebody calls, beside that at the end of ``serve_forever``."""

    @pytest.fixture
    def served(self) -> Iterator[tuple[WSGIServer, gevent.Greenlet, socket.socket, Event]]:
        """A server that serves for ever, and a request that is in flight until the event."""
        go, began = Event(), Event()

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            began.set()
            go.wait(20)
            return hello(environ, start_response)

        server = WSGIServer(("127.0.0.1", 0), app, log=None, error_log=None)
        server.stop_timeout = 0.05
        serving = gevent.spawn(server.serve_forever)
        eventually(lambda: server.started)
        with socket.create_connection(server.address, 20) as client:
            client.sendall(CLOSE)
            assert began.wait(20)
            yield server, serving, client, go
        server.stop(0)
        serving.get(timeout=5)

    @pytest.mark.parametrize("where", ["a greenlet", "the hub"])
    def test_its_time_counts(self, served: tuple[Any, ...], where: str) -> None:
        server, serving, client, go = served
        if where == "the hub":
            gevent.get_hub().loop.run_callback(server.stop, 20)
        else:
            gevent.spawn(server.stop, 20)
        eventually(lambda: server.closed)
        gevent.sleep(0.2)
        assert not serving.ready()
        go.set()
        assert b"".join(iter(lambda: client.recv(1000), b"")).endswith(b"hello")
        serving.get(timeout=5)

    def test_one_that_is_told_less_hurries_it(self, served: tuple[Any, ...]) -> None:
        server, serving, _, _ = served
        gevent.spawn(server.stop, 20)
        eventually(lambda: server.closed)
        server.stop(0)
        serving.get(timeout=5)


class TestSecondLife:
    """Start, stop, start."""

    @pytest.mark.parametrize("handler_class", [None, pywsgi.WSGIHandler])
    @pytest.mark.parametrize("end", [WSGIServer.close, lambda server: server.drain(1)], ids=["close", "drain"])
    def test_what_has_ended_without_a_stop_serves_again(self, make: Make, end: Any, handler_class: Any) -> None:
        server = make(handler_class=handler_class)
        answered(server).close()
        end(server)
        server.start()
        assert ask(server).endswith(b"hello")

    def test_a_close_leaves_connections_to_the_second(self, make: Make) -> None:
        server = make()
        with answered(server) as client:
            server.close()
            server.start()
            client.sendall(GET)
            assert client.recv(1000).endswith(b"hello")
            server.stop(0)
            assert client.recv(1) == b""

    def test_applications_are_not_told_to_drain(self, make: Make) -> None:
        def told(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            start_response("200 OK", [])
            return [b"draining" if environ["geventwsgi.server"].draining.is_set() else b"welcome"]

        server = make(told)
        server.stop()
        server.start()
        assert ask(server).endswith(b"welcome")

    def test_requests_of_the_first_stay_told(self, make: Make) -> None:
        views = []

        def keep(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            views.append(environ["geventwsgi.server"])
            return hello(environ, start_response)

        server = make(keep)
        ask(server)
        server.stop()
        server.start()
        assert views[0].draining.is_set()

    def test_an_environ_of_ones_own_stays(self, make: Make) -> None:
        server = make(show_environ, environ={"geventwsgi.server": "mine"})
        server.stop()
        server.start()
        assert b"geventwsgi.server=mine" in ask(server)

    def test_connections_are_kept_alive(self, make: Make) -> None:
        server = make()
        server.stop()
        server.start()
        with answered(server) as client:
            client.sendall(GET)
            assert client.recv(1000).endswith(b"hello")

    def test_a_health_path_says_ready(self, make: Make) -> None:
        server = make(health_path="/health")
        server.stop()
        server.start()
        assert ask(server, CLOSE.replace(b"/ ", b"/health ")).startswith(b"HTTP/1.1 200")

    def test_a_pool_still_bounds_connections(self, make: Make) -> None:
        pool = Pool(1)
        server = make(spawn=pool)
        server.stop()
        server.start()
        with answered(server):
            assert len(pool) == 1


class TestAccept:
    def test_a_connection_that_vanished_is_nothing(self, make: Make) -> None:
        server = make()
        assert server.do_read() is None
        assert ask(server).endswith(b"hello")

    def test_whatever_accept_says_is_one_line_and_the_server_goes_on(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = io.StringIO()
        server = make(error_log=log)
        real, failures = sockets.accept, [errno.EPERM] * 2

        def failing(listener: Any) -> Any:
            if failures:
                raise OSError(failures.pop(), "not allowed")
            return real(listener)

        monkeypatch.setattr(sockets, "accept", failing)
        assert ask(server).endswith(b"hello")
        assert failures == []
        assert log.getvalue().count("Cannot accept connections: not allowed; it is tried again") == 1
        assert "Traceback" not in log.getvalue()
