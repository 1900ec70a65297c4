"""Decode a request's body: one small class per framing (RFC 9112 sections 6 and 7).

A decoder gets received bytes and returns the bytes of the body in them. It never waits or receives. What follows the
body in the same bytes belongs to the next request and is handed back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.errors import RequestError
from geventwsgi.http import grammar
from geventwsgi.http.fields import Fields, parse_field_lines
from geventwsgi.http.lines import check_field_lines, check_length

if TYPE_CHECKING:
    from geventwsgi.http.limits import Limits

#: Bytes of a chunk-size line with its extensions, at most. No client is known to use extensions.
MAX_CHUNK_LINE = 256
#: Bytes of chunk framing with little or no data, after which the body is refused as abuse.
MAX_FRAMING_EXCESS = 16384
#: Bytes received at once while the next chunk's size is not known: this bounds the work for a flood of tiny chunks.
FRAMING_RECV = 512
#: Bytes of a trailer section, at most.
MAX_TRAILERS = 8192


class Body:
    """The interface of a decoder. It is a base class and not a ``Protocol``, for the compiled core."""

    __slots__ = ("done",)

    #: Whether the whole body has been decoded.
    done: bool

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the body bytes in ``data`` and, when done, what follows the body; both may be empty.

        :raises RequestError: 400 or 413.
        """
        raise NotImplementedError

    def want(self, size: int) -> int:
        """Return how many bytes to receive for a reader that asks for ``size``."""
        raise NotImplementedError


def body_for(fields: Fields, limits: Limits, trailers: list[tuple[str, str]]) -> Body | None:
    """Return the decoder for a request's body, None if it has none (RFC 9112 section 6.3).

    :param trailers: filled with the trailer fields of a chunked body when it ends.
    :raises RequestError: 413 when the declared length is beyond ``limits.body``.
    """
    if fields.chunked:
        return ChunkedBody(limits, trailers)
    length = fields.content_length
    if not length:
        return None
    if 0 < limits.body < length:
        raise RequestError(413, f"the body is longer than {limits.body} bytes")
    return LengthBody(length)


class LengthBody(Body):
    """A body of Content-Length bytes (RFC 9112 section 6.2)."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        """See :meth:`Body.decode`."""
        if len(data) > self.left:
            piece, rest = data[: self.left], data[self.left :]
        else:
            piece, rest = data, b""
        self.left -= len(piece)
        self.done = self.left == 0
        return piece, rest

    def want(self, size: int) -> int:
        """See :meth:`Body.want`: never a byte past the body, so that nothing has to be handed back."""
        return min(size, self.left)


class ChunkedBody(Body):
    """A body in chunks, with its trailers (RFC 9112 section 7.1)."""

    __slots__ = ("_excess", "_framing", "_left", "_limits", "_scanned", "_size", "_trailers")

    def __init__(self, limits: Limits, trailers: list[tuple[str, str]]) -> None:
        self.done = False
        self._limits = limits
        self._trailers = trailers
        #: Chunk data still to come: None between chunks, 0 when only the chunk's CRLF is missing, -1 in the trailers.
        self._left: int | None = None
        #: An incomplete line, a chunk's missing CRLF, or incomplete trailers.
        self._framing = b""
        #: How many of these bytes have been checked already.
        self._scanned = 0
        self._size = 0
        self._excess = 0

    def want(self, size: int) -> int:
        """See :meth:`Body.want`: within a chunk all of it, but little if a flood of tiny chunks may come."""
        return min(size, max(self._left or 0, FRAMING_RECV))

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        """See :meth:`Body.decode`."""
        pieces: list[bytes] = []
        self._scanned = len(self._framing)
        data = self._framing + data if self._framing else data
        self._framing = b""
        position = 0
        while not self.done and position < len(data):
            step = self._step(data, position, pieces)
            if step == position:  # the rest is a part of a line
                self._framing = data[position:]
                break
            position = step
        return b"".join(pieces), data[position:] if self.done else b""

    def _step(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        """Decode one element at ``position``; return where the next begins, ``position`` itself if some are missing."""
        left = self._left
        if left is None:
            return self._size_line(data, position, pieces)
        if left > 0:
            piece = data[position : position + min(left, len(data))]  # a size may be more than an index in C
            pieces.append(piece)
            self._left = left - len(piece)
            return position + len(piece)
        if left == 0:
            return self._end_of_chunk(data, position)
        return self._end_of_body(data, position)

    def _size_line(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        limit = position + MAX_CHUNK_LINE + 2
        end = data.find(b"\r\n", position, limit)
        if end < 0:
            check_length(data[position:limit].removesuffix(b"\r"), MAX_CHUNK_LINE, 400, "a chunk-size line")
            return position
        line = data[position:end]
        match = grammar.CHUNK_LINE.fullmatch(line)
        if match is None:
            check_length(line, MAX_CHUNK_LINE, 400, "a chunk-size line")
            raise RequestError(400, "a chunk size is malformed")
        size = int(match[1], 16)
        self._size += size
        if 0 < self._limits.body < self._size:
            raise RequestError(413, f"the body is longer than {self._limits.body} bytes")
        # Lines of up to 16 bytes are not counted, nor framing of as many bytes as the data: only framing without data
        # adds up.
        self._excess = max(0, self._excess + (end - position) - 16 - size)
        if self._excess > MAX_FRAMING_EXCESS:
            raise RequestError(400, "too much chunk framing for too little data")
        data_end = end + 2 + size
        # The whole chunk may be there: one step for all three elements.
        if size and data_end < len(data) and data.startswith(b"\r\n", data_end):
            pieces.append(data[end + 2 : data_end])
            return data_end + 2
        self._left = size or -1
        return end + 2

    def _end_of_chunk(self, data: bytes, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self._left = None
            return position + 2
        if data[position:] == b"\r":
            return position
        raise RequestError(400, "chunk data is longer than its chunk size")

    def _end_of_body(self, data: bytes, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self.done = True
            return position + 2
        limit = position + MAX_TRAILERS
        end = data.find(b"\r\n\r\n", position, limit)
        if end < 0:
            before = data.rfind(b"\r\n", position, self._scanned)
            check_field_lines(data[position if before < 0 else before + 2 : limit], self._limits)
            if len(data) >= limit:
                raise RequestError(431, f"the trailers are longer than {MAX_TRAILERS} bytes")
            return position
        trailers = parse_field_lines(data[position : end + 2], self._limits)
        for name, _ in trailers:
            if name.lower() in grammar.FORBIDDEN_TRAILERS:
                raise RequestError(400, f"{name} is not allowed in trailers")
        self._trailers.extend(trailers)
        self.done = True
        return end + 4
