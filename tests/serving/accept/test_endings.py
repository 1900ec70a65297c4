"""How connections end: what was sent whole arrives whole, whatever the client sends behind it; a cut stays visible.

A system answers bytes that nobody reads by a reset, which throws away what is on its way to the client (RFC 9112
section 9.6). Each test says what the client sent, when, and by what its connection ended.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket
from gevent import ssl as gevent_ssl
from gevent.event import Event

from geventwsgi.serving.accept import linger
from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.servers import Running, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE = 3_000_000
#: So much a kernel has room for where nobody reads, less of it the client's: a response of that size is whole at once.
KEPT = {"tcp": 1_000_000, "tls": 1_000_000, "unix": 100_000}
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
REQUESTS = {
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "after a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
}
BEHIND = {
    "nothing": b"",
    "CRLF": b"\r\n",
    "a byte": b"x",
    "a request": GET,
    "half a request": GET[:20],
    "much": b"x" * 200_000,
}


@pytest.fixture(params=["tcp", "tls", "unix"])
def kind(request: pytest.FixtureRequest) -> str:
    """How the client is connected."""
    return request.param


class Client:
    """A client's socket, and what it got."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self, size: int) -> None:
        """Read until so many bytes have come."""
        while len(self.received) < size:
            piece = self.sock.recv(65536)
            assert piece, f"the end after {len(self.received)} bytes"
            self.received += piece

    def rest(self) -> bytes:
        """Return all that has come up to the end, which must be one, not a cut."""
        while piece := self.sock.recv(65536):
            self.received += piece
        return bytes(self.received)

    def cut(self) -> bytes:
        """Return all that has come up to a reset, or over TLS an end without close_notify."""
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
            self.rest()
        return bytes(self.received)


class Served:
    """A server, and a way to it."""

    def __init__(self, server: Running, kind: str) -> None:
        self.running = server
        self.kind = kind

    def connect(self, data: bytes = b"") -> Client:
        sock = self.running.connect()
        if self.kind == "tls":
            context = gevent_ssl.SSLContext(gevent_ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(certificates().ca_certs)
            sock = context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
            self.running.clients.append(sock)
        sock.settimeout(20)
        client = Client(sock)
        client.send(data)
        return client

    def answered(self, count: int = 1) -> None:
        """Wait until so many responses are in the kernel's hands."""
        eventually(lambda: len(self.running.statuses) >= count)

    @property
    def lingering(self) -> int:
        return len(self.running.server._WSGIServer__capacity.lingering)

    @property
    def connections(self) -> set[Any]:
        return self.running.server._WSGIServer__service.connections


@contextmanager
def serving(app: Callable[..., Any], kind: str, directory: Path, **settings: Any) -> Iterator[Served]:
    if kind == "tls":
        made = certificates()
        settings = {"certfile": made.certfile, "keyfile": made.keyfile, **settings}
    elif kind == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / "socket"))
        listener.listen(2000)
        settings = {"listener": listener, **settings}
    with running(app, **settings) as server:
        yield Served(server, kind)


class App:
    """Answers by ``size`` bytes when it is let go; ``began`` tells of each request."""

    def __init__(self, size: int = SIZE, status: str = "200 OK", waits: bool = False) -> None:
        self.size, self.status = size, status
        self.go = Event()
        self.began = 0
        if not waits:
            self.go.set()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/":
            environ["wsgi.input"].read()
        self.began += 1
        self.go.wait()
        start_response(self.status, [("Content-Length", str(self.size))])
        return [b"x" * self.size]


def whole(received: bytes, size: int = SIZE) -> bool:
    """Whether that is one response, of the size that an :class:`App` was told."""
    return received.startswith(b"HTTP/1.1 200 OK") and len(received.partition(b"\r\n\r\n")[2]) == size


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("request_", REQUESTS)
class TestClose:
    def test_what_came_before_the_answer_cuts_nothing(
        self, kind: str, request_: str, behind: str, tmp_path: Path
    ) -> None:
        app = App(waits=True)
        with serving(app, kind, tmp_path) as server:
            client = server.connect(REQUESTS[request_])
            eventually(lambda: app.began)
            client.send(BEHIND[behind])
            gevent.sleep(0.01)
            app.go.set()
            assert whole(client.rest())

    def test_what_comes_with_the_request_cuts_nothing(
        self, kind: str, request_: str, behind: str, tmp_path: Path
    ) -> None:
        with serving(App(), kind, tmp_path) as server:
            client = server.connect(REQUESTS[request_] + BEHIND[behind])
            assert whole(client.rest())

    def test_what_comes_after_the_answer_cuts_nothing(
        self, kind: str, request_: str, behind: str, tmp_path: Path
    ) -> None:
        with serving(App(), kind, tmp_path) as server:
            client = server.connect(REQUESTS[request_])
            client.read(100_000)
            sender = gevent.spawn(client.send, BEHIND[behind])
            gevent.sleep(0.01)
            assert whole(client.rest())
            sender.get(timeout=10)

    def test_what_comes_once_the_answer_waits_in_the_kernel_cuts_nothing(
        self, kind: str, request_: str, behind: str, tmp_path: Path
    ) -> None:
        app = App(size=KEPT[kind])
        with serving(app, kind, tmp_path) as server:
            client = server.connect(REQUESTS[request_])
            server.answered()
            gevent.sleep(0.01)
            client.send(BEHIND[behind])
            gevent.sleep(0.01)
            assert whole(client.rest(), KEPT[kind])


class TestDrain:
    @pytest.mark.parametrize("behind", BEHIND)
    def test_a_request_in_flight_is_answered_whole(self, kind: str, behind: str, tmp_path: Path) -> None:
        app = App(waits=True)
        with serving(app, kind, tmp_path) as server:
            client = server.connect(GET)
            eventually(lambda: app.began)
            drain = gevent.spawn(server.running.server.drain, 10)
            client.send(BEHIND[behind])
            gevent.sleep(0.01)
            app.go.set()
            assert whole(client.rest())
            client.sock.close()
            assert drain.get(timeout=10)

    def test_a_response_that_waits_in_the_kernel_arrives_whole(self, kind: str, tmp_path: Path) -> None:
        """With each of the things that a client may send behind its request."""
        app = App(size=KEPT[kind])
        with serving(app, kind, tmp_path) as server:
            clients = {behind: server.connect(GET) for behind in BEHIND}
            server.answered(len(clients))
            drain = gevent.spawn(server.running.server.drain, 10)
            gevent.sleep(0.01)
            for behind, client in clients.items():
                client.send(BEHIND[behind])
            gevent.sleep(1.2)  # the last call of an idle connection is over
            for behind, client in clients.items():
                received = client.rest()
                answers = 2 if behind == "a request" else 1
                assert received.count(b"HTTP/1.1 200 OK") == received.count(b"x" * KEPT[kind]) == answers, behind
                client.sock.close()
            assert drain.get(timeout=10)


class TestFraming:
    """Responses without a body of their own end as gently."""

    @pytest.mark.parametrize("behind", BEHIND)
    @pytest.mark.parametrize(
        ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
    )
    def test_without_a_body(self, kind: str, method: str, status: str, behind: str, tmp_path: Path) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            gevent.sleep(0.01)
            start_response(status, [])
            return []

        with serving(app, kind, tmp_path) as server:
            client = server.connect(f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            client.send(BEHIND[behind])
            received = client.rest()
            assert received.startswith(f"HTTP/1.1 {status}".encode())
            assert received.endswith(b"\r\n\r\n")

    @pytest.mark.parametrize("behind", BEHIND)
    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    def test_of_unknown_length(self, kind: str, version: str, behind: str, tmp_path: Path) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            start_response("200 OK", [])
            for _ in range(30):
                yield b"x" * 100_000

        with serving(app, kind, tmp_path) as server:
            client = server.connect(f"GET / HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            client.send(BEHIND[behind])
            received = client.rest()
            assert received.count(b"x" * 100_000) == 30
            assert version == "1.0" or received.endswith(b"\r\n0\r\n\r\n")

    def test_trailers_arrive(self, kind: str, tmp_path: Path) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            environ["geventwsgi.send_trailers"]([("X-Sum", "1")])
            start_response("200 OK", [])
            return [b"x" * 100_000, b"y"]

        with serving(app, kind, tmp_path) as server:
            request_ = b"POST /unread HTTP/1.1\r\nHost: x\r\nConnection: close, TE\r\nTE: trailers\r\n"
            request_ += b"Content-Length: 9000000\r\n\r\n"
            client = server.connect(request_)
            sender = gevent.spawn(client.send, b"x" * 9_000_000)
            assert client.rest().endswith(b"\r\nX-Sum: 1\r\n\r\n")
            sender.get(timeout=10)


UPLOAD = 20_000_000


def upload(*lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"POST /unread HTTP/{version}", "Host: x", *lines, "", ""]).encode()


#: A request after which the connection lingers at once: otherwise the server waits a second for the body, to go on.
LINGERS = upload("Content-Length: 100", "Connection: close")


@pytest.mark.parametrize("status", ["200 OK", "413 Content Too Large"])
class TestUploads:
    """A view that answers at once, and a client that sends all of its body before it reads."""

    def sends_all(self, server: Served, head: bytes, body: Iterator[bytes], status: str) -> None:
        client = server.connect(head)
        for piece in body:
            client.send(piece)
        assert client.rest().startswith(f"HTTP/1.1 {status}".encode())

    def test_of_known_length(self, kind: str, status: str, tmp_path: Path) -> None:
        with serving(App(5, status), kind, tmp_path) as server:
            body = (b"x" * 1_000_000 for _ in range(UPLOAD // 1_000_000))
            self.sends_all(server, upload(f"Content-Length: {UPLOAD}"), body, status)

    def test_in_chunks(self, kind: str, status: str, tmp_path: Path) -> None:
        with serving(App(5, status), kind, tmp_path) as server:
            body = (b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n" for _ in range(UPLOAD // 1_000_000))
            self.sends_all(server, upload("Transfer-Encoding: chunked"), body, status)

    def test_of_http_1_0(self, kind: str, status: str, tmp_path: Path) -> None:
        with serving(App(5, status), kind, tmp_path) as server:
            body = (b"x" * 1_000_000 for _ in range(UPLOAD // 1_000_000))
            self.sends_all(server, upload(f"Content-Length: {UPLOAD}", version="1.0"), body, status)

    def test_that_expected_to_be_asked_for(self, kind: str, status: str, tmp_path: Path) -> None:
        with serving(App(5, status), kind, tmp_path) as server:
            body = (b"x" * 1_000_000 for _ in range(UPLOAD // 1_000_000))
            self.sends_all(server, upload(f"Content-Length: {UPLOAD}", "Expect: 100-continue"), body, status)

    def test_while_another_greenlet_reads_it(self, kind: str, status: str, tmp_path: Path) -> None:
        readers = []

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            readers.append(gevent.spawn(environ["wsgi.input"].read))
            gevent.sleep(0.01)
            start_response(status, [("Content-Length", "2")])
            return [b"ok"]

        with serving(app, kind, tmp_path) as server:
            body = (b"x" * 1_000_000 for _ in range(UPLOAD // 1_000_000))
            # The greenlet may have all of it before the answer is sent.
            self.sends_all(server, upload(f"Content-Length: {UPLOAD}", "Connection: close"), body, status)
            gevent.joinall(readers, timeout=5, raise_error=False)
            assert readers[0].ready()


class TestRefusals:
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 20000000\r\n\r\n", 417),
            (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: tea\r\nContent-Length: 1\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20000 + b"\r\n\r\n", 431),
        ],
    )
    def test_a_refusal_arrives_although_the_body_comes(
        self, kind: str, head: bytes, status: int, tmp_path: Path
    ) -> None:
        with serving(App(5), kind, tmp_path, limit_request_body=1000) as server:
            client = server.connect(head)
            for _ in range(20):
                client.send(b"x" * 1_000_000)
            assert int(client.rest()[9:12]) == status

    def test_408_arrives_although_the_head_comes_late(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path, header_timeout=0.1) as server:
            client = server.connect(GET[:10])
            client.read(10)
            client.send(GET[10:] + b"x" * 100_000)
            assert client.rest().startswith(b"HTTP/1.1 408")

    def test_503_arrives_although_the_body_comes(self, kind: str, tmp_path: Path) -> None:
        app = App(5, waits=True)
        with serving(app, kind, tmp_path, worker_connections=1, queue_timeout=0.1) as server:
            server.connect(GET)
            eventually(lambda: app.began)
            client = server.connect(upload(f"Content-Length: {UPLOAD}"))
            for _ in range(UPLOAD // 1_000_000):
                client.send(b"x" * 1_000_000)
            assert client.rest().startswith(b"HTTP/1.1 503")


class TestEarlierResponses:
    """What goes wrong with a later request cuts no response that was whole."""

    def answered_without_being_read(self, server: Served) -> Client:
        client = server.connect(GET)
        server.answered()
        return client

    def test_a_head_that_breaks_off(self, kind: str, tmp_path: Path) -> None:
        with serving(App(KEPT[kind]), kind, tmp_path) as server:
            client = self.answered_without_being_read(server)
            client.send(GET[:20])
            if kind != "tls":
                client.sock.shutdown(socket.SHUT_WR)
            server.running.server.stop_accepting()
            for connection in server.connections:
                eventually(
                    lambda one=connection: one in server.running.server._WSGIServer__capacity.half_sent or kind != "tls"
                )
                connection.service.draining = True
                connection.drain()
            assert whole(client.rest(), KEPT[kind])

    def test_a_body_that_breaks_off(self, kind: str, tmp_path: Path) -> None:
        with serving(App(KEPT[kind]), kind, tmp_path) as server:
            client = self.answered_without_being_read(server)
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            eventually(lambda: any(connection.exchange for connection in server.connections))
            for connection in server.connections:
                connection.stream.interrupt()
            assert whole(client.rest(), KEPT[kind])

    def test_a_malformed_request(self, kind: str, tmp_path: Path) -> None:
        with serving(App(KEPT[kind]), kind, tmp_path) as server:
            client = self.answered_without_being_read(server)
            client.send(b"nonsense\r\n\r\n")
            server.answered(2)
            first, *refusals = client.rest().split(b"HTTP/1.1 400")
            assert (whole(first, KEPT[kind]), len(refusals)) == (True, 1)

    def test_a_later_response_that_breaks_off_is_cut_alone(self, kind: str, tmp_path: Path) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            start_response("200 OK", [("Content-Length", "50000")])
            yield b"x" * 40_000
            if environ["PATH_INFO"] == "/breaks":
                raise OSError("broken")
            yield b"x" * 10_000

        with serving(app, kind, tmp_path) as server:
            client = server.connect(GET + GET.replace(b"/ ", b"/breaks ", 1))
            server.answered(2)
            gevent.sleep(0.01)
            received = client.cut() if kind == "tls" else client.rest()
            responses = received.split(b"HTTP/1.1 200 OK")[1:]
            sizes = [len(response.partition(b"\r\n\r\n")[2]) for response in responses]
            assert sizes == [50_000, 40_000]


class TestCuts:
    """What broke off does not look whole."""

    @pytest.mark.parametrize("behind", BEHIND)
    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    @pytest.mark.parametrize("length", ["known", "unknown"])
    def test_a_response_that_breaks_off(
        self, kind: str, version: str, length: str, behind: str, tmp_path: Path
    ) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            start_response("200 OK", [("Content-Length", "3000")] if length == "known" else [])
            yield b"x" * 1000
            gevent.sleep(0.01)
            raise OSError("broken")

        with serving(app, kind, tmp_path) as server:
            client = server.connect(f"GET / HTTP/{version}\r\nHost: x\r\n\r\n".encode())
            client.send(BEHIND[behind])
            if kind == "unix":
                client.sock.settimeout(5)
                try:
                    received = client.rest()
                except ConnectionResetError:
                    received = bytes(client.received)
                assert not received.endswith(b"0\r\n\r\n")
            else:
                client.cut()


class TestBounds:
    def test_a_client_that_never_stops_is_closed_in_time(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path, linger_timeout=0.3) as server:
            client = server.connect(upload("Content-Length: 99999999999"))

            def send_for_ever() -> None:
                while True:
                    client.send(b"x" * 65536)

            sender = gevent.spawn(send_for_ever)
            eventually(lambda: server.lingering)
            eventually(lambda: not server.connections, 5)
            with pytest.raises(OSError):
                sender.get(timeout=5)

    def test_one_that_drips_is_closed_in_time(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path, linger_timeout=0.3) as server:
            client = server.connect(LINGERS)
            eventually(lambda: server.lingering)
            while server.connections:
                gevent.sleep(0.02)
                try:
                    client.send(b"x")
                except OSError:
                    break
            eventually(lambda: not server.connections, 5)

    def test_one_that_is_silent_is_closed_sooner(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(linger, "SILENCE", 0.1)
        with serving(App(5), kind, tmp_path, linger_timeout=60) as server:
            client = server.connect(LINGERS)
            eventually(lambda: server.lingering)
            eventually(lambda: not server.connections, 5)
            assert client.rest().endswith(b"xxxxx")

    def test_one_that_takes_its_response_slowly_is_not_silent(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(linger, "SILENCE", 0.5)
        with serving(App(KEPT[kind]), kind, tmp_path) as server:
            client = server.connect(REQUESTS["HTTP/1.1"])
            eventually(lambda: server.lingering)
            for _ in range(40):
                client.received += client.sock.recv(KEPT[kind] // 50)
                gevent.sleep(0.02)
            client.send(b"x")
            assert whole(client.rest(), KEPT[kind])

    def test_it_ends_with_the_client(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path) as server:
            client = server.connect(LINGERS)
            eventually(lambda: server.lingering)
            client.sock.close()
            eventually(lambda: not server.connections, 2)

    def test_none_at_all(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path, linger_timeout=0) as server:
            server.connect(LINGERS + b"x")
            server.answered()
            eventually(lambda: not server.connections, 2)
            assert not server.lingering

    def test_the_usual_close_does_not_linger(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path) as server:
            client = server.connect(REQUESTS["HTTP/1.1"])
            assert whole(client.rest(), 5)
            assert not server.connections

    def test_a_drain_does_not_wait_longer_than_it_was_told(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path) as server:
            server.connect(LINGERS)
            eventually(lambda: server.lingering)
            with gevent.Timeout(5):
                server.running.server.drain(0.2)
            assert not server.connections

    def test_a_drain_does_not_wait_for_who_is_silent_and_has_taken_all(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(linger, "SILENCE", 60)
        with serving(App(5), kind, tmp_path) as server:
            client = server.connect(LINGERS)
            eventually(lambda: server.lingering)
            assert client.rest().endswith(b"xxxxx")
            with gevent.Timeout(5):
                assert server.running.server.drain(60)

    def test_nor_for_who_is_refused_by_it(self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(linger, "SILENCE", 60)
        with serving(App(5), kind, tmp_path) as server:
            server.connect(REQUESTS["HTTP/1.1"][:10])
            eventually(lambda: server.connections)
            with gevent.Timeout(5):
                assert server.running.server.drain(60)

    def test_a_drain_waits_for_who_takes_its_response_slowly(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(linger, "LAST_SILENCE", 0.1)
        with serving(App(KEPT[kind]), kind, tmp_path) as server:
            client = server.connect(REQUESTS["HTTP/1.1"])
            eventually(lambda: server.lingering)
            drain = gevent.spawn(server.running.server.drain, 60)
            gevent.sleep(0.4)
            client.send(b"x")
            assert whole(client.rest(), KEPT[kind])
            assert drain.get(timeout=5)

    def test_after_a_takeover_it_is_short(self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(linger, "AFTER_TAKEOVER", 0.3)

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            environ["geventwsgi.socket"].sendall(b"mine")
            return []

        with serving(app, kind, tmp_path, linger_timeout=60) as server:
            client = server.connect(REQUESTS["HTTP/1.1"])
            client.read(4)
            eventually(lambda: _refused(client), 5)

    def test_what_lingers_at_the_end_of_a_drain_was_not_cut(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path) as server:
            server.connect(LINGERS)
            eventually(lambda: server.lingering)
            assert server.running.server.drain(0.2)
            assert "Cut" not in server.running.errors.getvalue()

    def test_a_stop_leaves_none(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path) as server:
            client = server.connect(LINGERS)
            eventually(lambda: server.lingering)
            server.running.server.stop(0)
            assert not server.lingering
            client.rest()


def _refused(client: Client) -> bool:
    """Say something; return whether nobody takes it any more."""
    try:
        client.send(b"x")
    except OSError:
        return True
    return False


class TestCosts:
    def test_it_takes_no_greenlet(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path) as server:
            server.connect(LINGERS)
            eventually(lambda: server.lingering)
            assert [connection.greenlet for connection in server.connections] == [None]

    def test_it_takes_no_place_of_a_request(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path, worker_connections=1) as server:
            for _ in range(5):
                server.connect(LINGERS)
            eventually(lambda: server.lingering == 5)
            assert server.running.server.requests == 0
            assert whole(server.connect(REQUESTS["HTTP/1.1"]).rest(), 5)

    def test_it_takes_no_place_of_a_pool(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path, spawn=1) as server:
            for _ in range(3):
                server.connect(LINGERS)
            eventually(lambda: server.lingering == 3)

    def test_it_keeps_nothing_of_the_request(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path) as server:
            server.connect(LINGERS)
            eventually(lambda: server.lingering)
            (connection,) = server.connections
            assert (connection.exchange, connection.last_head, connection.repeated) == (None, None, None)

    def test_a_loop_without_events_does_not_turn(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path) as server:
            server.connect(LINGERS + b"x")
            eventually(lambda: server.lingering)
            gevent.sleep(0.02)
            turns = [0]
            watcher = gevent.get_hub().loop.prepare()
            watcher.start(lambda: turns.__setitem__(0, turns[0] + 1))
            gevent.sleep(0.3)
            watcher.close()
            assert turns[0] < 30

    def test_a_thousand_at_once(self, kind: str, tmp_path: Path) -> None:
        count = 100 if kind == "tls" else 1000
        with serving(App(5), kind, tmp_path) as server:
            clients = [server.connect(upload("Content-Length: 1000000")) for _ in range(count)]
            eventually(lambda: server.lingering == count)
            for client in clients:
                client.send(b"x" * 10_000)
            for client in clients:
                assert whole(client.rest(), 5)
                client.sock.close()
            eventually(lambda: not server.connections)


class TestRoom:
    """What lingers is the first to make room."""

    def test_under_limit_connections(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path, limit_connections=3) as server:
            idle = server.connect(GET)
            idle.read(20)
            server.connect(LINGERS)
            eventually(lambda: server.lingering)
            gevent.sleep(1.2)  # it has been idle for long enough to be dispensable
            server.connect(GET).read(20)
            assert whole(server.connect(REQUESTS["HTTP/1.1"]).rest(), 5)
            assert not server.lingering
            idle.send(GET)
            idle.received.clear()
            idle.read(20)

    def test_the_first_goes_first(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path, limit_connections=2) as server:
            server.connect(LINGERS)
            eventually(lambda: server.lingering == 1)
            first = next(iter(server.running.server._WSGIServer__capacity.lingering))
            server.connect(LINGERS)
            eventually(lambda: server.lingering == 2)
            server.connect(GET).read(20)
            assert server.lingering == 1
            assert first.stream.closed

    def test_under_limit_connections_per_address(self, tmp_path: Path) -> None:
        with serving(App(5), "tcp", tmp_path, limit_connections_per_address=2) as server:
            for number in range(2):
                server.connect(LINGERS)
                eventually(lambda number=number: server.lingering == number + 1)
            assert whole(server.connect(REQUESTS["HTTP/1.1"]).rest(), 5)
            assert server.lingering == 1


class TestOtherEnds:
    def test_an_idle_connection_ends_gently(self, kind: str, tmp_path: Path) -> None:
        """Its response is still on its way when its time is over, and something comes."""
        with serving(App(KEPT[kind]), kind, tmp_path, keepalive=1) as server:
            client = server.connect(GET)
            server.answered()
            eventually(lambda: server.lingering, 5)
            client.send(b"x")
            assert whole(client.rest(), KEPT[kind])

    def test_an_idle_connection_without_a_rest_just_ends(self, kind: str, tmp_path: Path) -> None:
        with serving(App(5), kind, tmp_path, keepalive=0.1) as server:
            assert whole(server.connect(GET).rest(), 5)
            assert not server.connections

    def test_a_half_closed_client_gets_all(self, kind: str, tmp_path: Path) -> None:
        if kind == "tls":
            pytest.skip("TLS has no half-closed clients")
        app = App(waits=True)
        with serving(app, kind, tmp_path) as server:
            client = server.connect(REQUESTS["HTTP/1.1"] + GET)
            client.sock.shutdown(socket.SHUT_WR)
            eventually(lambda: app.began)
            app.go.set()
            assert whole(client.rest())

    def test_a_connection_that_was_taken_over_ends_gently(self, kind: str, tmp_path: Path) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            environ["geventwsgi.socket"].sendall(b"x" * KEPT[kind])
            return []

        with serving(app, kind, tmp_path) as server:
            client = server.connect(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: test\r\n\r\n")
            client.send(b"y" * 1000)
            server.answered()
            gevent.sleep(0.01)
            client.send(b"y" * 1000)
            assert client.rest() == b"x" * KEPT[kind]

    def test_a_failed_handshake_says_why(self, tmp_path: Path) -> None:
        with serving(App(5), "tls", tmp_path) as server:
            sock = server.running.connect(b"\x16\x03\x01\x00\x05hello" + b"x" * 50_000)
            received = b""
            while piece := sock.recv(100):
                received += piece
            assert received[:1] == b"\x15"  # an alert (RFC 8446 section 6)
