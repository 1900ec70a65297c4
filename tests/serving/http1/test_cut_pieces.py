"""A piece of a response that is cut while it is sent: nothing follows it, least of all the connection's next response.

A client would take that for the rest of the piece, and a proxy would hand it to the wrong client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from geventwsgi.errors import ResponseError
from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.fake_exchange import head_of
from tests.support.servers import Running, read_to, running
from tests.support.serving import served
from tests.support.streams import tls_client_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.serving.http1.http1_exchange import Http1Exchange

    Write = Callable[[bytes], object]

#: More than the kernel takes for a client that reads nothing.
PIECE = b"x" * (8 << 20)
ONE = b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n"
TWO = ONE.replace(b"one", b"two")
LENGTH = [("Content-Length", str(len(PIECE)))]
CHUNKED: list[tuple[str, str]] = []


def in_time(write: Write) -> None:
    """Write for as long as there is time, which a client that does not read makes too short."""
    with gevent.Timeout(0.05, False):
        write(PIECE)


def then_more(write: Write) -> None:
    in_time(write)
    with pytest.raises(ResponseError, match="cut while it was sent"):
        write(b"more")


def in_a_greenlet_that_is_killed(write: Write) -> None:
    greenlet = gevent.spawn(write, PIECE)
    gevent.sleep(0.05)
    greenlet.kill()


class App:
    """Answers ``/one`` with a piece that is cut, and any other path with a secret."""

    def __init__(self, send: Callable[[Write], object], headers: list[tuple[str, str]]) -> None:
        self.send, self.headers = send, headers
        self.cut = False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] != "/one":
            start_response("200 OK", [("Content-Length", "6")])
            return [b"secret"]
        self.send(start_response("200 OK", self.headers))
        self.cut = True
        return []


def received(client: Any) -> tuple[bytes, bool]:
    """Return all that comes, and whether a reset ends it."""
    found = bytearray()
    try:
        while piece := client.recv(1 << 20):
            found += piece
    except ConnectionResetError:
        return bytes(found), True
    return bytes(found), False


def connected(server: Running, *, tls: bool) -> Any:
    client: Any = server.connect()
    if tls:
        client = tls_client_context().wrap_socket(client, server_hostname="localhost")
        server.clients.append(client)
    return client


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("headers", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("send", [in_time, then_more, in_a_greenlet_that_is_killed])
def test_nothing_follows_it(send: Callable[[Write], object], headers: list[tuple[str, str]], tls: bool) -> None:
    app = App(send, headers)
    settings = {"certfile": certificates().certfile, "keyfile": certificates().keyfile} if tls else {}
    with running(app, **settings) as server:
        client = connected(server, tls=tls)
        client.sendall(ONE + TWO)
        eventually(lambda: app.cut)
        eventually(lambda: server.statuses)
        found, _ = received(client)
        assert b"secret" not in found and b"more" not in found
        assert found.count(b"x") < len(PIECE)
        assert server.server.requests == 0
        assert "cut while it was sent" in server.errors.getvalue()


def test_where_the_end_marks_the_length_it_is_a_reset() -> None:
    app = App(in_time, [])
    with running(app) as server:
        client = server.connect(ONE.replace(b"1.1", b"1.0"))
        eventually(lambda: server.statuses)
        assert received(client)[1]


def test_a_response_before_it_arrives() -> None:
    app = App(in_time, LENGTH)
    with running(app) as server:
        client = server.connect(TWO + ONE + TWO)
        eventually(lambda: len(server.statuses) == 2)
        found, _ = received(client)
        assert found.count(b"secret") == 1


@pytest.mark.parametrize("again", [False, True])
def test_no_response_follows_hints_that_are_cut(again: bool) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/one":
            for _ in range(1 + again):
                with gevent.Timeout(0.05, False):
                    environ["wsgi.early_hints"]([("Link", PIECE.decode())])
        start_response("200 OK", [("Content-Length", "6")])
        return [b"secret"]

    with running(application) as server:
        client = server.connect(ONE + TWO)
        eventually(lambda: server.statuses)
        found, _ = received(client)
        assert b"secret" not in found and found.count(b"HTTP/1.1") == 1


def test_a_second_greenlet_that_is_refused_cuts_nothing() -> None:
    refused: list[BaseException] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        write = start_response("200 OK", [])
        first = gevent.spawn(write, PIECE)
        gevent.sleep(0.05)
        try:
            write(b"y")
        except gevent.exceptions.ConcurrentObjectUseError as error:
            refused.append(error)
        first.join()
        return [b"secret"]

    with running(application) as server:
        client = server.connect(ONE.replace(b"Host", b"Connection: close\r\nHost"))
        eventually(lambda: refused)
        found, _ = received(client)
        assert found.endswith(b"\r\n800000\r\n" + PIECE + b"\r\n6\r\nsecret\r\n0\r\n\r\n")


def test_what_another_greenlet_writes_comes_after_the_head() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        while environ["wsgi.input"].read(1):  # more work than a turn: others come before what is sent next
            pass
        gevent.spawn(start_response("200 OK", [("Content-Length", "6")]), b"secret")
        return [b"own"]

    body = b"Content-Length: 12288\r\nHost"
    with running(application) as server:
        client = server.connect(ONE.replace(b"GET", b"POST").replace(b"Host", body) + b"x" * 12288)
        assert read_to(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_nothing_follows_the_last_chunk() -> None:
    """While that waits for room another greenlet may run, or the server ask whether the client is still there."""
    late: list[object] = []

    def run(exchange: Http1Exchange) -> None:
        exchange.start(head_of("200 OK"), None)
        exchange.write(b"own")
        exchange.finish()
        late.append(exchange.probe())
        try:
            exchange.write(b"late")
        except ResponseError as error:
            late.append(str(error))

    with served(run) as connection:
        answer = connection.ask(ONE.replace(b"Host", b"Connection: close\r\nHost"))
    assert answer.endswith(b"\r\n3\r\nown\r\n0\r\n\r\n")
    assert late == [b"", "write was called after the response had ended"]
