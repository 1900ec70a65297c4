"""All kinds of requests and of clients, one after the other, each answer checked: what a leak or a bad read hides in.

They ask for ``tests.support.apps.counted``. A kind is a function that makes some requests and returns how many.
"""

from __future__ import annotations

import re
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

HOST = b"Host: example.org\r\n"
CLOSE = b"Connection: close\r\n"
BROWSER = (
    HOST + b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,*/*;q=0.8\r\n"
    b"Accept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n"
)
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
RESET = struct.pack("ii", 1, 0)
KIB = b"y" * 1024


def request(line: bytes, fields: bytes = HOST, body: bytes = b"") -> bytes:
    """Return a request's bytes."""
    return line + b" HTTP/1.1\r\n" + fields + b"\r\n" + body


def with_length(body: bytes) -> bytes:
    """Return an upload with a Content-Length."""
    return request(b"POST /upload", HOST + b"Content-Length: %d\r\n" % len(body), body)


def chunked(*pieces: bytes) -> bytes:
    """Return an upload in these chunks, with a trailer."""
    body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX-Sum: 1\r\n\r\n"
    return request(b"POST /upload", HOST + b"Transfer-Encoding: chunked\r\n", body)


GET = request(b"GET /hello")


class Mix:
    """The clients of one server.

    :param context: for a server that speaks TLS.
    """

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._context = context
        self._number = 0

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Yield a new connection."""
        with socket.create_connection(self._address, timeout=30) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is None:
                yield sock
            else:
                with self._context.wrap_socket(sock, server_hostname=self._address[0]) as tls:
                    yield tls

    def ask(self, *requests: bytes, expected: str = "200") -> int:
        """Send requests at once on one connection; check the statuses of all answers. The last one must close it."""
        with self.connected() as sock:
            sock.sendall(b"".join(requests))
            answer = everything(sock)
        found = [status.decode() for status in STATUS.findall(answer)]
        assert found == [expected] * len(requests), f"{found} to {requests!r}"
        return len(requests)

    def held(self) -> int:
        """Return how many blocks of memory the process that answers holds."""
        with self.connected() as sock:
            sock.sendall(request(b"GET /held", HOST + CLOSE))
            return int(everything(sock).rpartition(b"\r\n\r\n")[2])

    def run(self, count: int) -> None:
        """Make at least ``count`` requests, of all kinds in turns."""
        made = 0
        while made < count:
            made += sum(kind(self) for kind in KINDS)

    # Kinds

    def repeated(self) -> int:
        """The same head again and again on one connection, which the client closes."""
        with self.connected() as sock:
            for _ in range(20):
                sock.sendall(request(b"GET /hello", BROWSER))
                until(sock, b"hello")
        return 20

    def changing(self) -> int:
        """A head that differs in one field, and in more; the names, which are kept, are of a bounded set."""
        with self.connected() as sock:
            for _ in range(10):
                self._number += 1
                number = b"%d" % self._number
                sock.sendall(request(b"GET /hello?" + number, BROWSER + b"Cookie: id=" + number + b"\r\n"))
                until(sock, b"hello")
                named = b"X-%d: a\r\nAccept: %b\r\n" % (self._number % 64, number)
                sock.sendall(request(b"GET /hello", HOST + named))
                until(sock, b"hello")
        return 20

    def pipelined(self) -> int:
        """Many at once."""
        return self.ask(*[GET] * 29, request(b"GET /hello", HOST + CLOSE))

    def fresh(self) -> int:
        """A connection for each, in HTTP/1.1 and 1.0."""
        self.ask(b"GET /hello HTTP/1.0\r\n\r\n")
        return 1 + self.ask(request(b"GET /hello", HOST + CLOSE))

    def heads(self) -> int:
        """HEAD of what has a length and of what has none."""
        return self.ask(request(b"HEAD /hello"), request(b"HEAD /stream"), request(b"HEAD /file", HOST + CLOSE))

    def uploads(self) -> int:
        """Bodies read by the application, small and large, and one that it leaves unread."""
        unread = request(b"POST /hello", HOST + b"Content-Length: 1024\r\n", KIB)
        return self.ask(with_length(b"x"), with_length(KIB * 100), unread, request(b"GET /hello", HOST + CLOSE))

    def chunks(self) -> int:
        """Chunked uploads, the second in pieces that end inside a chunk's line."""
        with self.connected() as sock:
            sock.sendall(chunked(b"x", KIB))
            until(sock, b"1025")
            data = chunked(*[b"z" * 100] * 20)
            for start in range(0, len(data), 999):
                sock.sendall(data[start : start + 999])
            until(sock, b"2000")
        return 2

    def streams(self) -> int:
        """Answers without a length, and a file."""
        return self.ask(request(b"GET /stream"), request(b"GET /file"), request(b"GET /stream", HOST + CLOSE))

    def continued(self) -> int:
        """A client that waits for 100 (Continue)."""
        with self.connected() as sock:
            sock.sendall(request(b"POST /upload", HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n"))
            until(sock, b"\r\n\r\n")
            sock.sendall(b"12345")
            until(sock, b"\r\n\r\n5")
        return 1

    def missing(self) -> int:
        """What is not there."""
        return self.ask(request(b"GET /nothing"), request(b"GET /nothing", HOST + CLOSE), expected="404")

    def refused(self) -> int:
        """What the server itself refuses."""
        self.ask(b"GET /hello HTTP/1.1\nHost: x\n\n", expected="400")
        self.ask(request(b"GET /hello", HOST + b"A b: c\r\n"), expected="400")
        self.ask(request(b"POST /upload", HOST + b"Transfer-Encoding: gzip, chunked\r\n"), expected="501")
        return 3 + self.ask(request(b"GET /" + b"a" * 5000), expected="414")

    def failing(self) -> int:
        """An application that raises, before and after its head has left."""
        self.ask(request(b"GET /fails", HOST + CLOSE), expected="500")
        with self.connected() as sock:
            sock.sendall(request(b"GET /breaks"))
            assert len(everything(sock)) < 8192
        return 2

    def gone(self) -> int:
        """Clients that reset their connection: in a head, in a body, in a chunk, before and within an answer."""
        half = (GET[:20], with_length(KIB)[:-500], chunked(KIB)[:-500], request(b"GET /stream"), GET)
        for data in half:
            with self.connected() as sock:
                sock.sendall(data)
                reset(sock)
        with self.connected() as sock:
            sock.sendall(request(b"GET /large"))
            assert sock.recv(100)
            reset(sock)
        return len(half) + 1


def until(sock: Any, end: bytes) -> None:
    """Read until what came ends so."""
    answer = b""
    while not answer.endswith(end):
        piece = sock.recv(65536)
        assert piece, f"closed after {answer!r}"
        answer += piece


def everything(sock: Any) -> bytes:
    """Return all that comes until the server closes or resets the connection."""
    answer = []
    try:
        while piece := sock.recv(65536):
            answer.append(piece)
    except OSError:
        pass
    return b"".join(answer)


def reset(sock: Any) -> None:
    """End a connection by a reset, as a process that is killed with unread data does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    socket.socket(fileno=sock.detach()).close()


KINDS: tuple[Callable[[Mix], int], ...] = (
    Mix.repeated, Mix.changing, Mix.pipelined, Mix.fresh, Mix.heads, Mix.uploads, Mix.chunks, Mix.streams,
    Mix.continued, Mix.missing, Mix.refused, Mix.failing, Mix.gone,
)  # fmt: skip
