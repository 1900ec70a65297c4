"""The body of a response that waits at an inbox: held where it can be, otherwise an iterator that waits in a greenlet.

The simplest is here, a long-poll: it waits for one message. Its head and a line end are sent at once, so that it can be
held; its body follows when there is a message or the time is over, and then the next request of the connection. Where
the application is to make the answer, as its framework makes any other, it is called again instead (:func:`poll`).

Which of the two it is, is known when the gateway has got its first piece (``wsgi.held``). Only then does it listen for
the server's drain and the client's departure: a held response is told of both by the server, when its turn has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from geventwsgi.events.channel import Channel
from geventwsgi.events.event import dumps, seconds
from geventwsgi.events.several import subscribe
from geventwsgi.events.subscription import Reading
from geventwsgi.wsgi.held import Held, Piece, Recall
from geventwsgi.wsgi.named import by_name, name_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

    from typing_extensions import Self

    from geventwsgi.due import Due
    from geventwsgi.events.history import Message
    from geventwsgi.events.inbox import Inbox
    from geventwsgi.wsgi.named import Packed

#: The key of an environ under which a later call finds the channels that an earlier call waited for, and the result.
POLLED = "geventwsgi.polled"
#: The value of that key once :func:`poll` has returned the result: it is returned only once.
_TOLD: tuple[list[Any], None] = ([], None)
#: The type of what :func:`as_json` returns.
JSON = (("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))


def reading_of(source: Any, after: str | None) -> Reading | None:
    """Return a subscription to a channel or several ones, after a place in them, or a given one; None of other things.

    :raises ValueError: a channel is closed, or there are too many.
    """
    if isinstance(source, Channel):
        return source.subscribe(after=after)
    if isinstance(source, list | tuple) and source and all(isinstance(each, Channel) for each in source):
        return subscribe(source, after=after)
    return source if isinstance(source, Reading) else None


def reading_from(facts: dict[str, Any]) -> Reading:
    """Return the subscription that goes on where another worker's has come to (:meth:`.Reading.pack`)."""
    channels = [Channel(**arguments) for arguments in facts["channels"]]
    if len(channels) == 1:
        return channels[0].subscribe(after=facts["after"])
    return subscribe(channels, after=facts["after"])


class WaitingBody(Held):
    """See above. It is a WSGI application too, which answers a request with it.

    :param environ: the request's environ.
    :param inbox: where it waits; closed at the end.
    :param first: the first piece, which nothing on the way must change.
    :param heartbeat: seconds; see :class:`.Held`.
    :param own: whether the inbox is of no use to anybody else.
    :param hold: whether it may do without a greenlet.
    """

    __slots__ = ("__weakref__", "_environ", "_inbox", "_iterator", "_outlet", "_own")

    def __init__(
        self, environ: Mapping[str, Any], inbox: Inbox, first: bytes, heartbeat: float, *, own: bool, hold: bool
    ) -> None:
        self._own = own
        self.first = first
        self.heartbeat = heartbeat
        self.over = False
        self._inbox = inbox
        self._outlet: Due | None = None
        #: What the inbox has yet to heed; None once it is known what waits there.
        self._environ: Mapping[str, Any] | None = environ
        #: What :meth:`__iter__` has returned, until it is asked for its second piece.
        self._iterator: Iterator[bytes] | None = None
        if hold and "geventwsgi.hold" in environ and type(self).__iter__ is WaitingBody.__iter__:
            environ["geventwsgi.hold"](self)  # a subclass may iterate in a way of its own

    def __del__(self) -> None:
        # An application that fails, or returns something else, closes nothing.
        try:
            own = self._own
        except AttributeError:  # the constructor has failed
            return
        if own:
            self._inbox.close()

    def __call__(
        self, environ: Mapping[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
    ) -> Self:
        """Answer a request: PEP 3333's application side."""
        del environ
        start_response("200 OK", list(self.headers))  # type: ignore[attr-defined]  # each kind has its own
        return self

    def __iter__(self) -> Iterator[bytes]:
        """Return an iterator of the body's bytes, in a greenlet that waits."""
        self._iterator = self._pieces()
        return self._iterator

    def _pieces(self) -> Iterator[bytes]:
        """Yield the body's bytes. After the first piece, :meth:`_heed` is called."""
        raise NotImplementedError

    def close(self) -> None:
        """End the subscription or the iterable."""
        self._iterator = None
        self._inbox.close()

    def _heed(self) -> None:
        """Wait in a greenlet from now on."""
        self._iterator = None
        environ, self._environ = self._environ, None
        if environ is not None:
            self._inbox.heed(environ)

    # Held

    def is_body(self, iterable: Any) -> bool:
        """See :meth:`.Held.is_body`: this object, or an iterator that it has returned."""
        return iterable is self or (iterable is not None and iterable is self._iterator)

    def attach(self, outlet: Due) -> None:
        """See :meth:`.Held.attach`."""
        self._outlet = outlet
        self._iterator = None
        self.first = b""
        self._environ = None
        inbox: Any = self._inbox
        inbox.begin()  # in the hub, where messages are taken from now on, nothing can wait for that

    def drain(self) -> None:
        """See :meth:`.Held.drain`."""
        self._inbox.drain()

    def _pack(self, name: str, **facts: Any) -> Packed | None:
        """Return what :meth:`.Held.pack` does, if the inbox is a subscription that can go on elsewhere."""
        reading = self._inbox.pack() if isinstance(self._inbox, Reading) and not self.over else None
        return None if reading is None else (name, {"reading": reading, **facts})


def as_json(messages: list[Message], after: str) -> bytes:
    """Return ``{"messages": [...], "after": "..."}``: the published values, and the place behind them."""
    values = ",".join([message.text for message in messages])
    return f'{{"messages":[{values}],"after":{dumps(after)}}}\n'.encode("utf-8", "surrogatepass")


class LongPoll(WaitingBody):
    """The body of a response with the messages that have come, as soon as there is one. It is a WSGI application too.

    Example::

        def application(environ, start_response):
            after = parse_qs(environ["QUERY_STRING"]).get("after", [None])[0]
            return LongPoll(environ, news, after=after)(environ, start_response)

    :param environ: the request's environ.
    :param source: a :class:`Channel`, a list or tuple of channels, or a subscription.
    :param after: where the client has come to: ``after`` of the answer before. Without one, the answer comes at once,
        and says where the channel stands.
    :param timeout: seconds after which the answer has no messages; 0 to wait for none.
    :param body: makes the answer of the messages, a list, and the place behind them.
    :param headers: what the response needs beside its status.
    :param first: what is sent before the answer, and must not matter to the client; not empty.
    :param hold: see :class:`EventStream`.
    :raises ValueError: ``timeout`` is negative, infinite or not a number, or a channel is closed.
    :raises TypeError: ``timeout`` is no number, or ``source`` something else.
    """

    __slots__ = ("_body", "headers")

    def __init__(
        self,
        environ: Mapping[str, Any],
        source: Channel | list[Channel] | tuple[Channel, ...] | Reading,
        *,
        after: str | None = None,
        timeout: float = 25.0,
        body: Callable[[list[Message], str], bytes] = as_json,
        headers: tuple[tuple[str, str], ...] = JSON,
        first: bytes = b"\n",
        hold: bool = True,
    ) -> None:
        seconds("timeout", timeout)
        self._body = body
        self.headers = headers
        inbox = reading_of(source, after)
        if inbox is None:
            raise TypeError(f"a long-poll waits at a channel, several ones, or a subscription, not at {source!r}")
        time = timeout if after or inbox is source else 0.0
        # An object that nobody else has: single bytes are shared.
        super().__init__(
            environ, inbox, b"".join((first, first)), time, own=inbox is not source, hold=hold and time > 0
        )

    def _pieces(self) -> Iterator[bytes]:
        """Yield the bytes before the answer, and then the answer, when there is one."""
        inbox: Any = self._inbox
        messages = inbox.batch(0)
        if not messages and self.heartbeat:
            yield self.first
            self._heed()
            messages = inbox.batch(self.heartbeat)
        yield self._body(messages, inbox.position)

    # Held

    def take(self) -> Piece | None:
        """See :meth:`.Held.take`."""
        inbox: Any = self._inbox
        if self.over:
            return None
        messages = inbox.batch(0)
        if not (messages or inbox.ended):
            inbox.call(self._outlet)
            return None
        self.over = True
        return Piece(self._body(messages, inbox.position))

    def silence(self) -> Piece:
        """See :meth:`.Held.silence`: the time is over."""
        inbox: Any = self._inbox
        self.over = True
        return Piece(self._body([], inbox.position))

    def pack(self) -> Packed | None:
        """See :meth:`.Held.pack`."""
        body = name_of(self._body)
        if body is None or type(self) is not LongPoll:
            return None
        return self._pack(f"{__name__}:poll_from", timeout=self.heartbeat, body=body)

    def farewell(self) -> bytes:
        """See :meth:`.Held.farewell`: an answer without messages, after which the client asks again."""
        inbox: Any = self._inbox
        return self._body([], inbox.position)


def poll_from(facts: dict[str, Any]) -> LongPoll:
    """Return the long-poll that goes on with another worker's (:meth:`LongPoll.pack`)."""
    reading, body = unpacked(facts["reading"]), by_name(facts["body"])
    return LongPoll({}, reading, timeout=facts["timeout"], body=body, hold=False)


# The same by a call of the application


class Polled(NamedTuple):
    """What a long-poll has found."""

    #: The messages; none if the time is over, or if the server stops.
    messages: list[Message]
    #: The place behind them, for the client's next poll.
    position: str


def poll(
    environ: MutableMapping[str, Any],
    source: Channel | list[Channel] | tuple[Channel, ...],
    *,
    after: str | None = None,
    timeout: float = 25.0,
) -> Polled | None:
    """Return the messages after a place, as soon as there are any; or None, and then the request is to wait.

    On None, answer ``204 No Content``. That is not sent: the application is called again for the same request, from its
    outermost middleware on, and then this returns what has come. Example::

        def application(environ, start_response):
            polled = poll(environ, news, after=after(environ))
            if polled is None:
                start_response("204 No Content", [])
                return []
            start_response("200 OK", [("Content-Type", "application/json")])
            return [dumps([message.data for message in polled.messages], polled.position)]

    Where a request cannot wait without its greenlet, this waits, and never returns None: a request with a body, another
    server, a pool of greenlets.

    A call that polls once more, where others or after a later place, waits again; but not while the server stops: then
    this returns None too, and the 204 is sent.

    :param environ: the request's environ.
    :param source: a channel, or a list or tuple of channels.
    :param after: where the client has come to: ``position`` of the answer before. Without one this returns at once, and
        says where the channel stands.
    :param timeout: seconds after which there are no messages; 0 to wait for none.
    :raises ValueError: ``timeout`` is negative, infinite or not a number, or a channel is closed.
    :raises TypeError: ``timeout`` is no number, or ``source`` something else.
    """
    seconds("timeout", timeout)
    waited: tuple[list[Any], Polled | None] | None = environ.get(POLLED)
    if waited is not None and waited[1] is not None and waited[0] == _names(source):
        environ[POLLED] = _TOLD
        return waited[1]
    with _channels_reading(source, after) as reading:
        messages = reading.batch(0)
        if messages or not (after and timeout):
            return Polled(messages, reading.position)
        if waited is not None and _stops(environ):
            return None  # otherwise the request would wait again at once, without end
        hold = environ.get("geventwsgi.hold")
        if hold is not None and hold(Poll(source, reading.position, timeout)):
            return None
        reading.heed(environ)
        environ[POLLED] = _TOLD
        return Polled(reading.batch(timeout), reading.position)


def _names(source: Any) -> list[tuple[str, str | None]]:
    """Return which channels these are: each call of an application may have objects of its own."""
    channels = source if isinstance(source, list | tuple) else [source]
    return [(each.name, each.redis) for each in channels if isinstance(each, Channel)]


def _channels_reading(source: Any, after: str | None) -> Reading:
    reading = reading_of(source, after)
    if reading is None or reading is source:
        raise TypeError(f"a poll waits at a channel, or a list of channels, not at {source!r}")
    return reading


def _stops(environ: Mapping[str, Any]) -> bool:
    draining = getattr(environ.get("geventwsgi.server"), "draining", None)
    return draining is not None and draining.is_set()


class Poll(Recall):
    """What waits at channels. It subscribes when it is certain that the request waits."""

    __slots__ = ("_found", "_outlet", "_position", "_reading", "_source")

    def __init__(self, source: Any, position: str, timeout: float) -> None:
        self.first, self.heartbeat, self.over = b"", timeout, False
        self._source: Any = source
        self._position = position
        self._reading: Reading | None = None
        self._outlet: Due | None = None
        self._found: list[Message] = []

    def attach(self, outlet: Due) -> None:
        """See :meth:`.Held.attach`."""
        self._outlet = outlet
        self._reading = _channels_reading(self._source, self._position)
        self._reading.begin()

    def take(self) -> None:
        """See :meth:`.Recall.take`."""
        reading: Any = self._reading
        self._found = reading.batch(0)
        if self._found or reading.ended:
            self.over = True
        else:
            reading.call(self._outlet)

    def silence(self) -> None:
        """See :meth:`.Recall.silence`."""
        self.over = True

    def drain(self) -> None:
        """See :meth:`.Held.drain`."""
        reading: Any = self._reading
        reading.drain()

    def entries(self) -> dict[str, Any]:
        """See :meth:`.Recall.entries`."""
        reading: Any = self._reading
        polled = Polled(self._found, reading.position)
        self.close()
        return {POLLED: (_names(self._source), polled)}

    def close(self) -> None:
        """See :meth:`.Recall.close`."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()
