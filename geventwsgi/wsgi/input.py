"""``wsgi.input`` (PEP 3333, "Input and Error Streams"): a file-like object over ``exchange.read``.

It knows blocks of bytes and lines. The exchange has framing, limits and deadlines; it returns an empty block at the end
of the body. An exception that it raises is kept in :attr:`Input.failure` for the gateway, since a framework may replace
it by its own.

Every byte is scanned once and copied at most twice, however it is asked for: a body read by lines or by single bytes
costs time in proportion to its size.
"""

from __future__ import annotations

import sys
from io import BytesIO
from operator import index
from typing import TYPE_CHECKING

from geventwsgi.errors import ClientDisconnected, RequestError
from geventwsgi.wsgi import exchange as protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geventwsgi.wsgi.exchange import Exchange

#: Bytes that are fetched for small reads. With more, an application that takes them one by one would delay others until
#: the next fetch.
BLOCK_SIZE = 8192
#: Bytes. A read of this size or more fetches what it needs, and returns it without a copy.
DIRECT_SIZE = 16384
#: Bytes that are fetched at once, at most: ``read(1 << 40)`` must not allocate that much.
FETCH_LIMIT = 1 << 20
#: More than any body has, and little enough to be added to.
NO_LIMIT = sys.maxsize // 2


class Input:
    """The request body, as the application reads it.

    :param exchange: its ``read`` returns 1 to ``size`` bytes, ``b""`` at the end of the body.
    """

    __slots__ = ("_block", "_exchange", "_position", "_taken", "failure")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._block = b""
        #: How much of ``_block`` has been read.
        self._position = 0
        #: Pieces returned since the last fetch.
        self._taken = 0
        #: The exception that has ended the body early; set by a read, and raised again by each later one.
        self.failure: RequestError | ClientDisconnected | None = None

    def read(self, size: int | None = -1) -> bytes:
        """Return exactly ``size`` bytes, fewer only at the end of the body; all that is left if negative or None.

        :raises RequestError: the body is malformed, too large or too slow.
        :raises ClientDisconnected: the client left inside the body.
        """
        wanted = _limit(size)
        piece = (self._block and self._take(wanted)) or self._next(wanted)
        if len(piece) == wanted:
            return piece
        pieces = BytesIO()  # in a list of pieces, each one-byte chunk of a hostile client would take fifty bytes
        direct = wanted >= DIRECT_SIZE
        while piece:
            pieces.write(piece)
            wanted -= len(piece)
            # The rest of a large read is fetched alone, even if it is small: with a whole block, each later read would
            # have two pieces.
            piece = self._fetch(min(wanted, FETCH_LIMIT)) if direct and wanted else self._next(wanted)
        return pieces.getvalue()

    def readline(self, size: int | None = -1) -> bytes:
        """Return the next line with its newline, or its first ``size`` bytes; ``b""`` at the end of the body."""
        wanted = _limit(size)
        piece = self._take_line(wanted)
        if piece.endswith(b"\n") or len(piece) == wanted:
            return piece
        line = BytesIO()
        while True:
            line.write(piece)
            wanted -= len(piece)
            if piece.endswith(b"\n") or not wanted or not self._fill():
                return line.getvalue()
            piece = self._take_line(wanted)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Return the lines left; with a positive ``hint``, whole lines until that many bytes are reached."""
        enough = _limit(hint) or NO_LIMIT
        lines = []
        for line in self:
            lines.append(line)
            enough -= len(line)
            if enough <= 0:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if line:
            return line
        raise StopIteration

    def _take(self, size: int) -> bytes:
        """Return at most ``size`` bytes of the block; ``b""`` when it is used up."""
        start = self._position
        piece = self._block[start : start + size]
        self._position = start + len(piece)
        self._taken += 1
        if self._position == len(self._block):
            self._block, self._position = b"", 0
        return piece

    def _take_line(self, size: int) -> bytes:
        """As :meth:`_take`, but not past a newline."""
        newline = self._block.find(b"\n", self._position, self._position + size)
        return self._take(size if newline < 0 else newline + 1 - self._position)

    def _next(self, size: int) -> bytes:
        """Return 1 to ``size`` bytes that follow the used-up block; ``b""`` at the end, or if none are wanted."""
        if size >= DIRECT_SIZE:
            return self._fetch(min(size, FETCH_LIMIT))
        return self._take(size) if size and self._fill() else b""

    def _fill(self) -> bool:
        """Replace the used-up block; return False at the end of the body."""
        self._exchange.spend(self._taken)
        self._taken = 0
        self._block = self._fetch(BLOCK_SIZE)
        self._position = 0
        return bool(self._block)

    def _fetch(self, size: int) -> bytes:
        if self.failure is not None:
            raise self.failure
        try:
            return self._exchange.read(size)
        except (RequestError, ClientDisconnected) as error:
            self.failure = error
            raise


def _limit(size: int | None) -> int:
    if size is None:
        return NO_LIMIT
    number = index(size)  # a float is no size, in either core
    return NO_LIMIT if number < 0 else min(number, NO_LIMIT)


class _NoBody(protocol.Exchange):
    """Stands for every exchange without a request body."""

    def read(self, size: int) -> bytes:
        """See :meth:`Exchange.read`."""
        del size
        return b""


#: The input of all requests without a body; no method changes it.
EMPTY = Input(_NoBody())
