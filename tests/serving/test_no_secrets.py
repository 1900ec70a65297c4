"""What a client keeps secret is in no log, at any level, however its request fails.

Secret are credentials, cookies, the query, fields that the server does not know and the body. The access log tells what
its format asks for.
"""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.pywsgi import WSGIHandler

from tests.support.certificates import certificates
from tests.support.eventually import eventually
from tests.support.servers import Running, read_all, running

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "s3cr3t"
QUERY = f"/account?token={SECRET}-query"
FIELDS = [
    f"Authorization: Bearer {SECRET}-authorization",
    f"Cookie: session={SECRET}-cookie",
    f"Proxy-Authorization: Basic {SECRET}-proxy",
    f"X-Api-Key: {SECRET}-key",
    f"Referer: https://example.org/?token={SECRET}-referer",
]
BODY = f"user=me&password={SECRET}-body".encode()
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def head(*fields: str, start: str = f"POST {QUERY} HTTP/1.1", host: str = "Host: x") -> bytes:
    return "\r\n".join([start, host, *FIELDS, *fields, "", ""]).encode("latin-1")


POST = head(f"Content-Length: {len(BODY)}") + BODY
GET = head(start=f"GET {QUERY} HTTP/1.1")


def serve(app: Callable[..., Any], *sent: bytes, leaves: bool = False, **settings: Any) -> str:
    """Send a request and read the answer, or leave; return all that was logged meanwhile."""
    with running(app, **{"loglevel": "debug", "access_log_format": "%(s)s %(m)s %(U)s", **settings}) as server:
        client = server.connect(b"".join(sent))
        if leaves:
            eventually(server.server.in_flight)
            reset(client)
            eventually(server.errors.getvalue)
        else:
            end(client)
        eventually(lambda: not server.server.connections)
        return logged(server)


def end(client: Any) -> None:
    """Send nothing more and read what comes; who sends nonsense may be cut off."""
    with suppress(ConnectionResetError, BrokenPipeError):
        client.shutdown(1)
        read_all(client)


def reset(client: Any) -> None:
    client.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: the close is a reset
    client.close()


def logged(server: Running) -> str:
    return server.errors.getvalue() + server.access.getvalue()


def check(said: str, capfd: pytest.CaptureFixture[str], expected: str) -> None:
    """Fail if a secret is in what was logged, or if it was not about what was expected."""
    told = said + "".join(capfd.readouterr())
    assert SECRET not in told
    assert expected in told


# The application


def raises(_environ: dict[str, Any], _start_response: Any) -> Any:
    raise ZeroDivisionError("in the view")


def reads_and_raises(environ: dict[str, Any], _start_response: Any) -> Any:
    form = environ["wsgi.input"].read()
    raise ZeroDivisionError(f"in the view after {len(form)} bytes")


def raises_while_iterated(_environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [])
    yield b"some"
    raise ZeroDivisionError("in the iterator")


class Closes(list[bytes]):
    def close(self) -> None:
        raise ZeroDivisionError("in close")


def raises_in_close(_environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [])
    return Closes([b"some", b"more"])


def answers(status: Any = "200 OK", headers: Any = None, result: Any = (b"ok",)) -> Callable[..., Any]:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.input"].read()
        start_response(status, [] if headers is None else headers)
        return result

    return app


def sends_file(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [("Content-Length", "100000")])
    return environ["wsgi.file_wrapper"](Path(__file__).open("rb"))


def hints(environ: dict[str, Any], _start_response: Any) -> Any:
    environ["wsgi.early_hints"]([("Link", "bad\nvalue")])


def trailers(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [])
    environ["geventwsgi.send_trailers"]([("Content-Length", "1")])
    return [b"a", b"b"]


def writes_on(_environ: dict[str, Any], start_response: Any) -> Any:
    write = start_response("200 OK", [])
    while True:
        write(b"x" * 65536)
        gevent.sleep(0)


def waits(_environ: dict[str, Any], _start_response: Any) -> Any:
    gevent.sleep(60)


APPLICATIONS = {
    "a view": (raises, "in the view"),
    "a view that has read the body": (reads_and_raises, "in the view"),
    "an iterator": (raises_while_iterated, "in the iterator"),
    "close": (raises_in_close, "in close"),
    "a status": (answers(status="200"), "the status is"),
    "a header's name": (answers(headers=[("Bad name", "x")]), "is not a token"),
    "a header's value": (answers(headers=[("X-Bad", f"{SECRET}\n")]), "X-Bad"),
    "headers of another type": (answers(headers={"Cookie": SECRET}), "pass a list"),
    "a field of another type": (answers(headers=[["Set-Cookie", SECRET]]), "a response header is"),
    "a value of another type": (answers(headers=[("Set-Cookie", SECRET.encode())]), "must be str"),
    "a hop-by-hop field": (answers(headers=[("Keep-Alive", SECRET)]), "left out"),
    "too few bytes": (answers(headers=[("Content-Length", "9")]), "Wrong length"),
    "too many bytes": (answers(headers=[("Content-Length", "1")]), "Wrong length"),
    "text for bytes": (answers(result=[SECRET]), "Error handling request"),
    "a text for an iterable": (answers(result=SECRET), "return an iterable"),
    "a file that is too short": (sends_file, "Wrong length"),
    "early hints": (hints, "Error handling request"),
    "trailers": (trailers, "Error handling request"),
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_that_fails(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    app, expected = APPLICATIONS[name]
    fields = ("TE: trailers", "Connection: TE") if name == "trailers" else ()
    check(serve(app, head(*fields, f"Content-Length: {len(BODY)}"), BODY), capfd, expected)


@pytest.mark.parametrize("hook", ["pre_request", "post_request"])
def test_a_hook_that_fails(hook: str, capfd: pytest.CaptureFixture[str]) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError("in the hook")

    check(serve(answers(), POST, **{hook: fails}), capfd, "in the hook")


# What is refused

LONG = "x" * 10_000
REFUSED = {
    "no method": head(start=f"<> {QUERY} HTTP/1.1"),
    "no target": head(start=f"GET {SECRET}-target HTTP/1.1"),
    "a fragment": head(start=f"GET {QUERY}#{SECRET} HTTP/1.1"),
    "a control character in the target": head(start=f"GET {QUERY}\x01 HTTP/1.1"),
    "a password in the target": head(start=f"GET http://me:{SECRET}@x/ HTTP/1.1"),
    "another version": head(start=f"GET {QUERY} HTTP/3.0"),
    "no version": head(start=f"GET {QUERY} {SECRET}"),
    "a long target": head(start=f"GET {QUERY}{LONG} HTTP/1.1"),
    "no host": head(host="X-Not: host"),
    "two hosts": head(f"Host: {SECRET}"),
    "a bad host": head(host=f"Host: {SECRET} x"),
    "a field without a colon": head(f"{SECRET}-line"),
    "a field's bad name": head(f"{SECRET} name: x"),
    "a field's bad value": head(f"X-Bad: {SECRET}\x00"),
    "a folded field": head(f"X-Bad: a\r\n {SECRET}"),
    "a bare LF": head(f"X-Bad: a\n{SECRET}"),
    "a bare CR": head(f"X-Bad: a\r{SECRET}"),
    "a long field": head(f"X-Long: {SECRET}{LONG}"),
    "many fields": head(*[f"X-{number}: {SECRET}" for number in range(200)]),
    "a bad length": head(f"Content-Length: {SECRET}"),
    "two lengths": head("Content-Length: 1", f"Content-Length: {SECRET}"),
    "length and chunks": head("Content-Length: 1", "Transfer-Encoding: chunked"),
    "another coding": head(f"Transfer-Encoding: {SECRET}"),
    "an expectation": head(f"Expect: {SECRET}", "Content-Length: 1") + b"x",
    "bad chunks": head("Transfer-Encoding: chunked") + BODY + b"\r\n",
    "a bad chunk's end": head("Transfer-Encoding: chunked") + b"3\r\n" + BODY + b"\r\n",
    "a bad trailer": head("Transfer-Encoding: chunked") + f"0\r\n{SECRET}\r\n\r\n".encode(),
    "a short body": head("Content-Length: 1000") + BODY,
    "short chunks": head("Transfer-Encoding: chunked") + b"1000\r\n" + BODY,
    "TLS": b"\x16\x03\x01\x02\x00" + SECRET.encode() * 30,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SECRET.encode(),
    "a PROXY header": f"PROXY TCP4 {SECRET} x 1 2\r\n".encode() + GET,
    "half a head": GET[:-10],
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_is_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    check(serve(answers(), REFUSED[name]), capfd, "")


def test_no_room_for_a_request(capfd: pytest.CaptureFixture[str]) -> None:
    with running(waits, loglevel="debug", worker_connections=1, queue_timeout=0.05) as server:
        server.connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: server.server.requests)
        assert b" 503 " in server.connect(GET).recv(100)
        check(server.errors.getvalue(), capfd, "Refused")


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 x\r\n" + GET,
        b"PROXY " + SECRET.encode() * 40,
        GET,
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x04" + SECRET.encode(),
    ],
    ids=["address", "long", "none", "version 2"],
)
def test_a_proxy_header_that_is_malformed(header: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    check(serve(answers(), header, proxy_protocol="auto"), capfd, "")


# Time, and clients that leave


@pytest.mark.parametrize("timeout", ["header_timeout", "request_timeout"])
def test_a_timeout(timeout: str, capfd: pytest.CaptureFixture[str]) -> None:
    app = waits if timeout == "request_timeout" else answers()
    sent = {"header_timeout": GET[:-2], "request_timeout": POST}[timeout]
    with running(app, loglevel="debug", **{timeout: 0.05}) as server:
        read_all(server.connect(sent))
        check(server.errors.getvalue(), capfd, "")


@pytest.mark.parametrize("app", [answers(), writes_on], ids=["reads", "writes"])
def test_a_client_that_leaves(app: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    check(serve(app, POST[:-1] if app is not writes_on else POST, leaves=True), capfd, "Client left")


def test_a_stop_that_cuts(capfd: pytest.CaptureFixture[str]) -> None:
    with running(waits, loglevel="debug") as server:
        server.connect(POST)
        eventually(server.server.in_flight)
        server.server.stop(0.05)
        check(server.errors.getvalue(), capfd, "Cut, since")


# TLS, WebSockets


def test_a_handshake_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    files = certificates()
    check(serve(answers(), GET, certfile=files.certfile, keyfile=files.keyfile), capfd, "")


def socket_of(environ: dict[str, Any], _start_response: Any) -> Any:
    websocket = environ["wsgi.websocket"]
    while websocket.receive() is not None:
        pass
    raise ZeroDivisionError("in the session")


FRAMES = {
    "that is not masked": b"\x81\x06" + SECRET.encode(),
    "that is no UTF-8": b"\x81\x88\0\0\0\0\xff\xff" + SECRET.encode(),
    "that is reserved": b"\x8b\x86\0\0\0\0" + SECRET.encode(),
    "that is too large": b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0" + SECRET.encode(),
    "that ends a session which fails": b"\x88\x80\0\0\0\0",
    "that never ends": b"\x81\xa6\0\0\0\0" + SECRET.encode(),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_websockets_frame(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    handshake = head(*UPGRADE, KEY, start=f"GET {QUERY} HTTP/1.1")
    check(serve(socket_of, handshake, FRAMES[name], wsgi_websocket=True), capfd, "")


@pytest.mark.parametrize("fields", [UPGRADE, [*UPGRADE[:2], KEY, f"Sec-WebSocket-Version: {SECRET}"]])
def test_a_handshake_of_websocket_that_is_refused(fields: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    handshake = head(*fields, start=f"GET {QUERY} HTTP/1.1")
    check(serve(socket_of, handshake, wsgi_websocket=True), capfd, "")


# Scripts as for pywsgi


class Handler(WSGIHandler):
    """What scripts give as handler_class."""


class Reports(WSGIHandler):
    """One that handles errors itself, and then as pywsgi does."""

    def handle_error(self, t: Any, v: Any, tb: Any) -> None:
        self.server.error_log.write("handled\n")
        super().handle_error(t, v, tb)


@pytest.mark.parametrize("handler", [Handler, Reports])
@pytest.mark.parametrize("app", [raises, reads_and_raises, raises_while_iterated])
def test_a_script_with_a_handler_class(handler: Any, app: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with running(app, handler_class=handler, log=None) as server:
        end(server.connect(POST))
        printed: list[str] = []
        eventually(lambda: printed.append(capfd.readouterr().err) or "ZeroDivisionError" in "".join(printed))
        told = server.errors.getvalue() + "".join(printed)
    assert SECRET not in told


def test_the_access_log_tells_of_the_query_what_its_format_asks_for() -> None:
    errors = io.StringIO()
    with running(answers(), error_log=errors, access_log_format="%(r)s") as server:
        end(server.connect(POST))
        eventually(server.access.getvalue)
        assert f"{SECRET}-query" in server.access.getvalue()
        assert SECRET not in errors.getvalue()
