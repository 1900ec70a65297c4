"""Clients of ``tests.support.apps.tells``, each with tokens of its own: every byte that they get is looked at.

A token is ``t-CLIENT-NUMBER-t``. A response that holds any other than its own request's is another client's data, or
another request's.
"""

from __future__ import annotations

import random
import re
import socket as standard
import struct
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = re.compile(rb"t-\d+-\d+-t")
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: chunked\r\n", re.IGNORECASE)
RESET = struct.pack("ii", 1, 0)


class Closed(Exception):
    """The server has ended the connection before a whole response was there."""


class Connection:
    """One client's connection, and what was received beyond the last response."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=60)
        self.sock.setsockopt(standard.IPPROTO_TCP, standard.TCP_NODELAY, 1)
        self._received = b""
        #: All that came since the last whole response.
        self.unfinished = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def _more(self) -> None:
        try:
            piece = self.sock.recv(65536)
        except OSError:
            piece = b""
        if not piece:
            raise Closed
        self._received += piece
        self.unfinished += piece

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._more()
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._more()
        return self._take(self._received.index(end) + len(end))

    def response(self) -> bytes:
        """Return all of the next response, interim ones before it included."""
        self.unfinished = self._received
        head = whole = self._until(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 1"):
            head = self._until(b"\r\n\r\n")
            whole += head
        if length := LENGTH.search(head):
            return whole + self._take(int(length[1]))
        assert CHUNKED.search(head), head
        while True:
            line = self._until(b"\r\n")
            chunk = self._take(int(line, 16) + 2)
            whole += chunk[:-2]
            if chunk == b"\r\n":
                return whole

    def reset(self) -> None:
        """End the connection as a process does that is killed."""
        self.sock.setsockopt(standard.SOL_SOCKET, standard.SO_LINGER, RESET)


class Client:
    """Makes requests of all kinds and checks each response.

    :param number: its own, which its tokens have.
    """

    def __init__(self, address: tuple[str, int], number: int) -> None:
        self._address = address
        self._number = number
        self._random = random.Random(number)
        self._tokens = 0
        #: Requests sent, and responses that were checked.
        self.requests = self.checked = 0

    def run(self, count: int) -> None:
        """Make at least so many requests."""
        kinds: tuple[Callable[[], None], ...] = (
            self.keeps_alive, self.keeps_alive, self.pipelines, self.connects_anew, self.uploads, self.is_failed,
            self.gives_up, self.is_streamed_to,
        )  # fmt: skip
        while self.requests < count:
            self._random.choice(kinds)()

    def _request(
        self, kind: str, *, close: bool = False, chunked: bool = False, length: int = -1
    ) -> tuple[bytes, bytes]:
        """Return a token and a request that is full of it."""
        self._tokens += 1
        self.requests += 1
        token = b"t-%d-%d-t" % (self._number, self._tokens)
        body = b"" if length < 0 else (token + b"\n") * length
        head = b"%b /%b/%b?%b HTTP/1.1\r\nHost: example.org\r\nX-Token: %b\r\n" % (
            b"GET" if length < 0 else b"POST", kind.encode(), token, token, token,
        )  # fmt: skip
        if self._random.random() < 0.7:
            head += b"Cookie: user=%b\r\n" % token
        if close:
            head += b"Connection: close\r\n"
        if chunked:
            head += b"Transfer-Encoding: chunked\r\n"
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in body.splitlines(keepends=True))
            body += b"0\r\n\r\n"
        elif length >= 0:
            head += b"Content-Length: %d\r\n" % len(body)
        return token, head + b"\r\n" + body

    def _check(self, token: bytes, response: bytes, status: int = 200) -> None:
        found = STATUS.findall(response)
        assert int(found[-1]) == status, response
        assert set(TOKEN.findall(response)) == ({token} if status == 200 else set()), (token, response)
        if status == 200:
            left = response.rpartition(b"found:")[2].strip()
            assert not left, (token, left)
        self.checked += 1

    def _ask(self, connection: Connection, kind: str, status: int = 200, **shape: Any) -> None:
        token, request = self._request(kind, **shape)
        connection.sock.sendall(request)
        self._check(token, connection.response(), status)

    # Kinds

    def keeps_alive(self) -> None:
        """Several requests on one connection, some of which wait or get early hints."""
        with Connection(self._address) as connection:
            for _ in range(self._random.randrange(2, 20)):
                self._ask(connection, self._random.choice(("echo", "echo", "echo", "sleep", "hints")))

    def pipelines(self) -> None:
        """Several at once."""
        with Connection(self._address) as connection:
            asked = [self._request(self._random.choice(("echo", "echo", "sleep"))) for _ in range(8)]
            connection.sock.sendall(b"".join(request for _, request in asked))
            for token, _ in asked:
                self._check(token, connection.response())

    def connects_anew(self) -> None:
        """A connection for each."""
        for _ in range(3):
            with Connection(self._address) as connection:
                self._ask(connection, "echo", close=True)

    def uploads(self) -> None:
        """Bodies with a length and in chunks, one that the application does not read, and a request after each."""
        with Connection(self._address) as connection:
            for shape in ({"length": 1}, {"length": 500}, {"length": 20, "chunked": True}):
                self._ask(connection, "echo", **shape)
                self._ask(connection, "echo")
            self._ask(connection, "unread", length=3)
            self._ask(connection, "echo")

    def is_failed(self) -> None:
        """An application that raises before its head, and one that raises after it."""
        with Connection(self._address) as connection:
            self._ask(connection, "echo")
            self._ask(connection, "fail", status=500, close=True)
        with Connection(self._address) as connection:
            token, request = self._request("break")
            connection.sock.sendall(request)
            with pytest.raises(Closed):
                connection.response()
            assert set(TOKEN.findall(connection.unfinished)) == {token}, (token, connection.unfinished)
            self.checked += 1

    def gives_up(self) -> None:
        """Resets within a head, within a body, before the answer, within it."""
        for kind, part in (("echo", 0.5), ("sleep", 1.0), ("stream", 1.0)):
            with Connection(self._address) as connection:
                _, request = self._request(kind, length=50)
                connection.sock.sendall(request[: int(len(request) * part)])
                if kind == "stream":
                    connection.sock.recv(50)
                connection.reset()

    def is_streamed_to(self) -> None:
        """Chunks between which other requests run."""
        with Connection(self._address) as connection:
            for _ in range(3):
                self._ask(connection, "stream")


def run(address: tuple[str, int], clients: int, count: int) -> tuple[int, int]:
    """Have clients make at least ``count`` requests together; return how many they made and how many were checked."""
    made = [Client(address, number) for number in range(clients)]
    running = [gevent.spawn(client.run, -(-count // clients)) for client in made]
    try:
        gevent.joinall(running, raise_error=True)
    finally:
        gevent.killall(running)
    return sum(client.requests for client in made), sum(client.checked for client in made)
