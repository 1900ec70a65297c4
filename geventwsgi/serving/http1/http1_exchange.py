"""One HTTP/1.x request and its response, as the gateway sees them: the framing of both, and how they end.

Knows what may be sent after what (RFC 9112 sections 6 to 9). Which request comes next is ``http1``'s business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent.exceptions import ConcurrentObjectUseError

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected, RequestError, ResponseError
from geventwsgi.http import encode
from geventwsgi.http.body import body_for
from geventwsgi.http.encode import CHUNKED, CLOSE, LENGTH, NONE
from geventwsgi.http.forwarded import check_scheme, forwarded_scheme
from geventwsgi.serving.http1.http1_held import Http1Held
from geventwsgi.serving.http1.http1_upgraded import Http1Upgraded
from geventwsgi.serving.loop.deadlines import NEVER
from geventwsgi.serving.request import departure, live_exchange
from geventwsgi.serving.request.extensions import extend
from geventwsgi.serving.request.upgrade import ClientSocket
from geventwsgi.serving.wire.stream import DeadlineExpired
from geventwsgi.wsgi import exchange
from geventwsgi.wsgi.held import Upgrade

if TYPE_CHECKING:
    from geventwsgi.http.body import Body
    from geventwsgi.http.head import RequestHead
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.serving.http1.http1_parked import Http1Parked
    from geventwsgi.serving.http1.http1_policy import Http1Policy
    from geventwsgi.serving.request.audience import Audience
    from geventwsgi.serving.request.lane import Lane
    from geventwsgi.wsgi.exchange import Headers
    from geventwsgi.wsgi.held import Call

#: Bytes of a body received at once at the most.
BODY_RECV = 65536
#: So many bytes (as a power of two) of chunk framing are as much work as one receive.
FRAMING_TURN = 5
#: So many pieces of a body that an application takes one by one count as a receive, as a power of two.
PIECES_TURN = 5
#: Bytes of a file from which on it gains nothing by sharing its first packet with the head: the head goes at once, and
#: what follows is sent as the client acknowledges, not within the call that hands it to the kernel.
LARGE_FILE = 1 << 20
#: Pieces of a response with no more than so many seconds between them, after which the next is expected at once.
BURST, PAUSE = 8, 1e-4
#: Bytes of an unread body that are read away to keep the connection.
DRAIN_BODY = 65536
_NEVER = NEVER  # as a C number in the compiled core
#: What the application is told once a piece of its response was cut.
CUT = (
    "a piece of the response was cut while it was sent, by a timeout or another exception that was thrown into the"
    " greenlet: nothing right can follow"
)
#: What the application is told that takes over a connection on which its response is under way.
BEGUN = "the response has begun: take the connection over before that, or begin it with a 101"
FINISHED = "write was called after the response had ended"
_NO_TRAILERS: list[tuple[str, str]] = []
_NO_HEAD = exchange.ResponseHead("", 0, ())


class Http1Exchange(live_exchange.LiveExchange):
    """One request and its response; see :class:`~geventwsgi.wsgi.exchange.Exchange`."""

    __slots__ = (
        "_body",
        "_chunk_line",
        "_chunk_size",
        "_connection",
        "_continue",
        "_credit",
        "_cut",
        "_excess",
        "_finished",
        "_framing",
        "_keep_alive",
        "_lane",
        "_last_piece",
        "_left",
        "_length",
        "_mid_chunk",
        "_pieces",
        "_policy",
        "_raw_socket",
        "_response",
        "_stream",
        "_trailers",
        "successor",
    )

    def begin(self, connection: Connection, policy: Http1Policy, head: RequestHead) -> None:
        """Begin with what the head says of the connection and the body.

        This is the constructor, as a method: to call a class with arguments takes longer than all that is done here.

        :raises RequestError: 400, 413 or 421, when that rules out serving the request.
        """
        self._connection, self._policy = connection, policy
        self.head = head
        fields, timeouts, forwarding = head.fields, connection.service.timeouts, policy.forwarding
        self._stream = connection.stream
        #: Where it runs; None until :meth:`enter`.
        self._lane: Lane | None = None
        self.remote_addr = connection.remote_addr
        self.remote_port = connection.remote_port
        self.trusted = connection.trusted
        self.scheme = forwarding.scheme
        if self.trusted:
            if fields.scheme is None:
                fields.scheme = forwarded_scheme(fields, forwarding.secure_scheme_headers, self.scheme)
            self.scheme = fields.scheme
            if forwarding.client_of is not None:
                client = forwarding.client_of(fields)
                if client is not None:
                    self.remote_addr, self.remote_port = client
        elif head.authority is not None:
            check_scheme(head, self.scheme)
        self.trailers: list[tuple[str, str]] = [] if fields.chunked else _NO_TRAILERS
        #: The decoder of the request's body; None if it has none.
        self._body: Body | None = None
        #: Seconds for which the client is still waited for: a second of waiting takes one, each byte gives some back.
        self._credit = 0.0
        #: Whether the client still waits for 100 Continue. Reset by the first :meth:`read` and by the response head.
        self._continue = False
        self.has_body = fields.chunked or bool(fields.content_length)
        if self.has_body:
            self._body = body_for(fields, policy.limits, self.trailers)
            self._credit = timeouts.body_grace
            self._continue = fields.expect_continue
        #: Whether the connection can go on after this exchange; whatever goes wrong resets it.
        self._keep_alive = head.keep_alive and timeouts.keepalive > 0
        #: Whether the application uses the connection itself (:meth:`raw_socket`): nothing more is sent here.
        self.taken = False
        self._raw_socket: ClientSocket | None = None
        self.over = False
        self.request = self.offered = None
        #: What goes on with the response, if it is held; set by :meth:`hold`.
        self.successor: Http1Parked | None = None
        #: Set by :meth:`end`.
        self.ended = False
        #: When the application has to be done (monotonic time); set by :mod:`request_deadline`.
        self.until = _NEVER
        #: Set by :mod:`client` when the application asks for news of its client.
        self.audience: Audience | None = None
        self.head_sent = False
        self.sent = self.status = 0
        # The response as staged by start().
        self._response = _NO_HEAD
        self._length: int | None = None
        #: Set when the head leaves.
        self._framing = NONE
        #: Bytes of content still owed under LENGTH, and bytes that the application gave beyond them.
        self._left = 0
        self._excess = 0
        #: Whether a piece of it may have left in part, so that nothing can follow; see :meth:`_break`.
        self._cut = False
        #: Whether all of it has been handed to the stream.
        self._finished = False
        #: The last chunk's size, which the next one mostly repeats, and its line.
        self._chunk_size, self._chunk_line = 0, b""
        #: How many pieces came one right after the other, up to BURST, and when the last was sent.
        self._pieces, self._last_piece = 0, 0.0
        #: What :meth:`send_trailers` was given.
        self._trailers: tuple[tuple[str, str], ...] = ()

    def enter(self, lane: Lane) -> None:
        """Run in a lane."""
        self._lane = lane

    # The request

    def read(self, size: int) -> bytes:
        """See :meth:`Exchange.read`."""
        body = self._body
        if body is None or body.done or size <= 0:
            return b""
        if self.ended:
            raise ClientDisconnected("the request has ended: the rest of its body cannot be read any more")
        if self._continue:
            self._continue = False
            self._send_interim(encode.CONTINUE)
        return self._read_body(body, size, self._connection.service.timeouts.body)

    def spend(self, pieces: int) -> None:
        """See :meth:`Exchange.spend`."""
        if self._body is not None:
            self._stream.spend(pieces >> PIECES_TURN)

    def _read_body(self, body: Body, size: int, timeout: float) -> bytes:
        """Return the next piece, ``b""`` at the body's end. Any failure ends the connection's reuse."""
        stream = self._stream
        try:
            while not body.done:
                data = self._receive_paced(body.want(min(size, BODY_RECV)), timeout)
                if not data:
                    self._depart()
                    raise ClientDisconnected("the client left inside a request body")
                piece, rest = body.decode(data)
                if len(data) > 2 * len(piece):  # mostly framing: far more work than copying
                    stream.spend(len(data) >> FRAMING_TURN)
                if rest:
                    stream.unread(rest)
                if piece:
                    return piece
        except DeadlineExpired:
            self._keep_alive = False
            raise RequestError(408, "the body comes too slowly") from None
        except OSError:  # RequestError and ClientDisconnected are both
            self._keep_alive = False
            raise
        return b""

    def _receive_paced(self, size: int, longest: float) -> bytes:
        """Receive a piece of the body from a client that keeps the minimum rate.

        :raises DeadlineExpired: it does not, or nothing came for ``longest`` seconds.
        """
        service = self._connection.service
        if service.draining:
            longest = min(longest, service.timeouts.drain_body)
        rate = service.timeouts.body_min_rate
        if not rate:
            return self._stream.recv(size, longest)
        credit = min(self._credit, longest)
        if credit <= 0:
            raise DeadlineExpired
        stream = self._stream
        stream.waited = 0.0
        data = stream.recv(size, credit)
        self._credit = credit - stream.waited + len(data) / rate
        return data

    # The response

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
        self._stream.take_turns()  # now: what follows is in order only if no other greenlet comes in between
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
            # Whether nothing is left to wait for: it may leave with others' responses or with the connection's end.
            whole = last and head != b"" and not self._left and (self._body is None or self._body.done)
            if whole and self._keep_alive:
                self._send_last(head, data)
            else:  # a record may take its time to be written, and the end comes after it
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
        except ClientDisconnected:
            self._lost()
            raise
        except BaseException as error:
            self._break(error, head)
            raise
        self._mid_chunk = False
        self.sent += count

    def _refuse(self) -> None:
        """Raise what stands against sending any more; return if the application has taken the connection over.

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
        except ClientDisconnected:
            self._lost()
            raise
        except BaseException as error:
            self._break(error, first)
            raise

    def _send_last(self, first: bytes, second: bytes) -> None:
        try:
            self._stream.send_last(first, second)
        except ClientDisconnected:
            self._lost()
            raise
        except BaseException as error:
            self._break(error, first)
            raise

    def _send_interim(self, data: bytes) -> None:
        """Send what comes before the head of the response."""
        try:
            self._stream.send(data)
        except (ClientDisconnected, ConcurrentObjectUseError):
            raise  # either nothing more is sent, or nothing of this was
        except BaseException as error:
            self._break(error, data)
            raise

    def _break(self, error: BaseException, head: bytes) -> None:
        """Note that a piece may have left in part, since an exception was thrown into the greenlet that sent it.

        The client would take what followed, the connection's next response even, for the rest of that piece.

        :param head: what the piece began with, if that cannot be made again.
        """
        refused = isinstance(error, ConcurrentObjectUseError)  # another greenlet sends: nothing of this has left
        if not refused or head or self._framing is not CHUNKED:
            self._cut = True
            self._keep_alive = False

    def _look_for_burst(self) -> None:
        """Before a further piece of the response: in the midst of a burst it may leave with those that follow."""
        now = clock.monotonic()
        if now - self._last_piece > PAUSE or (self._pieces == BURST and not self._stream.gathers):
            self._pieces = 0
        elif self._pieces < BURST:
            self._pieces += 1
        self._last_piece = now
        self._stream.gather(self._pieces == BURST)

    def _lost(self) -> None:
        """Note that the client has gone: 499 is what nginx logs for it, and what access logs say here."""
        self._keep_alive = False
        self.status = 499
        self._depart()

    def _depart(self) -> None:
        """Note that the client has left: nothing more is sent to it, and whoever wants to know is told."""
        lane = self._lane
        if lane is not None:
            departure.depart(lane, self)
        if not self._stream.left:
            self._stream.give_up()

    def _encode_head(self) -> bytes:
        """Choose the framing and encode the head; from here on the response cannot be taken back."""
        self.head_sent = True
        head, response, length, status = self.head, self._response, self._length, self.status
        framing = encode.choose_framing(head, status, length)
        if status == 101:  # the application speaks another protocol from here on
            self._framing, self._keep_alive = CLOSE, False
            before = encode.CONTINUE if self._continue else b""  # RFC 9110 section 7.8
            return before + encode.response_head(response.status, response.headers, framing=NONE)
        if framing is NONE and (status < 200 or status == 204 or length == 0):
            # 1xx and 204 must not have one (RFC 9110 section 8.6), and a HEAD or 304 must not have one that the
            # corresponding GET would not have, which an empty body does not tell.
            length = None if status < 200 or status == 204 else response.length
        elif framing is LENGTH:
            self._left = length or 0
        elif framing is CHUNKED:
            #: Whether a chunk is being sent, of which a part may have left.
            self._mid_chunk = False
        self._framing = framing
        keep_alive = self._keep_alive = (
            self._keep_alive and framing is not CLOSE and not self._continue and not self._connection.service.draining
        )
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

    def thrown(self) -> BaseException | None:
        """See :meth:`Exchange.thrown`."""
        if self.audience is None:
            return None
        thrown, self.audience.thrown = self.audience.thrown, None  # its traceback leads back to here
        return thrown

    # The environ

    def extend(self, environ: dict[str, Any]) -> None:
        """See :meth:`Exchange.extend`."""
        if self._lane is not None:
            extend(environ, self._lane, self)

    # The end

    def can_hold(self) -> bool:
        """See :meth:`Exchange.can_hold`. A connection that keeps its greenlet keeps it while a response is held too."""
        if isinstance(self.offered, Upgrade):
            return self.taken and not (self._cut or self._stream.closed)
        return (
            self._framing in (CHUNKED, CLOSE)
            and self.status != 101
            and (self._body is None or self._body.done)
            and not (self.taken or self._cut or self._trailers or self._connection.service.keeps_greenlets)
        )

    def hold(self, call: Call) -> None:
        """See :meth:`Exchange.hold`."""
        source = self.offered
        if source is None:
            return
        if isinstance(source, Upgrade):
            upgraded = Http1Upgraded.__new__(Http1Upgraded)
            self._raw_socket.end()
            upgraded.begin(self._connection, self, call, source)
            self.successor = upgraded
        else:
            held = Http1Held.__new__(Http1Held)
            chunked = self._framing is CHUNKED
            held.begin(self._connection, self, call, source, chunked=chunked, keep_alive=self._keep_alive)
            source.attach(held)
            self.successor = held
        self.successor.succeed(self)

    def fail(self, status: int, detail: str | None = None, headers: Headers = ()) -> None:
        """See :meth:`Exchange.fail`."""
        if self.head_sent or self.taken or self._cut:
            if self._raw_socket is None or not self._raw_socket.concluded:
                self.abort()
            return
        page = encode.error_page(status, detail)
        self._keep_alive = False
        fields = [("Content-Type", "text/html; charset=utf-8"), *headers]
        self.start(exchange.ResponseHead(encode.status_line(status), status, fields), len(page))
        self.write(page)
        self.finish()

    def drain(self) -> None:
        """Hurry, since the server is to stop: tell a WebSocket's client; do not wait long for the rest of a body."""
        if self._raw_socket is not None:
            self._raw_socket.drain()
        if not self.taken:
            self._stream.hurry(self._connection.service.timeouts.drain_body)

    def abort(self) -> None:
        """See :meth:`Exchange.abort`. The client sees a reset, unless that could cut off earlier responses."""
        self._keep_alive = False
        if self._raw_socket is not None:
            self._raw_socket.end()
        if self.taken or not self._connection.answered:
            self._stream.abort()
        elif self.head_sent or self._cut:
            if self._shows_its_cut():
                self._stream.cut()
            else:
                self._stream.abort()

    def _shows_its_cut(self) -> bool:
        """Return whether earlier responses are on their way still, and the end shows that this one is not whole.

        That it does by its framing (RFC 9112 section 8).
        """
        unfinished = self._framing is CHUNKED or (self._framing is LENGTH and (self._left > 0 or self._cut))
        return unfinished and self._stream.owed() > self.sent

    def end(self) -> None:
        """Become inert: the request has ended, and something of it is still in use.

        A greenlet that is in the midst of a call for it must not touch what the next request receives or is sent.
        """
        self.ended = True
        if self._raw_socket is not None:
            self._raw_socket.end()
        if self._stream.in_use():
            self._keep_alive = False
            if self._stream.dismiss():
                self.abort()

    def raw_socket(self) -> Any:
        """See :meth:`Exchange.raw_socket`."""
        if self._raw_socket is None:
            self._raw_socket = ClientSocket(
                self._stream, self._take_over, websocket=_asks_websocket(self.head), lost=self._left_in_session,
                deadlines=self._connection.service.common.deadlines,
            )  # fmt: skip
            if self._connection.service.draining:
                self._raw_socket.drain()
        return self._raw_socket

    def _take_over(self) -> None:
        if self.taken or self.ended:
            return
        if self.head_sent and self._response.code != 101 and self.head.method != "CONNECT":
            raise ResponseError(BEGUN)
        self.taken = True
        self._keep_alive = False
        # Whatever it is from here on, it may last for days: it is no request in flight.
        self._stream.step_out()
        if not self.status:
            self.status = 101

    def _left_in_session(self) -> None:
        """Tell of the client's departure, which the application has found by the socket."""
        self._depart()

    def settle(self) -> bool:
        """After the response: return whether the connection can take the next request; if not, end it gently."""
        stream = self._stream
        if self._raw_socket is not None:
            self._raw_socket.end()
            self._keep_alive = self._keep_alive and not self._raw_socket.lent
        if stream.closed:
            return False
        if self._cut:  # by the end of another greenlet, after this one had done its part
            self.abort()
            return False
        if self.taken:
            self._connection.linger(True)
            return False
        if self._keep_alive and self._read_away():
            return True
        if stream.ahead() or (self._body is not None and not self._body.done):
            self._connection.linger()
        return False

    def _read_away(self) -> bool:
        """Read what the application left of the body, within bounds; return whether it has all been read."""
        body = self._body
        if body is None or body.done:
            return True
        if self._stream.awaited:
            return False  # a greenlet of the application's still reads it
        left = DRAIN_BODY
        try:
            while not body.done and left > 0:
                left -= len(self._read_body(body, left, self._connection.service.timeouts.drain_body))
        except OSError:
            return False
        return body.done


def _asks_websocket(head: RequestHead) -> bool:
    return any(name.lower() == "upgrade" and value.lower() == "websocket" for name, value in head.fields.items)
