"""The rest of an HTTP/1.x response that is held: the loop sends it, and nothing else of the request is kept.

It takes the place of the request that has been answered so far, until the response has ended. Then a greenlet closes
what the application has returned, and the connection goes on. ``wsgi.held`` describes how a response is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected, RequestTimeout
from geventwsgi.http import encode
from geventwsgi.serving.http1 import http1_parked
from geventwsgi.serving.http1.http1_parked import NONE_WAIT, PIECE, TURN
from geventwsgi.serving.loop import holdings
from geventwsgi.serving.request import departure, live_exchange
from geventwsgi.serving.wire.sending import LEFT

if TYPE_CHECKING:
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.serving.request.lane import Lane
    from geventwsgi.wsgi.exchange import Headers
    from geventwsgi.wsgi.held import Call, Held, Piece

# C numbers in the compiled core.
_TURN, _PIECE, _NONE_WAIT = TURN, PIECE, NONE_WAIT


class Http1Held(http1_parked.Http1Parked):
    """See above. For the gateway and the access log it is the exchange."""

    __slots__ = (
        "_chunked", "_context", "_finishing", "_heartbeat", "_keep_alive", "_lane", "_silent_until", "_source",
        "_trailers",
    )  # fmt: skip

    def begin(
        self, connection: Connection, former: live_exchange.LiveExchange, call: Call, source: Held, *, chunked: bool,
        keep_alive: bool, silent_until: float = 0.0,
    ) -> None:  # fmt: skip
        """Continue the response of ``former``.

        :param chunked: whether the body is sent in chunks; otherwise its end is the connection's.
        :param keep_alive: whether the connection goes on after the response.
        :param silent_until: when something has to be sent although there is nothing (``clock.monotonic``); 0 for the
            heartbeat's time after the beginning.
        """
        self.come_after(connection, former, call)
        self._source: Held | None = source
        #: The context variables of the request, in which its objects are closed; None if there are none.
        self._context = getcurrent().gr_context or None
        self._chunked = chunked
        self._keep_alive = keep_alive
        self._heartbeat = float(source.heartbeat)
        if not self._heartbeat > 0:
            raise ValueError(f"the heartbeat of a held response is a number of seconds above 0: {source.heartbeat!r}")
        self._silent_until = silent_until
        #: Whether the end of the body is being sent.
        self._finishing = False
        #: The lane of the objects that the application has kept; None if it has kept none.
        self._lane: Lane | None = None
        #: What :meth:`send_trailers` was given.
        self._trailers: tuple[tuple[str, str], ...] = ()

    def _pack(self) -> dict[str, Any] | None:
        """See :meth:`.Http1Parked._pack`."""
        source = self._source
        if source is None or source.over or self._lane is not None or self._trailers:
            return None
        packed = source.pack()
        if packed is None:
            return None
        return {
            "held": packed,
            "farewell": self._farewell(source.farewell()).decode("latin-1"),
            "chunked": bool(self._chunked),
            "keep_alive": bool(self._keep_alive),
            "silent_until": self._silent_until,
        }

    def _farewell(self, piece: bytes) -> bytes:
        """Return what ends the response after a last piece; nothing, so that it is cut off, if there is none."""
        if not piece or not self._chunked:
            return piece
        return b"%x\r\n%b\r\n%b" % (len(piece), piece, encode.LAST_CHUNK)

    def leave(self) -> None:
        """See :meth:`.Http1Parked.leave`."""
        greenlet: Any = getcurrent()
        self._source = None
        if self._context is not None:
            greenlet.gr_context, self._context = self._context, None
        http1_parked.Http1Parked.leave(self)

    def enter(self, lane: Lane) -> None:
        """Go on in a lane, whose objects the application has kept."""
        self._lane = lane

    def go_on(self) -> None:
        """See :meth:`.Http1Parked.go_on`: begin to send."""
        stream = self._connection.stream
        self._waits = _NONE_WAIT
        self._silent_until = self._silent_until or clock.monotonic() + self._heartbeat
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
        """Wait for what is due next if nothing wakes it: a heartbeat, or the request's deadline."""
        seconds = min(self._silent_until, self.until) - clock.monotonic()
        self._connection.stream.park(self._connection, max(0.0, seconds))

    def kind(self) -> str:
        """See :meth:`.LiveExchange.kind`."""
        return live_exchange.HELD

    # Sending

    def _advance(self) -> None:
        """See :meth:`.Http1Parked._advance`."""
        held: Any = self._source
        if held is None:
            return
        source, left = held, _TURN  # of a C type, for which an attribute ``over`` of an application's class is hidden
        while (piece := source.take()) is not None:
            if not self._send(piece):
                return
            left -= _PIECE + len(piece.data)
            if left <= 0:
                self.wake()
                return
        if held.over:
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
        return self._offer(data, size)

    def _has_room(self) -> None:
        """See :meth:`.Http1Parked._has_room`."""
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
            piece = source.silence()
            if (piece is None or self._send(piece)) and source.over:
                self._finish()
        except ClientDisconnected as error:
            self._lose(error)
        except BaseException as error:  # noqa: BLE001 - as in advance
            self._fail(error)

    # The end

    def drain(self) -> None:
        """Come to the end, since the server is to stop."""
        if self._source is not None and not self.over:
            try:
                self._source.drain()
            except BaseException as error:  # noqa: BLE001 - as in advance
                self._fail(error)

    def _finish(self) -> None:
        """Send the end of the body."""
        self._finishing = True
        last = encode.last_chunk(self._trailers) if self._trailers else encode.LAST_CHUNK
        if not self._chunked or self._offer(last, 0):
            self._conclude(None)

    def client_left(self) -> None:
        """See :class:`.LiveExchange`; after the end it changes nothing."""
        if not self.over:
            self.status = 499
            self._conclude(ClientDisconnected(LEFT))

    def _lose(self, error: ClientDisconnected) -> None:
        """Note that the client has left, as sending shows."""
        if self.over:
            return
        if self._lane is not None:
            departure.depart(self._lane, self)
            return
        if self.audience is not None:
            self.audience.tell(self._connection.service.policy.log)
        self._connection.stream.give_up()
        self.status = 499
        self._conclude(error)

    def _fail(self, error: BaseException) -> None:
        """See :meth:`.Http1Parked._fail`."""
        self._conclude(error)

    def kill(self) -> None:
        """See :meth:`.Http1Parked.kill`."""
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

    def resume(self) -> bool:
        """See :meth:`.Http1Parked.resume`: do what comes after the response."""
        greenlet: Any = getcurrent()
        if self._context is not None:
            greenlet.gr_context, self._context = self._context, None
        try:
            self.conclude()
        finally:
            holdings.drop_context(greenlet)
        return False

    def settle(self) -> bool:
        """See :meth:`.Http1Parked.settle`."""
        connection = self._connection
        stream = connection.stream
        ends = connection.service.draining and not connection.goes_on()
        if self._keep_alive and not (stream.closed or ends):
            return True
        if not stream.closed and stream.ahead():
            connection.linger()
        return False

    def interrupt(self, error: BaseException) -> None:
        """See :meth:`.LiveExchange.interrupt`."""
        self._conclude(error)

    # What else an exchange has

    def send_early_hints(self, headers: Headers) -> None:
        """See :meth:`.LiveExchange.send_early_hints`: the head has left."""

    def send_trailers(self, trailers: Headers) -> None:
        """See :meth:`.LiveExchange.send_trailers`."""
        self._trailers += tuple(trailers)

    def abort(self) -> None:
        """See :meth:`.Exchange.abort`, and :meth:`.Http1Exchange.abort`."""
        self._keep_alive = False
        connection = self._connection
        if connection.answered and self._chunked and connection.stream.owed() > self.sent:
            connection.stream.cut()
        else:
            connection.stream.abort()

    def probe(self) -> bytes:
        """See :meth:`.LiveExchange.probe`, and :meth:`.Http1Exchange.probe`."""
        return b"" if self.over or self._finishing or self._waits >= 0 or not self._chunked else b"0"
