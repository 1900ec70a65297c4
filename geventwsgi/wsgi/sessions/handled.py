"""A WebSocket whose messages a handler gets: between two messages the connection has no greenlet (RFC 6455).

The application calls ``environ["wsgi.websocket"].handle(handler)`` and returns. From then on the protocol has the
connection, as it has a held response (``held``): it receives, asks this object in a runner what is to be done
(:meth:`HandledWebSocket.step`), and has the loop send what is published on channels. How channels keep messages is
their own business: here a channel is anything that can be subscribed to (:class:`Source`).

Knows messages, control frames and the close; knows neither sockets nor greenlets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from geventwsgi.websocket.deflate import agree
from geventwsgi.websocket.feeds import Feed, published, tell_missed
from geventwsgi.websocket.framing import (
    CLOSE,
    FIN,
    PING,
    PONG,
    RSV1,
    Control,
    FrameError,
    FrameReader,
    close_payload,
    frame,
    parse_close,
)
from geventwsgi.wsgi import held
from geventwsgi.wsgi.named import by_name, is_plain, name_of, unpacked
from geventwsgi.wsgi.sessions.session import (
    CLOSE_WAIT,
    PingTimes,
    WebSocketError,
    content_of,
    is_of_websocket,
    opcode_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from geventwsgi.websocket.deflate import MessageDeflate
    from geventwsgi.websocket.feeds import Reading
    from geventwsgi.wsgi.named import Packed

#: Channels that one WebSocket is subscribed to, at the most.
MOST_CHANNELS = 100
#: Statuses of a close (RFC 6455 section 7.4.1, and IANA's registry): the connection was lost, which is never sent; the
#: handler has failed; the server restarts.
LOST, FAILED, RESTART = 1006, 1011, 1012
#: Seconds that a client has to answer the close frame of a server that stops.
RESTART_WAIT = 5.0
_CLOSE, _PING = CLOSE, PING  # C numbers in the compiled core
_PING_FRAME = frame(PING, b"")


class Source(Protocol):
    """A channel."""

    def subscribe(self, *, after: str | None = None) -> Reading:
        """Return a subscription; may wait."""


class HandledWebSocket(held.Upgrade):
    """The WebSocket that a handler gets. Any greenlet may use it at any time.

    :param handler: see :class:`.Handler`.
    :param data: the first value of :attr:`data`.
    :param max_size: bytes of a message at the most; 0 for any number.
    :param deflate: the compression that was agreed on; None for none.
    :param reader: what has been received already, if anything has.
    :param pings: when the client is pinged.
    """

    __slots__ = (
        "__weakref__", "_answered", "_code", "_deflate", "_feeds", "_lost", "_max_size", "_opened", "_outlet",
        "_reader", "_reason", "_refused", "_state", "_told", "data", "handler", "origin", "path", "protocol",
    )  # fmt: skip

    def __init__(
        self, handler: Any, data: Any, path: str | None, origin: str | None, protocol: str | None, max_size: int,
        deflate: MessageDeflate | None, reader: FrameReader | None, pings: PingTimes,
    ) -> None:  # fmt: skip
        #: None once the WebSocket has ended.
        self.handler = handler
        #: The application's own: anything.
        self.data = data
        #: PATH_INFO and the Origin field of the request.
        self.path = path
        self.origin = origin
        #: The subprotocol that was chosen; None for none.
        self.protocol = protocol
        self.pings = pings
        self._max_size = max_size
        self._deflate = deflate
        #: Has what was received of the messages that are not complete; None if nothing was.
        self._reader = reader
        #: The connection; None before :meth:`attach` and after :meth:`detach`.
        self._outlet: Any = None
        #: What is sent of channels: None, one or a list.
        self._feeds: Any = None
        #: The status and the reason of the close; 0 while it is open.
        self._code = 0
        self._reason = ""
        #: Whether the handler's first and last call have been made.
        self._opened = self._told = False
        #: What a handler in another worker has left; None if this one is the first.
        self._state: list[Any] | None = None
        #: Whether its handler has failed when it was asked what goes with it.
        self._refused = False
        #: Whether nothing more is expected of the client, which has closed or broken the rules; whether it has gone.
        self._answered = self._lost = False

    def __repr__(self) -> str:
        return f"<HandledWebSocket {self.path}{f' closed with {self._code}' if self._code else ''}>"

    @property
    def closed(self) -> bool:
        """Whether either side has closed, or the client has gone: nothing can be sent."""
        return self._code != 0

    # Sending

    def send(self, message: str | bytes | bytearray, binary: bool | None = None) -> None:
        """Send a message. It waits only while much of what was sent before waits for the client to read.

        Messages are sent whole, in the order of the calls.

        :param binary: its type; None for text if it is a ``str``, else binary.
        :raises WebSocketError: the WebSocket is closed, or the client has gone.
        :raises UnicodeError: text is not UTF-8.
        """
        data = content_of(message, binary)
        opcode = opcode_of(message, binary)
        outlet = self._outlet
        if self._code or outlet is None:
            raise WebSocketError(self._why())
        if self._deflate is not None:
            self._send_compressed(outlet, opcode, data)
            return
        outlet.make_room()
        if self._code:  # meanwhile
            raise WebSocketError(self._why())
        outlet.send(frame(opcode, data))
        if self._lost:
            raise WebSocketError(self._why())

    def _send_compressed(self, outlet: held.Line, opcode: int, data: bytes) -> None:
        """Send a message compressed. Each depends on the former ones: one greenlet at a time compresses and sends."""
        deflate: Any = self._deflate
        outlet.take_turn()
        try:
            outlet.make_room()
            if self._code:
                raise WebSocketError(self._why())
            try:
                compressed = deflate.compress(data, outlet.breathe)
            except BaseException:  # what has been compressed does not reach the client
                deflate.restart()
                raise
            if self._code:
                raise WebSocketError(self._why())
            outlet.send(frame(opcode, data) if compressed is None else frame(opcode, compressed, FIN | RSV1))
        finally:
            outlet.give_turn()

    def _why(self) -> str:
        return "the client has gone" if self._lost else f"the WebSocket is closed ({self._code or 'not open yet'})"

    # Channels

    def subscribe(
        self,
        source: Source | Reading | Iterable[Source],
        after: str | None = None,
        *,
        encode: Callable[[Any], str] = published,
        missed: Callable[[int], str | None] = tell_missed,
    ) -> None:
        """Have what is published on a channel sent to the client as text, by the loop, from a buffer that all share.

        Does nothing for a channel that it is subscribed to already. A client that reads slowly gets the oldest messages
        that are kept when it has read those before, and is told how many it has missed.

        :param source: a channel, several of them, or a subscription (for one position in several channels).
        :param after: the id of a message of the channel: what has been published since comes first.
        :param encode: returns the text that is sent for a message; by default the published value as JSON. It is called
            once for all WebSockets that have the same function, and must not wait.
        :param missed: returns the text that tells a client how many messages it has missed, None to tell nothing; must
            not wait.
        :raises WebSocketError: the WebSocket is closed.
        :raises ValueError: too many channels, or ``after`` with several of them.
        """
        sources = source if isinstance(source, list | tuple) else (source,)
        if after is not None and (len(sources) > 1 or hasattr(source, "portion")):
            raise ValueError("after= is a place in one channel: for several pass subscribe([...], after=...)")
        for one in sources:
            self._subscribe(one, after, encode, missed)

    def _subscribe(self, source: Any, after: str | None, encode: Any, missed: Any) -> None:
        if self._find(source) is not None:
            return
        if len(self._all_feeds()) >= MOST_CHANNELS:
            raise ValueError(f"a WebSocket is subscribed to {MOST_CHANNELS} channels at the most")
        if self._code or self._outlet is None:
            raise WebSocketError(self._why())
        reading = source if hasattr(source, "portion") else source.subscribe(after=after)
        reading.begin()  # in the hub, where messages are taken, nothing can wait for that
        if self._code or self._find(source) is not None:  # meanwhile
            reading.close()
            return
        feed = Feed(source, reading, encode, missed)
        self._feeds = feed if self._feeds is None else [*self._all_feeds(), feed]
        self._outlet.wake()

    def unsubscribe(self, source: Source | Reading | Iterable[Source] | None = None) -> None:
        """Send no more of a channel, or of several ones; without an argument, of any."""
        if source is None:
            feeds = self._all_feeds()
        else:
            sources = source if isinstance(source, list | tuple) else (source,)
            feeds = [feed for feed in map(self._find, sources) if feed is not None]
        for feed in feeds:
            self._drop(feed)

    def _all_feeds(self) -> list[Any]:
        if self._feeds is None:
            return []
        return [*self._feeds] if type(self._feeds) is list else [self._feeds]

    def _find(self, source: Any) -> Feed | None:
        """Return what is sent of a channel; other objects of the same name are the same channel."""
        for feed in self._all_feeds():
            if feed.is_of(source):
                return feed  # type: ignore[no-any-return]
        return None

    def _drop(self, feed: Feed) -> None:
        left = [each for each in self._all_feeds() if each is not feed]
        self._feeds = None if not left else left[0] if len(left) == 1 else left
        feed.reading.close()

    def take(self) -> bytes | None:
        """See :meth:`.Upgrade.take`."""
        feeds = self._feeds
        if feeds is None or self._code:
            return None
        if type(feeds) is not list:
            return self._take_from(feeds)
        for feed in feeds:
            data = self._take_from(feed)
            if data is not None:
                if type(self._feeds) is list:  # the others come before its next message
                    self._feeds = [each for each in self._feeds if each is not feed] + [feed]
                return data
        return None

    def _take_from(self, feed: Feed) -> bytes | None:
        data = feed.take(self._outlet)
        if feed.over:
            self._drop(feed)
        return data

    # Closing

    def close(self, code: int = 1000, reason: str | bytes = "") -> None:
        """Close: nothing can be sent afterwards, and no message is received. A second call does nothing.

        ``on_close`` is called next.

        :param reason: up to 123 bytes.
        :raises ValueError: the code may not be sent (RFC 6455 section 7.4).
        """
        text = reason if isinstance(reason, str) else bytes(memoryview(reason)).decode("utf-8", "replace")
        payload = close_payload(code, text)
        if not self._code:
            self._end(code, text, payload, CLOSE_WAIT)

    def _end(self, code: int, reason: str, payload: bytes, seconds: float) -> None:
        """Close, and give the client some seconds to answer."""
        self._code, self._reason = code, reason
        outlet = self._outlet
        if outlet is not None:
            outlet.send(frame(CLOSE, payload))
            outlet.end_within(seconds)
        self._let_go()

    def _let_go(self) -> None:
        """Let go of what is of no use once the WebSocket is closed."""
        feeds, self._feeds = self._all_feeds(), None
        for feed in feeds:
            feed.reading.close()
        if self._outlet is not None:
            self._outlet.rouse()

    def drain(self) -> None:
        """See :meth:`.Upgrade.drain`."""
        if not self._code:
            self._end(RESTART, "", close_payload(RESTART), RESTART_WAIT)

    def lose(self) -> None:
        """See :meth:`.Upgrade.lose`."""
        if not self._lost:
            self._lost = self._answered = True
            self._code = self._code or LOST
            self._let_go()

    def fail(self, error: BaseException) -> bool:
        """See :meth:`.Upgrade.fail`."""
        excused = (self._lost or self._code == RESTART) and is_of_websocket(error)
        if not self._code:
            self._end(FAILED, "", close_payload(FAILED), CLOSE_WAIT)
        return not excused

    def detach(self) -> None:
        """See :meth:`.Upgrade.detach`."""
        self._outlet = self.handler = self._reader = None
        self._code = self._code or RESTART  # another worker goes on
        self._let_go()
        if self._deflate is not None:
            self._deflate.forget()

    # In another worker

    def must_finish(self) -> bool:
        """See :meth:`.Upgrade.must_finish`."""
        return self._reader is not None and self._reader.must_finish()

    def unread(self) -> bytes:
        """See :meth:`.Upgrade.unread`."""
        reader = self._reader
        if reader is None or reader.must_finish():
            return b""
        self._reader = None
        return reader.unread()

    def pack(self) -> Packed | None:
        """See :meth:`.Upgrade.pack`. What came is :meth:`unread`, and the next message refers to none before it."""
        handler: Any = self.handler
        name = name_of(type(handler))
        deflate = self._deflate
        if (
            not self._opened
            or self._code
            or self._refused
            or self._reader is not None
            or name is None
            or None in self._packed_feeds()
            or (deflate is not None and deflate.begun)
            or not is_plain(self.data)
            or not (hasattr(handler, "on_takeover") or not vars(handler))
        ):
            return None
        leave = getattr(handler, "on_handover", None)
        self._refused = True  # unless this comes through
        state = None if leave is None else leave(self)
        if not is_plain(state):
            raise TypeError(f"{type(handler).__name__}.on_handover returned what JSON cannot represent")
        self._refused = False
        feeds = self._packed_feeds()  # where they are by now
        if self._code or None in feeds:
            return None
        return f"{__name__}:taken_over", {
            "handler": name, "state": state, "data": self.data, "path": self.path, "origin": self.origin,
            "protocol": self.protocol, "max_size": self._max_size, "pings": list(self.pings), "feeds": feeds,
            "deflate": None if deflate is None else deflate.answer,
        }  # fmt: skip

    def farewell(self) -> bytes:
        """See :meth:`.Upgrade.farewell`."""
        return frame(CLOSE, close_payload(RESTART))

    def _packed_feeds(self) -> list[Any]:
        return [feed.pack(name_of) for feed in self._all_feeds()]

    def take_over(self, state: Any, feeds: list[Feed]) -> None:
        """Begin where a WebSocket in another worker has left off."""
        self._state = [state]
        if feeds:
            self._feeds = feeds[0] if len(feeds) == 1 else feeds

    # What the connection asks

    def attach(self, outlet: held.Line) -> None:
        """See :meth:`.Upgrade.attach`."""
        self._outlet = outlet
        if self._code:
            outlet.end_within(RESTART_WAIT)
        if self._feeds is not None:
            outlet.wake()

    def ping(self) -> bytes:
        """See :meth:`.Upgrade.ping`."""
        return b"" if self._code else _PING_FRAME

    def finished(self) -> bool:
        """See :meth:`.Upgrade.finished`."""
        return self._told and self._answered

    def deafen(self) -> None:
        """See :meth:`.Upgrade.deafen`."""
        self._answered = True

    def feed(self, data: bytes) -> None:
        """See :meth:`.Upgrade.feed`."""
        if self._answered:
            return
        reader = self._reader
        if reader is None:
            reader = self._reader = FrameReader(self._max_size, self._deflate)
        reader.feed(data)

    def hungry(self) -> bool:
        """See :meth:`.Upgrade.hungry`."""
        if not self._opened or (self._code and not self._told):
            return False
        reader = self._reader
        return reader is None or reader.hungry or self._answered

    def step(self) -> bool:
        """See :meth:`.Upgrade.step`."""
        if not self._opened:
            self._opened = True
            if self._state is not None:
                return self._call("on_takeover", self, *self._state)
            return self._call("on_open", self)
        if self._code and not self._told:
            self._told = True
            return self._call("on_close", self, self._code, self._reason)
        message = self._next_message()
        if message is None:
            return False
        self.handler.on_message(self, message)
        return True

    def _call(self, name: str, *arguments: Any) -> bool:
        """Call a method of the handler's, if it has it; return whether it has."""
        method = getattr(self.handler, name, None)
        if method is not None:
            method(*arguments)
        return method is not None

    def _next_message(self) -> str | bytes | None:
        """Return the next message of what was received, None if there is none; answer control frames before it."""
        reader, outlet = self._reader, self._outlet
        while reader is not None and not self._answered and (self._told or not self._code):
            try:
                event = reader.read()
            except FrameError as error:
                self._answered = True
                if not self._code:
                    payload = close_payload(error.code, error.reason)
                    self._end(error.code, error.reason, payload, CLOSE_WAIT)
                return None
            if event is None:
                if reader.hungry:
                    if reader.is_empty():
                        self._reader = None  # as most of the time there is nothing to keep
                    return None
            elif type(event) is Control:
                self._obey(event)
            elif not self._code:
                if reader.is_empty():
                    self._reader = None
                return event  # type: ignore[return-value]  # a message
            outlet.breathe()
        return None

    def _obey(self, control: Control) -> None:
        """Answer a control frame."""
        if control.opcode == _PING:
            if not self._code:
                self._outlet.send(frame(PONG, control.payload))
        elif control.opcode == _CLOSE:
            self._answered = True
            if not self._code:
                code, reason = parse_close(control.payload)
                self._end(code, reason, control.payload, CLOSE_WAIT)


def taken_over(facts: dict[str, Any]) -> HandledWebSocket:
    """Return the WebSocket that goes on with another worker's (:meth:`HandledWebSocket.pack`)."""
    deflate = None if facts["deflate"] is None else agree(facts["deflate"])
    ws = HandledWebSocket(
        by_name(facts["handler"])(), facts["data"], facts["path"], facts["origin"], facts["protocol"],
        facts["max_size"], deflate, None, PingTimes(*facts["pings"]),
    )  # fmt: skip
    feeds = []
    for packed in facts["feeds"]:
        reading = unpacked(packed["reading"])
        reading.begin()
        source = getattr(reading, "owner", reading)
        feeds.append(Feed(source, reading, by_name(packed["encode"]), by_name(packed["missed"])))
    ws.take_over(facts["state"], feeds)
    return ws
