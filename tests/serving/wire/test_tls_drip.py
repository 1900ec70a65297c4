"""A TLS record that comes byte by byte is a client that says nothing: it moves no deadline."""

from __future__ import annotations

import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket
from gevent.pool import Pool

from geventwsgi import WSGIServer
from tests.support.certificates import certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"
#: All deadlines are this short; a drip is faster than that.
LIMIT, EVERY = 0.5, 0.1
DEADLINES = ("first_byte_timeout", "header_timeout", "keepalive", "body_grace")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


class Client:
    """A client whose records are in the test's hands."""

    def __init__(self, server: WSGIServer) -> None:
        self.sock = socket.create_connection(server.address)
        self.sock.settimeout(10)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(certificates().ca_certs)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        while not self._shake():
            self._incoming.write(self.sock.recv(65536))
        self.sock.sendall(self._outgoing.read())

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.sock.sendall(self._outgoing.read())
            return False
        return True

    def record(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def drip(self, data: bytes, patience: float) -> bool:
        """Send ``data`` in small pieces; return whether the server has closed or answered within ``patience``."""
        until, position = time.monotonic() + patience, 0
        self.sock.settimeout(EVERY)
        while time.monotonic() < until:
            try:
                self.sock.sendall(data[position : position + 1])
                position += 1
                if self._ended(self.sock.recv(65536)):
                    return True
            except TimeoutError:  # a timeout is the usual case here
                pass
            except OSError:
                return True
        return False

    def _ended(self, data: bytes) -> bool:
        self._incoming.write(data)
        try:
            return not data or self._tls.read(65536).startswith(b"HTTP/1.1 408 ")
        except ssl.SSLWantReadError:  # session tickets
            return False
        except ssl.SSLError:
            return True


@contextmanager
def serving(limited: str, **arguments: Any) -> Iterator[WSGIServer]:
    limits = dict.fromkeys(DEADLINES, 60) | {limited: LIMIT}
    files = {"certfile": certificates().certfile, "keyfile": certificates().keyfile}
    server = WSGIServer(("127.0.0.1", 0), application, log=None, **files, **limits, **arguments)
    server.start()
    try:
        yield server
    finally:
        server.stop(0)


@pytest.mark.parametrize("spawn", ["default", Pool(5)], ids=["runners", "pool"])
@pytest.mark.parametrize(
    ("limited", "first"),
    [
        ("first_byte_timeout", b""),
        ("header_timeout", b"GET / HTTP/1.1\r\n"),
        ("keepalive", GET),
        ("body_grace", POST),
    ],
)
def test_a_record_that_drips_moves_no_deadline(limited: str, first: bytes, spawn: Any) -> None:
    with serving(limited, spawn=spawn) as server:
        client = Client(server)
        if first:
            client.sock.sendall(client.record(first))
        gevent.sleep(0.05)
        with client.sock:
            assert client.drip(client.record(b"x" * 500), 6 * LIMIT)


@pytest.mark.parametrize("spawn", ["default", Pool(5)], ids=["runners", "pool"])
def test_a_request_whose_record_drips_is_answered_within_the_deadlines(spawn: Any) -> None:
    with serving("handshake_timeout", spawn=spawn) as server:
        client = Client(server)
        for _ in range(2):
            data = client.record(GET)
            for position in range(len(data)):
                client.sock.sendall(data[position : position + 1])
                gevent.sleep(0.002)
            client._incoming.write(client.sock.recv(65536))
            while not (answer := read(client)):
                client._incoming.write(client.sock.recv(65536))
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        client.sock.close()


def read(client: Client) -> bytes:
    try:
        return client._tls.read(65536)
    except ssl.SSLWantReadError:
        return b""
