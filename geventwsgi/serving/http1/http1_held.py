"""The rest of an HTTP/1.x response that is held: the loop sends it, and nothing else of the request is kept.

It takes the place of the request that has been answered so far, until the response has ended. Then a greenlet closes
what the application has returned, and the connection goes on. How a response is held is told in ``wsgi.held``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected, RequestTimeout
from geventwsgi.http import encode
from geventwsgi.serving.loop import holdings
from geventwsgi.serving.request import live_exchange
from geventwsgi.serving.wire.sending import LEFT

if TYPE_CHECKING:
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.wsgi.exchange import Headers
    from geventwsgi.wsgi.held import Call, Held, Piece

#: Bytes that are sent to one client, if there are as many, before others have their turn.
TURN = 65536
#: Bytes that a piece counts for beside its own, since it takes a system call.
PIECE = 1024
#: No piece waits for room.
NONE_WAITS = -1
_NO_TRAILERS: list[tuple[str, str]] = []


class Http1Held(live_exchange.LiveExchange):
    """See above. For the gateway and the access log it is the exchange."""

    __slots__ = (
        "_call", "_chunked", "_connection", "_context", "_error", "_finishing", "_heartbeat", "_keep_alive",
        "_silent_until", "_source", "_waits",
    )  # fmt: skip

    def begin(
        self, connection: Connection, former: live_exchange.LiveExchange, call: Call, source: Held, *,
        chunked: bool, keep_alive: bool,
    ) -> None:  # fmt: skip
        """Begin where ``former`` has come to; the constructor, as a method (see :meth:`.Http1Exchange.begin`).

        :param chunked: whether the body is sent in chunks; otherwise its end is the connection's.
        :param keep_alive: whether the connection goes on after the response.
        """
        self._connection = connection
        self._call = call
        self._source: Held | None = source
        #: The context variables of the request, in which its objects are closed; None if there are none.
        self._context = getcurrent().gr_context or None
        self._chunked = chunked
        self._keep_alive = keep_alive
        self._heartbeat = float(source.heartbeat)
        if not self._heartbeat > 0:
            raise ValueError(f"the heartbeat of a held response is a number of seconds above 0: {source.heartbeat!r}")
        #: When something has to be sent although there is nothing.
        self._silent_until = 0.0
        #: The bytes of body of the piece that waits for room; nothing is sent before :meth:`go_on` either.
        self._waits = 0
        #: Whether the end of the body is being sent.
        self._finishing = False
        #: What has ended the response; None for its own end.
        self._error: BaseException | None = None
        self.head = former.head if call.response is not None else former.head.without_fields()
        self.remote_addr, self.remote_port = former.remote_addr, former.remote_port
        self.scheme, self.trusted = former.scheme, former.trusted
        self.request, self.audience = former.request, None
        self.status, self.sent, self.until = former.status, former.sent, former.until
        self.head_sent, self.has_body, self.taken = True, False, False
        self.over = self.ended = False
        self.trailers = _NO_TRAILERS
        self.repeated = self.offered = None

    def succeed(self, former: live_exchange.LiveExchange) -> None:
        """Be what the objects of the request refer to, for as long as the response goes on."""
        self.audience = former.audience
        if self.request is not None:
            self.request.follow(self)
        if self._call.response is not None:
            self._call.response.follow(self)

    def go_on(self) -> None:
        """Begin to send, now that nothing else of the request runs."""
        stream = self._connection.stream
        self._waits = NONE_WAITS
        self._silent_until = clock.monotonic() + self._heartbeat
        try:
            stream.watch()
        except ClientDisconnected as error:
            self._lose(error)
            return
        self._park()
        if stream.left or stream.closed:
            self._lose(ClientDisconnected(LEFT))
        elif stream.gone:
            self._connection.client_ended()
        if self._connection.service.draining:
            self.drain()
        self.advance()

    def _park(self) -> None:
        """Wait for the next thing to do without having been woken: a silence, the request's deadline."""
        seconds = min(self._silent_until, self.until) - clock.monotonic()
        self._connection.stream.park(self._connection, max(0.0, seconds))

    # Sending

    def wake(self) -> None:
        """See :class:`.Outlet`."""
        if not self.over:
            self._connection.service.fanout.add(self)

    def advance(self) -> None:
        """Send what there is, as far as the client takes it; called in the hub, and when the response begins."""
        if self.over or self._waits >= 0:
            return
        try:
            self._advance()
        except ClientDisconnected as error:
            self._lose(error)
        except BaseException as error:  # noqa: BLE001 - the application's failure
            self._conclude(error)

    def _advance(self) -> None:
        source, left = self._source, TURN
        if source is None:
            return
        while (piece := source.take()) is not None:
            if not self._send(piece):
                return
            left -= PIECE + len(piece.data)
            if left <= 0:
                self.wake()
                return
        if source.over:
            self._finish()

    def _send(self, piece: Piece) -> bool:
        """Send a piece, if it is not empty: a chunk without bytes would end the body (RFC 9112 section 7.1).

        :returns: whether another one can follow now.
        :raises ClientDisconnected: the client has left.
        """
        data = piece.data
        size = len(data)
        if not size:
            return True
        if self._chunked:
            if piece.framed is None:
                piece.framed = b"%x\r\n%b\r\n" % (size, data)
            data = piece.framed
        self._silent_until = clock.monotonic() + self._heartbeat
        if self._connection.stream.offer(data, self):
            self.sent += size
            return True
        self._waits = size
        return False

    def settled(self, error: ClientDisconnected | None) -> None:
        """See :class:`.Taker`: the client has taken what waited for room, or has left."""
        size, self._waits = self._waits, NONE_WAITS
        if self.over:
            return
        if error is not None:
            self._lose(error)
            return
        self.sent += size
        if self._finishing:
            self._conclude(None)
        else:
            self.advance()

    def woken(self) -> None:
        """Act on a silence, or on the request's deadline. What the client sends meanwhile waits until the end."""
        if self.over:
            return
        now = clock.monotonic()
        if now >= self.until:
            self._conclude(RequestTimeout("the request took longer than it may"))
            return
        if now >= self._silent_until:
            self._silent_until = now + self._heartbeat
            self._break_silence()
        if not self.over:
            self._park()

    def _break_silence(self) -> None:
        source = self._source
        if source is None or self._waits >= 0:
            return
        try:
            if self._send(source.silence()) and source.over:
                self._finish()
        except ClientDisconnected as error:
            self._lose(error)
        except BaseException as error:  # noqa: BLE001 - as in advance
            self._conclude(error)

    # The end

    def drain(self) -> None:
        """Come to the end, since the server is to stop."""
        if self._source is not None and not self.over:
            try:
                self._source.drain()
            except BaseException as error:  # noqa: BLE001 - as in advance
                self._conclude(error)

    def _finish(self) -> None:
        """Send the end of the body."""
        self._finishing = True
        if not self._chunked or self._connection.stream.offer(encode.LAST_CHUNK, self):
            self._conclude(None)
        else:
            self._waits = 0

    def client_left(self) -> None:
        """See :class:`.LiveExchange`; after the end it changes nothing."""
        if not self.over:
            self.status = 499
            self._conclude(ClientDisconnected(LEFT))

    def _lose(self, error: ClientDisconnected) -> None:
        """Note that the client has left, as sending shows."""
        if self.over:
            return
        if self.audience is not None:
            self.audience.tell(self._connection.service.policy.log)
        self._connection.stream.give_up()
        self.status = 499
        self._conclude(error)

    def kill(self) -> None:
        """End the response where it is."""
        if not self.over:
            self.abort()
            self._conclude(None)

    def _conclude(self, error: BaseException | None) -> None:
        """Have a greenlet do what comes after the response."""
        if self.over:
            return
        self.over = True
        self._error = error
        self._source = None
        connection = self._connection
        connection.stream.unpark()
        connection.service.runners.give(connection)

    def conclude(self) -> bool:
        """Do what comes after the response, in a greenlet; return whether the connection can take the next request."""
        error, self._error = self._error, None
        connection, call = self._connection, self._call
        greenlet: Any = getcurrent()
        if self._context is not None:
            greenlet.gr_context, self._context = self._context, None
        try:
            call.gateway.conclude(call, self, error)
        finally:
            del error  # its traceback leads back to here
            holdings.drop_context(greenlet)
        stream = connection.stream
        if self._keep_alive and not (stream.closed or connection.service.draining):
            return True
        if not stream.closed and stream.ahead():
            connection.linger()
        return False

    # What else an exchange has

    def fail(self, status: int, detail: str | None = None, headers: Headers = ()) -> None:  # noqa: ARG002 - it has left
        """See :meth:`.Exchange.fail`."""
        self.abort()

    def abort(self) -> None:
        """See :meth:`.Exchange.abort`, and :meth:`.Http1Exchange.abort`."""
        self._keep_alive = False
        connection = self._connection
        if connection.answered and self._chunked and connection.stream.owed() > self.sent:
            connection.stream.cut()
        else:
            connection.stream.abort()

    def end(self) -> None:
        """Become inert, as the connection ends."""
        self.ended = True

    def thrown(self) -> BaseException | None:
        """See :meth:`.Exchange.thrown`: nothing is thrown where no greenlet is."""
        return None

    def probe(self) -> bytes:
        """See :meth:`.LiveExchange.probe`, and :meth:`.Http1Exchange.probe`."""
        return b"" if self.over or self._finishing or self._waits >= 0 or not self._chunked else b"0"
