"""A response of server-sent events: from a channel, a subscription or any iterable, with heartbeats and an end in time.

Knows when something has to be sent although nothing has happened: at the beginning, so that the browser sees the stream
open; in a silence, so that proxies keep the connection and a client that left is noticed; at the server's drain, so
that the browser comes back soon, to a worker that stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event as GeventEvent

from geventwsgi.events.channel import Channel
from geventwsgi.events.event import HEARTBEAT, Event, last_event_id
from geventwsgi.events.history import Message
from geventwsgi.events.inbox import Inbox
from geventwsgi.events.several import subscribe
from geventwsgi.events.subscription import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

#: The type of the event that tells how many messages were missed.
MISSED = "missed"


class EventStream:
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
    :param drain_retry: the same when the server ends the stream because it drains.
    """

    #: What the response needs beside its status: nothing may keep it for later, nginx included.
    headers = (
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
    )

    def __init__(
        self,
        environ: Mapping[str, Any],
        source: Channel | Reading | Iterable[Any],
        *,
        heartbeat: float = 15.0,
        retry: float = 3.0,
        drain_retry: float = 0.5,
    ) -> None:
        self._heartbeat = heartbeat
        self._retry = retry
        self._drain_retry = drain_retry
        self._inbox: Reading | Pump
        if isinstance(source, Channel):
            self._inbox = source.subscribe(after=last_event_id(environ), environ=environ)
        elif isinstance(source, list | tuple) and source and all(isinstance(each, Channel) for each in source):
            self._inbox = subscribe(source, after=last_event_id(environ), environ=environ)
        elif isinstance(source, Reading):
            source.heed(environ)
            self._inbox = source
        else:
            self._inbox = Pump(source, environ)

    def __call__(
        self, environ: Mapping[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
    ) -> EventStream:
        """Answer a request: PEP 3333's application side."""
        del environ
        start_response("200 OK", list(self.headers))
        return self

    def __iter__(self) -> Iterator[bytes]:
        """Yield the stream's bytes until its source ends, the client leaves or the server drains."""
        inbox = self._inbox
        yield Event(retry=self._retry).encode()
        while True:
            items = inbox.portion(self._heartbeat)
            if items:
                yield from _pieces(items)
            elif inbox.ended:
                break
            else:
                yield HEARTBEAT
        if inbox.draining:
            yield Event(retry=self._drain_retry).encode()

    def close(self) -> None:
        """End the subscription or the iterable."""
        self._inbox.close()


class Pump(Inbox):
    """Takes item after item from an iterable, in a greenlet of its own: silence and drain can be seen meanwhile.

    It is never more than one item ahead.
    """

    __slots__ = ("_error", "_greenlet", "_items", "_iterable", "_taken")

    def __init__(self, iterable: Iterable[Any], environ: Mapping[str, Any]) -> None:
        super().__init__(environ)
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


def encoded(item: Any) -> bytes:
    """Return an item of a stream as it is sent; a channel's message is encoded once for all its streams."""
    if not isinstance(item, Message):
        return Event.of(item).encode()
    return _missed(item) + item.encode() if item.missed else item.encode()


def _missed(message: Message) -> bytes:
    return Event(str(message.missed), event=MISSED).encode()
