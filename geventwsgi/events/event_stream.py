"""A response of server-sent events: from a channel, a subscription or any iterable, with heartbeats and an end in time.

Knows when something has to be sent although nothing has happened: at the beginning, so that the browser sees the stream
open; in a silence, so that proxies keep the connection and a client that left is noticed; at the server's drain, so
that the browser comes back soon, to a worker that stays.

A stream of a channel is held where it can be (``wsgi.held``): then the loop asks it for messages, and it has no
greenlet. Otherwise it is an iterator that waits.
"""

from __future__ import annotations

from random import uniform
from typing import TYPE_CHECKING, Any
from zlib import crc32

import gevent
from gevent.event import Event as GeventEvent

from geventwsgi.events.event import (
    GZIP_HEADER,
    HEARTBEAT,
    Event,
    accepts_gzip,
    deflated,
    gzip_end,
    last_event_id,
    seconds,
)
from geventwsgi.events.history import Message
from geventwsgi.events.inbox import Inbox
from geventwsgi.events.waiting import WaitingBody, reading_of
from geventwsgi.wsgi.held import Piece
from geventwsgi.wsgi.named import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from geventwsgi.events.channel import Channel
    from geventwsgi.events.subscription import Reading
    from geventwsgi.wsgi.named import Packed

#: The type of the event that tells how many messages were missed.
MISSED = "missed"
#: A response's headers: no cache and no proxy, nginx included, may hold the events back.
HEADERS: tuple[tuple[str, str], ...] = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),
)
_COMMENT = Piece(HEARTBEAT)


class EventStream(WaitingBody):
    """The body of a response of the type ``text/event-stream``. It is iterable once, and is a WSGI application too.

    Example::

        def application(environ, start_response):
            return EventStream(environ, news)(environ, start_response)

    Flask and other frameworks accept it as a response: ``return EventStream(request.environ, news)``.

    :param environ: the request's environ.
    :param source: a :class:`Channel`: the stream begins after the client's Last-Event-ID, or with the next message;
        a list or tuple of channels: the same for all of them (see :func:`subscribe`);
        a subscription; or any iterable of events, strings (an event's data) and values for JSON. An iterable
        runs in its own greenlet, and is closed with the stream.
    :param heartbeat: seconds of silence after which a comment is sent.
    :param retry: seconds after which a client that has lost the stream reconnects.
    :param drain_retry: the same when the server ends the stream because it drains: up to twice as long, by chance.
    :param compress: whether clients that accept gzip get the stream in it. Each message is compressed by itself, once
        for all clients. Not for messages that have a secret beside a text that others may choose.
    :param hold: whether a stream of a channel does without a greenlet, if there is nothing between the application and
        the server that may change the body.
    :raises ValueError: ``heartbeat`` is not above 0, a number of seconds is negative, infinite or not a number, or a
        channel is closed.
    :raises TypeError: a number of seconds is no number.
    """

    __slots__ = ("_drain_retry", "_gzip", "_later", "headers")

    def __init__(
        self,
        environ: Mapping[str, Any],
        source: Channel | Reading | Iterable[Any],
        *,
        heartbeat: float = 15.0,
        retry: float = 3.0,
        drain_retry: float = 0.5,
        compress: bool = False,
        hold: bool = True,
    ) -> None:
        self._drain_retry = seconds("drain_retry", drain_retry)
        #: A message that waits, since the client is first told how many messages it missed before it.
        self._later: Message | None = None
        first = Event(retry=retry).encode()
        #: What the response needs beside its status.
        self.headers = HEADERS
        #: The gzip stream; None if the client gets none.
        self._gzip: Gzip | None = None
        if compress:
            self.headers = (*self.headers, ("Vary", "Accept-Encoding"))
            if accepts_gzip(environ):
                self.headers = (*self.headers, ("Content-Encoding", "gzip"))
                self._gzip = Gzip()
                first = GZIP_HEADER + self._gzip.next(Piece(first)).data
        seconds("heartbeat", heartbeat, above=0)
        inbox: Reading | Pump | None = reading_of(source, last_event_id(environ))
        own = inbox is not None and inbox is not source
        if inbox is None:
            inbox, hold = Pump(source), False  # type: ignore[arg-type]  # whatever else it is has to be iterable
        super().__init__(environ, inbox, first, heartbeat, own=own, hold=hold)

    def _pieces(self) -> Iterator[bytes]:
        """Yield the stream's bytes until its source ends, the client leaves or the server drains."""
        gzip = self._gzip
        yield self.first
        self._heed()
        for data in self._events():
            yield data if gzip is None else gzip.next(Piece(data)).data
        if gzip is not None:
            yield gzip.end()

    def _events(self) -> Iterator[bytes]:
        """Yield what follows the beginning, not compressed."""
        inbox: Any = self._inbox
        while True:
            items = inbox.portion(self.heartbeat)
            if items:
                yield from _pieces(items)
            elif inbox.ended:
                break
            else:
                yield HEARTBEAT
        if inbox.draining:
            yield self._hint()

    def _hint(self) -> bytes:
        """Return what tells the client when to come back: not in the same moment as all others."""
        return Event(retry=self._drain_retry * uniform(1, 2)).encode()  # noqa: S311 - no secret

    # Held

    def take(self) -> Piece | None:
        """See :meth:`.Held.take`."""
        piece, gzip = self._next(), self._gzip
        if gzip is None:
            return piece
        if piece is not None:
            return gzip.next(piece)
        if not self.over:
            return None
        self._gzip = None
        return Piece(gzip.end())

    def _next(self) -> Piece | None:
        """Return the next piece, not compressed."""
        inbox: Any = self._inbox
        if self._later is not None:
            message, self._later = self._later, None
            return message.as_piece()
        if self.over or inbox.awaited():
            return None
        only: Message | None = inbox.next_or_call(self._outlet)
        if only is not None:
            return only.as_piece()
        messages = inbox.portion(0)
        if messages:
            return self._piece(messages)
        if inbox.ended:
            self.over = True
            return Piece(self._hint()) if inbox.draining else None
        inbox.call(self._outlet)
        return None

    def _piece(self, messages: list[Message]) -> Piece:
        """Return a portion in one piece; but a large message as it is kept for all."""
        if len(messages) > 1:
            return _joined.piece(messages)
        message = messages[0]
        if not message.missed:
            return message.as_piece()
        self._later = message
        return Piece(_missed(message))

    def silence(self) -> Piece:
        """See :meth:`.Held.silence`."""
        return _COMMENT if self._gzip is None else self._gzip.next(_COMMENT)

    def go_on_compressed(self, check: int, size: int) -> None:
        """Go on with another worker's stream in gzip."""
        self._gzip = Gzip(check, size)

    def pack(self) -> Packed | None:
        """See :meth:`.Held.pack`."""
        if self._later is not None or type(self) is not EventStream:
            return None
        gzip = None if self._gzip is None else [self._gzip.check, self._gzip.size]
        times = {"heartbeat": self.heartbeat, "drain_retry": self._drain_retry}
        return self._pack(f"{__name__}:stream_from", gzip=gzip, **times)

    def farewell(self) -> bytes:
        """See :meth:`.Held.farewell`."""
        hint, gzip = self._hint(), self._gzip
        return hint if gzip is None else gzip.next(Piece(hint)).data + gzip.end()


def stream_from(facts: dict[str, Any]) -> EventStream:
    """Return the stream that goes on with another worker's (:meth:`EventStream.pack`)."""
    reading, times = unpacked(facts["reading"]), {name: facts[name] for name in ("heartbeat", "drain_retry")}
    stream = EventStream({}, reading, **times, hold=False)
    if facts.get("gzip") is not None:
        stream.go_on_compressed(*facts["gzip"])
    return stream


class Gzip:
    """The gzip stream of one client: all clients share the compressed messages, the checksum is its own.

    :param check: the CRC of what it has been told.
    :param size: its bytes.
    """

    __slots__ = ("check", "size")

    def __init__(self, check: int = 0, size: int = 0) -> None:
        self.check = check
        self.size = size

    def next(self, piece: Piece) -> Piece:
        """Return the next piece compressed, which is done once for all clients."""
        data = piece.data
        self.check = crc32(data, self.check)
        self.size += len(data)
        if piece.compressed is None:
            piece.compressed = Piece(deflated(data))
        return piece.compressed

    def end(self) -> bytes:
        """Return the end of the stream (RFC 1952 section 2.3.1)."""
        return gzip_end(self.check, self.size)


class Pump(Inbox):
    """Takes item after item from an iterable, in a greenlet of its own: silence and drain can be seen meanwhile.

    It is never more than one item ahead.
    """

    __slots__ = ("_error", "_greenlet", "_items", "_iterable", "_taken")

    def __init__(self, iterable: Iterable[Any]) -> None:
        super().__init__()
        self._iterable = iterable
        self._items: list[Any] = []
        self._taken = GeventEvent()
        self._error: BaseException | None = None
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def portion(self, timeout: float) -> list[Any]:
        """Return the next item; ``[]`` if there was none for ``timeout`` seconds, or if there are no more."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        if not self._items and not self.ended:
            self._wait(timeout)
        items, self._items = self._items, []
        self._taken.set()
        if not items and self._error is not None:
            raise self._error
        return items

    def _run(self) -> None:
        try:
            for item in self._iterable:
                self._items.append(item)
                self._taken.clear()
                self.wake()
                self._taken.wait()
        except Exception as error:  # noqa: BLE001 - raised where the stream is read
            self._error = error
        finally:
            close = getattr(self._iterable, "close", None)
            if close is not None:
                close()
            super().close()

    def close(self) -> None:
        """End the iterable: what it waits for is interrupted by ``GreenletExit``."""
        if self._greenlet is not None:
            self._greenlet.kill()
        super().close()


def _pieces(items: list[Any]) -> Iterator[bytes]:
    """Yield a portion in one piece; but a large message as it is kept for all, not as a copy for each."""
    if len(items) == 1 and isinstance(items[0], Message):
        if items[0].missed:
            yield _missed(items[0])
        yield items[0].encode()
    else:
        yield b"".join(map(encoded, items))


class Joined:
    """The last portion that was joined: subscribers that are equally far behind take the same one after each other."""

    __slots__ = ("_messages", "_piece")

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._piece = _COMMENT

    def piece(self, messages: list[Message]) -> Piece:
        """Return several messages in one piece."""
        if messages != self._messages:  # by identity: messages do not compare otherwise
            self._piece = Piece(b"".join(map(encoded, messages)))
            self._messages = messages
        return self._piece


_joined = Joined()


def encoded(item: Any) -> bytes:
    """Return an item of a stream as it is sent; a channel's message is encoded once for all its streams."""
    if not isinstance(item, Message):
        return Event.of(item).encode()
    return _missed(item) + item.encode() if item.missed else item.encode()


def _missed(message: Message) -> bytes:
    return Event(str(message.missed), event=MISSED).encode()
