"""A client that sends the bytes that it is told, and reads replies by the letter of RFC 9112.

It knows nothing of the server at the other end. An HTTP library would hide what these tests are about.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
_FIELD_LINE = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9a-fA-F]+)\r\n")


def request(start: str = "GET / HTTP/1.1", *lines: str, host: str | None = "x", close: bool = False) -> bytes:
    """Return a request's head.

    :param host: the Host field; None for none.
    :param close: ask for the connection's end.
    """
    fields = [start, *([] if host is None else [f"Host: {host}"]), *lines, *(["Connection: close"] if close else [])]
    return "\r\n".join([*fields, "", ""]).encode("latin-1")


#: A request that every server answers, and after which it closes: what follows a test's own bytes.
LAST = request("GET /last HTTP/1.1", close=True)
#: What an attacker hides in a body, in the hope that it is taken for a request.
HIDDEN = request("GET /hidden HTTP/1.1")
#: The head of a request whose body, in chunks, is for the test to write.
CHUNKED = request("POST /tell HTTP/1.1", "Transfer-Encoding: chunked")


class Malformed(AssertionError):
    """A reply that no client should have to read."""


@dataclass(frozen=True)
class Reply:
    """One response."""

    status: int
    reason: str
    minor: int
    fields: tuple[tuple[str, str], ...]
    content: bytes = b""
    #: "none", "length", "chunked" or "close".
    framing: str = "none"
    #: Whether its content ended as its framing says; a response that the connection's end cut has not.
    complete: bool = True

    def all(self, name: str) -> list[str]:
        """The values of a field, one for each line."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of a field that is there at most once."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        """The content parsed."""
        return json.loads(self.content)


@dataclass
class Received:
    """What came back on one connection."""

    data: bytes = b""
    #: How the server ended it: "closed", "reset", or "open" if it did not.
    end: str = "open"
    methods: tuple[str, ...] = field(default=())

    @property
    def replies(self) -> list[Reply]:
        """The responses, interim ones included; raises :class:`Malformed`."""
        return parse_replies(self.data, *self.methods, ended=self.end != "open")

    @property
    def statuses(self) -> list[int]:
        """Their statuses."""
        return [reply.status for reply in self.replies]

    @property
    def reply(self) -> Reply:
        """The only response."""
        (reply,) = self.replies
        return reply


class Wire:
    """A way to a server.

    :param address: host and port, or the path of a unix socket.
    :param patience: seconds of silence after which a connection counts as left open.
    """

    def __init__(
        self, address: tuple[str, int] | str, patience: float = 10, context: ssl.SSLContext | None = None
    ) -> None:
        self.address = address
        self.patience = patience
        self._context = context

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """Yield a connection."""
        with socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET) as sock:
            sock.settimeout(self.patience)
            sock.connect(self.address)
            if self._context is None:
                yield sock
            else:
                with self._context.wrap_socket(sock, server_hostname="localhost") as secured:
                    yield secured

    def ask(self, *pieces: bytes, methods: tuple[str, ...] = (), half_close: bool = False) -> Received:
        """Send ``pieces`` on a connection of their own and read until the server ends it, or says no more."""
        with self.connected() as sock:
            with contextlib.suppress(ConnectionError):  # a server may refuse before it has read everything
                for piece in pieces:
                    sock.sendall(piece)
                if half_close:
                    sock.shutdown(socket.SHUT_WR)
            return self.rest(sock, methods)

    def rest(self, sock: socket.socket, methods: tuple[str, ...] = ()) -> Received:
        """Read until the server ends the connection, or is silent for too long."""
        received = Received(methods=methods)
        try:
            while data := sock.recv(65536):
                received.data += data
            received.end = "closed"
        except TimeoutError:
            pass
        except ConnectionError:
            received.end = "reset"
        return received


def read_head(sock: socket.socket) -> bytes:
    """Read up to the end of a response's head, and not a byte more."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"the connection ended inside a head: {data!r}"
        data += byte
    return data


def read_reply(sock: socket.socket) -> Reply:
    """Read one response that has a Content-Length, and not a byte more."""
    data = read_head(sock)
    found = re.search(rb"(?im)^content-length: *(\d+)\r$", data)
    length = int(found[1]) if found else 0
    while length:
        piece = sock.recv(length)
        assert piece, f"the connection ended inside a response: {data!r}"
        data += piece
        length -= len(piece)
    (reply,) = parse_replies(data)
    return reply


def parse_replies(data: bytes, *methods: str, ended: bool = True) -> list[Reply]:
    """Take a stream of responses apart.

    :param methods: the requests' methods in order; what is missing is GET.
    :param ended: whether nothing can follow.
    """
    replies: list[Reply] = []
    left = list(methods)
    while data:
        head, found, data = data.partition(b"\r\n\r\n")
        if not found:
            raise Malformed(f"a head is cut: {head[:200]!r}")
        method = left[0] if left else "GET"
        reply, data = _with_content(_parse_head(head), method, data, ended=ended)
        if reply.status >= 200:
            del left[:1]
        replies.append(reply)
    return replies


def _parse_head(head: bytes) -> Reply:
    first, *lines = head.decode("latin-1").split("\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise Malformed(f"no status line: {first[:200]!r}")
    fields = []
    for line in lines:
        pair = _FIELD_LINE.fullmatch(line)
        if pair is None:
            raise Malformed(f"no field line: {line[:200]!r}")
        fields.append((pair[1], pair[2]))
    return Reply(int(match[2]), match[3], int(match[1]), tuple(fields))


def _with_content(reply: Reply, method: str, data: bytes, *, ended: bool) -> tuple[Reply, bytes]:
    """Return the reply with its content, and what follows (RFC 9112 section 6.3)."""

    def made(content: bytes, framing: str, *, complete: bool) -> Reply:
        return Reply(reply.status, reply.reason, reply.minor, reply.fields, content, framing, complete)

    codings, lengths = reply.all("Transfer-Encoding"), reply.all("Content-Length")
    if len(lengths) + len(codings) > 1:
        raise Malformed(f"more than one framing: {reply.fields}")
    if method == "HEAD" or reply.status < 200 or reply.status in (204, 304):
        return reply, data
    if method == "CONNECT" and reply.status < 300:
        return made(data, "close", complete=ended), b""
    if codings:
        content, data, complete = _dechunked(data)
        return made(content, "chunked", complete=complete), data
    if lengths:
        length = int(lengths[0])
        return made(data[:length], "length", complete=len(data) >= length), data[length:]
    return made(data, "close", complete=ended), b""


def _dechunked(data: bytes) -> tuple[bytes, bytes, bool]:
    content = b""
    while match := _CHUNK.match(data):
        size, data = int(match[1], 16), data[match.end() :]
        if size == 0:
            _, found, rest = data.partition(b"\r\n")
            return content, rest, bool(found)
        content += data[:size]
        if len(data) >= size + 2 and data[size : size + 2] != b"\r\n":
            raise Malformed(f"a chunk does not end: {data[:200]!r}")
        data = data[size + 2 :]
    return content, b"", False


def refused(wire: Wire, data: bytes, status: int) -> None:
    """Check that a request is answered with an error and the connection's end, whatever may follow it."""
    got = wire.ask(data + LAST)
    assert got.statuses == [status]
    assert got.reply.get("Connection") == "close"
    assert got.end == "closed"
