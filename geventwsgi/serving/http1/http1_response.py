"""The response of an exchange: how it is framed and sent (RFC 9112 sections 6 to 8).

:mod:`http1_exchange` has the request, and how both end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent.exceptions import ConcurrentObjectUseError

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected, ResponseError
from geventwsgi.http import encode
from geventwsgi.http.encode import CHUNKED, CLOSE, LENGTH, NONE
from geventwsgi.serving.request import departure, live_exchange
from geventwsgi.wsgi import exchange

if TYPE_CHECKING:
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.serving.http1.http1_body import ArrivingBody
    from geventwsgi.serving.http1.http1_policy import Http1Policy
    from geventwsgi.serving.request.lane import Lane
    from geventwsgi.wsgi.exchange import Headers

#: Bytes. The head of a file of this size or more is sent at once, not in one packet with the file's beginning, which
#: would gain nothing. The file then follows as the client acknowledges, not within the call.
LARGE_FILE = 1 << 20
#: After 8 pieces of a response, sent at most 0.1 ms (here in seconds) one after the other, a burst is expected.
BURST, PAUSE = 8, 1e-4
#: The text for the application once a piece of its response was cut.
CUT = (
    "a piece of the response was cut while it was sent, by a timeout or another exception that was thrown into the"
    " greenlet: nothing right can follow"
)
FINISHED = "write was called after the response had ended"
_NO_HEAD = exchange.ResponseHead("", 0, ())


class ResponseHalf(live_exchange.LiveExchange):
    """The response half of :class:`.Http1Exchange`."""

    __slots__ = (
        "_again", "_body", "_chunk_line", "_chunk_size", "_connection", "_continue", "_cut", "_excess", "_finished",
        "_framing", "_keep_alive", "_lane", "_last_piece", "_left", "_length", "_mid_chunk", "_pieces", "_policy",
        "_response", "_stream", "_trailers",
    )  # fmt: skip

    #: The request's lane; None until it begins to run.
    _lane: Lane | None
    #: Whether the application has been called for this request before.
    _again: bool
    #: The request's body; None if it has none.
    _body: ArrivingBody | None
    #: Whether the client still waits for 100 Continue. Reset by the first read of the body and by the response head.
    _continue: bool
    #: Whether the connection can take another request after this one. Every failure resets it.
    _keep_alive: bool

    def await_response(self, connection: Connection, policy: Http1Policy) -> None:
        """Set the fields of the response to their first values."""
        self._connection, self._policy, self._stream = connection, policy, connection.stream
        #: Whether the application has taken the connection over (:meth:`raw_socket`). Then nothing more is sent here.
        self.taken = False
        #: Whether something may have been sent in part only, so that nothing can follow it.
        self._cut = False
        self.head_sent = False
        self.sent = self.status = 0
        #: The response head that :meth:`start` was given.
        self._response = _NO_HEAD
        self._length: int | None = None
        #: Set when the head is sent.
        self._framing = NONE
        #: Bytes of content that are still missing (LENGTH); and bytes that the application has given beyond its length.
        self._left = 0
        self._excess = 0
        #: Whether a chunk is being sent.
        self._mid_chunk = False
        #: Whether the whole response has been passed to the stream.
        self._finished = False
        #: The last chunk's size, and the line for it: the next chunk mostly has the same.
        self._chunk_size, self._chunk_line = 0, b""
        #: How many pieces have come right after each other, up to BURST; and when the last one was sent.
        self._pieces, self._last_piece = 0, 0.0
        #: What :meth:`send_trailers` was given.
        self._trailers: tuple[tuple[str, str], ...] = ()

    def phase(self) -> str:
        """See :meth:`.LiveExchange.phase`."""
        if self._lane is not None and self._lane.queued:
            return live_exchange.QUEUED
        if self._stream.writing:
            return live_exchange.WRITING
        return live_exchange.READING if self._stream.awaited else live_exchange.WAITING

    def waits(self) -> tuple[float, float]:
        """See :meth:`.LiveExchange.waits`."""
        stream = self._stream
        return stream.waited + (clock.monotonic() if stream.awaited else 0), stream.stuck()

    def start(self, head: exchange.ResponseHead, length: int | None) -> None:
        """See :meth:`Exchange.start`."""
        self._response = head
        self.status = head.code
        if head.closes:
            self._keep_alive = False
        self._length = length if head.length is None else head.length

    def write(self, data: bytes, last: bool = False) -> None:
        """See :meth:`Exchange.write`."""
        if not data:
            return
        self._stream.take_turns()  # now, so that no other greenlet runs between the steps below
        if self.taken or self._cut or self._finished:
            self._refuse()
            return
        head = b"" if self.head_sent else self._encode_head()
        framing = self._framing
        if framing is LENGTH:
            if len(data) > self._left:
                self._excess += len(data) - self._left
                data = data[: self._left]
            self._left -= len(data)
        elif framing is CHUNKED:
            size = len(data)
            if size != self._chunk_size:
                self._chunk_size, self._chunk_line = size, encode.chunk_size(size)
            self._mid_chunk = True
            self._send(head, self._chunk_line, data, b"\r\n")
            self._mid_chunk = False
            self.sent += size
            return
        elif framing is NONE:
            data = b""
        if head or data:
            # Whether this ends the response: it may then be sent with others' responses, or with the connection's end.
            whole = last and head != b"" and not self._left and (self._body is None or self._body.decoder.done)
            if whole and self._keep_alive:
                self._send_last(head, data)
            else:  # with a record, the connection's end comes later
                self._send(head, data, b"", b"", whole and self._policy.on_record is None)
            self.sent += len(data)

    def send_file(self, fileno: int, offset: int, count: int) -> None:
        """See :meth:`Exchange.send_file`."""
        self._stream.take_turns()
        if self.taken or self._cut or self._finished:
            self._refuse()
            return
        head = b"" if self.head_sent else self._encode_head()
        framing = self._framing
        if framing is NONE:
            count = 0
        elif framing is LENGTH:
            self._excess += max(0, count - self._left)
            count = min(count, self._left)
            self._left -= count
        elif framing is CHUNKED:
            head += encode.chunk_size(count)
            self._mid_chunk = True
        try:
            self._stream.send_file(fileno, offset, count, head, 0 < count < LARGE_FILE)
            if framing is CHUNKED:
                self._stream.send(b"\r\n")
        except BaseException as error:
            self._fail(error, head)
            raise
        self._mid_chunk = False
        self.sent += count

    def _refuse(self) -> None:
        """Raise the error that prevents sending; return if the application has taken the connection over.

        :raises ResponseError: the response has ended, or was cut.
        """
        if not self.taken:
            raise ResponseError(CUT if self._cut else FINISHED)

    def close_after(self) -> None:
        """See :meth:`Exchange.close_after`."""
        self._keep_alive = False

    def finish(self) -> str | None:
        """See :meth:`Exchange.finish`."""
        if not self.taken:
            self._stream.take_turns()
        if self.taken or self._cut:
            self._refuse()
            return None
        if not self.head_sent:
            if self._length is None:
                self._length = 0
            self._send(self._encode_head(), b"")
        self._finished = True
        if self._framing is CHUNKED:
            self._send(encode.last_chunk(self._trailers) if self._trailers else encode.LAST_CHUNK, b"")
        elif self._left:
            self._keep_alive = False
            return f"the response ended {self._left} bytes short of its Content-Length of {self._length}"
        if self._excess:
            return f"the response went {self._excess} bytes beyond its Content-Length of {self._length}; they were cut"
        return None

    def _send(self, first: bytes, second: bytes, third: bytes = b"", fourth: bytes = b"", more: bool = False) -> None:
        try:
            if not first:
                self._look_for_burst()
            self._stream.send_parts(first, second, third, fourth, more)
        except BaseException as error:
            self._fail(error, first)
            raise

    def _send_last(self, first: bytes, second: bytes) -> None:
        try:
            self._stream.send_last(first, second)
        except BaseException as error:
            self._fail(error, first)
            raise

    def _fail(self, error: BaseException, head: bytes) -> None:
        """Note why a piece was not sent: the client has left, or an exception was thrown into the greenlet.

        After an exception a part of the piece may have been sent. The client would take whatever follows, even the next
        response, for its rest.

        :param head: what the piece began with, if it cannot be sent again.
        """
        if isinstance(error, ClientDisconnected):
            self._lost()
            return
        refused = isinstance(error, ConcurrentObjectUseError)  # another greenlet sends: nothing of this was sent
        if not refused or head or self._framing is not CHUNKED:
            self._cut = True
            self._keep_alive = False

    def _look_for_burst(self) -> None:
        """Before a further piece: within a burst the kernel may send it together with those that follow."""
        now = clock.monotonic()
        if now - self._last_piece > PAUSE or (self._pieces == BURST and not self._stream.gathers):
            self._pieces = 0
        elif self._pieces < BURST:
            self._pieces += 1
        self._last_piece = now
        self._stream.gather(self._pieces == BURST)

    def _lost(self) -> None:
        """Note that the client has gone. Access logs show 499, as nginx's do."""
        self._keep_alive = False
        self.status = 499
        self._depart()

    def _encode_head(self) -> bytes:
        """Choose the framing and encode the head; from here on the response cannot be taken back."""
        self.head_sent = True
        head, response, length, status = self.head, self._response, self._length, self.status
        framing = encode.choose_framing(head, status, length)
        if status == 101:  # from here on the application uses another protocol
            self._framing, self._keep_alive = CLOSE, False
            before = encode.CONTINUE if self._continue else b""  # RFC 9110 section 7.8
            return before + encode.response_head(response.status, response.headers, framing=NONE)
        if framing is NONE and (status < 200 or status == 204 or length == 0):
            # A 1xx or 204 must not have a Content-Length (RFC 9110 section 8.6). A HEAD or 304 may only have the one of
            # the corresponding GET, which is not known from an empty body.
            length = None if status < 200 or status == 204 else response.length
        elif framing is LENGTH:
            self._left = length or 0
        self._framing = framing
        keep_alive = self._keep_alive = (
            self._keep_alive and framing is not CLOSE and not self._continue
            and (not self._connection.service.draining or self._connection.goes_on())
        )  # fmt: skip
        connection = (None if head.minor else "keep-alive") if keep_alive else "close"
        headers = response.headers
        if self._trailers and framing is CHUNKED:
            headers = (*headers, encode.trailer_field(self._trailers))
        policy = self._policy
        return policy.last_head.encode(response.status, headers, framing, length, connection, policy.server_header)

    def send_early_hints(self, headers: Headers) -> None:
        """See :meth:`.LiveExchange.send_early_hints`; HTTP/1.0 has no such response."""
        self._stream.take_turns()
        if self.head.minor and not (self.head_sent or self.taken or self.over or self.ended or self._cut):
            self._send_interim(encode.early_hints(headers))

    def send_trailers(self, trailers: Headers) -> None:
        """See :meth:`.LiveExchange.send_trailers`; their names are announced if the head has not left."""
        self._trailers += tuple(trailers)

    def probe(self) -> bytes:
        """See :meth:`.LiveExchange.probe`.

        Before the head an interim response may always come (RFC 9110 section 15.2), and a chunk size may begin with
        any number of zeros (RFC 9112 section 7.1).
        """
        if self.taken or self.over or self._continue or self._finished or not self.head.minor:
            return b""
        if not self.head_sent:
            return encode.CONTINUE
        return b"0" if self._framing is CHUNKED and not self._mid_chunk else b""

    def _send_interim(self, data: bytes) -> None:
        """Send an interim response."""
        try:
            self._stream.send(data)
        except (ClientDisconnected, ConcurrentObjectUseError):
            raise  # either nothing more can be sent, or nothing of this was
        except BaseException:
            self._cut, self._keep_alive = True, False
            raise

    def _depart(self) -> None:
        """Note that the client has left: nothing more is sent to it, and the audience is notified."""
        lane = self._lane
        if lane is not None:
            departure.depart(lane, self)
        if not self._stream.left:
            self._stream.give_up()
