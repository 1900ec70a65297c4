"""One HTTP/1.x request and its response, for the gateway. This module has the request, and how both end.

:mod:`http1_response` frames and sends the response, :mod:`http1_body` receives the body, and :mod:`http1_connection`
decides which request comes next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ClientDisconnected, ResponseError
from geventwsgi.http import encode, forwarded
from geventwsgi.http.body import body_for
from geventwsgi.http.encode import CHUNKED, CLOSE, LENGTH
from geventwsgi.serving.http1 import http1_response
from geventwsgi.serving.http1.http1_body import PIECES_TURN, ArrivingBody
from geventwsgi.serving.http1.http1_held import Http1Held
from geventwsgi.serving.http1.http1_upgraded import Http1Upgraded
from geventwsgi.serving.http1.http1_waiting import Http1Waiting
from geventwsgi.serving.loop.deadlines import NEVER
from geventwsgi.serving.request import live_exchange
from geventwsgi.serving.request.extensions import extend
from geventwsgi.serving.request.upgrade import ClientSocket
from geventwsgi.wsgi import exchange
from geventwsgi.wsgi.held import Recall, Upgrade

if TYPE_CHECKING:
    from geventwsgi.http.fields import Fields
    from geventwsgi.http.head import RequestHead
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.serving.http1.http1_parked import Http1Parked
    from geventwsgi.serving.http1.http1_policy import Forwarding, Http1Policy
    from geventwsgi.serving.request.audience import Audience
    from geventwsgi.serving.request.lane import Lane
    from geventwsgi.wsgi.exchange import Headers
    from geventwsgi.wsgi.held import Call

#: Bytes of an unread body that are received and discarded so that the connection can be kept, at most.
DRAIN_BODY = 65536
_NEVER = NEVER  # as a C number in the compiled core
_NO_TRAILERS: list[tuple[str, str]] = []
#: The text for an application that takes over a connection after its response has begun.
BEGUN = "the response has begun: take the connection over before that, or begin it with a 101"


class Http1Exchange(http1_response.ResponseHalf):
    """One request and its response; see :class:`~geventwsgi.wsgi.exchange.Exchange`."""

    __slots__ = ("_raw_socket", "successor")

    def begin(self, connection: Connection, policy: Http1Policy, head: RequestHead) -> None:
        """Begin with what the head says of the connection and the body.

        This is a method, and not ``__init__``, since to call a class with arguments takes longer than all that is done
        here.

        :raises RequestError: 400, 413 or 421: the request cannot be served.
        """
        self.await_response(connection, policy)
        self.head = head
        #: Its lane; None until :meth:`enter`.
        self._lane = None
        self.remote_addr = connection.remote_addr
        self.remote_port = connection.remote_port
        self.trusted = connection.trusted
        fields, service, forwarding = head.fields, connection.service, policy.forwarding
        self.scheme = forwarding.scheme
        if self.trusted:
            self._believe(forwarding, fields)
        elif head.authority is not None:
            forwarded.check_scheme(head, self.scheme)
        self.trailers: list[tuple[str, str]] = [] if fields.chunked else _NO_TRAILERS
        self.has_body = fields.chunked or bool(fields.content_length)
        decoder = body_for(fields, policy.limits, self.trailers) if self.has_body else None
        self._body = None if decoder is None else ArrivingBody(self._stream, service, decoder, policy.tally)
        self._continue = decoder is not None and fields.expect_continue
        connection.last = not head.keep_alive
        self._keep_alive = head.keep_alive and service.timeouts.keepalive > 0
        self._raw_socket: ClientSocket | None = None
        self._again = False
        self.over = False
        self.request = self.offered = self.identity = None
        #: What takes the exchange's place if the response is held; set by :meth:`hold`.
        self.successor: Http1Parked | None = None
        #: Set by :meth:`end`.
        self.ended = False
        #: When the application has to be done (monotonic time); set by :mod:`request_deadline`.
        self.until = _NEVER
        #: Set by :meth:`arrive` and :meth:`begin_turn`.
        self.since = self.began = 0.0
        #: Set by :mod:`client` when the application asks for news of its client.
        self.audience: Audience | None = None

    def inherit(self, former: live_exchange.LiveExchange) -> None:
        """See :meth:`.LiveExchange.inherit`."""
        http1_response.ResponseHalf.inherit(self, former)
        self._again = True

    def _believe(self, forwarding: Forwarding, fields: Fields) -> None:
        """Take the scheme and the client's address from the fields of a trusted forwarder."""
        if fields.scheme is None:
            fields.scheme = forwarded.forwarded_scheme(fields, forwarding.secure_scheme_headers, self.scheme)
        self.scheme = fields.scheme
        if forwarding.client_of is not None:
            client = forwarding.client_of(fields)
            if client is not None:
                self.remote_addr, self.remote_port = client

    def kind(self) -> str:
        """See :meth:`.LiveExchange.kind`."""
        return live_exchange.WEBSOCKET if self.taken else live_exchange.REQUEST

    def body_received(self) -> int:
        """See :meth:`.LiveExchange.body_received`."""
        return 0 if self._body is None else self._body.received

    # The request

    def enter(self, lane: Lane) -> None:
        """Run in a lane."""
        self._lane = lane

    def extend(self, environ: dict[str, Any]) -> None:
        """See :meth:`Exchange.extend`."""
        if self._lane is not None:
            extend(environ, self._lane, self)

    def thrown(self) -> BaseException | None:
        """See :meth:`Exchange.thrown`."""
        if self.audience is None:
            return None
        thrown, self.audience.thrown = self.audience.thrown, None  # its traceback refers to this frame
        return thrown

    def read(self, size: int) -> bytes:
        """See :meth:`Exchange.read`."""
        body = self._body
        if body is None or body.decoder.done or size <= 0:
            return b""
        if self.ended:
            raise ClientDisconnected("the request has ended: the rest of its body cannot be read any more")
        if self._continue:
            self._continue = False
            self._send_interim(encode.CONTINUE)
        return self._read_body(body, size, self._connection.service.timeouts.body)

    def _read_body(self, body: ArrivingBody, size: int, timeout: float) -> bytes:
        """Return the next piece, ``b""`` at the body's end. Any failure ends the connection's reuse."""
        try:
            piece = body.receive(size, timeout)
            if piece is None:
                self._depart()
                raise ClientDisconnected("the client left inside a request body")
        except OSError:  # RequestError and ClientDisconnected are subclasses
            self._keep_alive = False
            raise
        return piece

    def spend(self, pieces: int) -> None:
        """See :meth:`Exchange.spend`."""
        if self._body is not None:
            self._stream.spend(pieces >> PIECES_TURN)

    # The end

    def can_hold(self) -> bool:
        """See :meth:`Exchange.can_hold`. A connection that keeps its greenlet needs it for the response too."""
        if isinstance(self.offered, Upgrade):
            return self.taken and not (self._cut or self._stream.closed)
        return (
            self._framing in (CHUNKED, CLOSE)
            and self.status != 101
            and (self._body is None or self._body.decoder.done)
            and not (self.taken or self._cut or self._trailers or self._connection.service.keeps_greenlets)
        )

    def can_recall(self) -> bool:
        """See :meth:`Exchange.can_recall`. What has been read of a body could not be read again.

        A drain ends each wait at once, so that an application which offers to wait again would be called on and on.
        """
        service = self._connection.service
        return not (
            self.has_body or self.head_sent or self.taken or self.over or self._cut or self._raw_socket is not None
            or service.keeps_greenlets or (self._again and service.draining)
        )  # fmt: skip

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
        elif isinstance(source, Recall):
            waiting = Http1Waiting.__new__(Http1Waiting)
            waiting.wait(self._connection, self, call, source)
            source.attach(waiting)
            self.successor = waiting
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
        """Close a WebSocket; where the server stops, do not wait long for the rest of a body."""
        if self._raw_socket is not None:
            self._raw_socket.drain()
        if not self.taken and self._connection.service.hurries():
            self._stream.hurry(self._connection.service.timeouts.drain_body)

    def abort(self) -> None:
        """See :meth:`Exchange.abort`. The client sees a reset, unless that could discard earlier responses."""
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
        """Return whether earlier responses are still on their way, and this one's end shows that it is incomplete.

        The framing shows it (RFC 9112 section 8).
        """
        unfinished = self._framing is CHUNKED or (self._framing is LENGTH and (self._left > 0 or self._cut))
        return unfinished and self._stream.owed() > self.sent

    def end(self) -> None:
        """Become inert: the request has ended, but something still refers to it.

        A greenlet that is inside a call for it must not touch the bytes of the next request.
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
        # A connection that was taken over may last for days: it is no request in flight.
        self._stream.step_out()
        if not self.status:
            self.status = 101

    def _left_in_session(self) -> None:
        """Notify of the client's departure, which the application's socket has found."""
        self._depart()  # not passed itself: another module's C method becomes no Python object in Cython

    def settle(self) -> bool:
        """After the response, return whether the connection can take the next request; if not, prepare its end."""
        stream = self._stream
        if self._raw_socket is not None:
            self._raw_socket.end()
            self._keep_alive = self._keep_alive and not self._raw_socket.lent
        if stream.closed:
            return False
        if self._cut:  # by another greenlet's end, after this one was done
            self.abort()
            return False
        if self.taken:
            self._connection.linger(True)
            return False
        if self._keep_alive and self._read_away():
            return True
        if stream.ahead() or (self._body is not None and not self._body.decoder.done):
            self._connection.linger()
        return False

    def _read_away(self) -> bool:
        """Receive the rest of the body, within bounds; return whether all of it has been received."""
        body = self._body
        if body is None or body.decoder.done:
            return True
        if self._stream.awaited:
            return False  # a greenlet of the application still reads it
        left = DRAIN_BODY
        try:
            while not body.decoder.done and left > 0:
                left -= len(self._read_body(body, left, self._connection.service.timeouts.drain_body))
        except OSError:
            return False
        return body.decoder.done


def _asks_websocket(head: RequestHead) -> bool:
    return any(name.lower() == "upgrade" and value.lower() == "websocket" for name, value in head.fields.items)
