"""What goes on for an HTTP/1.x request after its greenlet has gone: the connection is parked, the loop sends.

It takes the place of the request's exchange, for the gateway, the access log and the connection. A greenlet comes back
only to do what has to wait, above all what comes at the end. Three kinds follow: the rest of a response that is held
(``http1_held``), a request for which the application is called again (``http1_waiting``), and a connection that has
been upgraded (``http1_upgraded``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ClientDisconnected
from geventwsgi.observe.outputs import request_id
from geventwsgi.serving.request import live_exchange

if TYPE_CHECKING:
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.wsgi.exchange import Headers
    from geventwsgi.wsgi.held import Call

#: Bytes that are sent to one client at a time; then other clients have their turn.
TURN = 65536
#: Bytes: what the system call of one piece costs, added to the bytes of the piece.
PIECE = 1024
#: No bytes wait for room.
NONE_WAIT = -1
_NONE_WAIT = NONE_WAIT  # a C number in the compiled core
_NO_TRAILERS: list[tuple[str, str]] = []


class Http1Parked(live_exchange.LiveExchange):
    """See above."""

    __slots__ = ("_call", "_connection", "_error", "_waits")

    def come_after(self, connection: Connection, former: live_exchange.LiveExchange, call: Call) -> None:
        """Continue the request of ``former``; the constructor, as a method (see :meth:`.Http1Exchange.begin`)."""
        self._connection = connection
        self._call = call
        #: The bytes of content of what waits for room; nothing is sent before :meth:`go_on` either.
        self._waits = 0
        #: The error that has ended it; None if it has come to its end.
        self._error: BaseException | None = None
        self.head = former.head if call.response is not None else former.head.without_fields()
        self.remote_addr, self.remote_port = former.remote_addr, former.remote_port
        self.scheme, self.trusted = former.scheme, former.trusted
        self.request, self.audience = former.request, None
        self.status, self.sent, self.until = former.status, former.sent, former.until
        self.since, self.began = former.since, former.began
        self.head_sent, self.has_body, self.taken = True, False, former.taken
        self.over = self.ended = False
        self.trailers = _NO_TRAILERS
        self.repeated = self.offered = None
        self.identity = former.identity if call.environ is None else call.environ.get(request_id.KEY)

    def succeed(self, former: live_exchange.LiveExchange) -> None:
        """Let the objects of the request refer to this from now on."""
        self.audience, self.until = former.audience, former.until
        if self.request is not None:
            self.request.follow(self)
        if self._call.response is not None:
            self._call.response.follow(self)

    def phase(self) -> str:
        """See :meth:`.LiveExchange.phase`."""
        return live_exchange.WRITING if self._waits >= 0 else live_exchange.HELD

    # A kind's own

    def go_on(self) -> None:
        """Begin, now that nothing else of the request runs."""
        raise NotImplementedError

    def woken(self) -> None:
        """Go on, since the client has sent something or the time of the parked connection is over; in the hub."""
        raise NotImplementedError

    def resume(self) -> bool:
        """Do what needs a greenlet; return whether it has to be called again, after the next :meth:`woken`."""
        raise NotImplementedError

    def settle(self) -> bool:
        """After the end: return whether the connection can take the next request."""
        raise NotImplementedError

    def drain(self) -> None:
        """Come to the end, since the server is to stop."""
        raise NotImplementedError

    def kill(self) -> None:
        """End where it is; called in the hub, while nothing has a greenlet."""
        raise NotImplementedError

    def _advance(self) -> None:
        """Send what there is."""
        raise NotImplementedError

    def _fail(self, error: BaseException) -> None:
        """Come to the end, since the application's part has failed."""
        raise NotImplementedError

    def _lose(self, error: ClientDisconnected) -> None:
        """Come to the end, since the client has gone."""
        raise NotImplementedError

    def _has_room(self) -> None:
        """Go on, since the client has taken what waited for room."""
        raise NotImplementedError

    # In another worker

    def pack(self) -> dict[str, Any] | None:
        """Return what another worker needs to go on with this, values for JSON; None if it has to stay.

        It has to stay while bytes wait for room, or while the application keeps an object of the request. Otherwise
        it is at its end here, and :meth:`leave` is to follow.
        """
        if self.over or self._error is not None or self._waits >= 0 or self.audience is not None:
            return None
        own = self._pack()
        if own is None or self.over or self._waits >= 0 or not self._connection.stream.can_detach():
            return None  # the application has been asked, and may have sent something
        head, call = self.head, self._call
        return {
            **own,
            "line": [head.method, head.target, head.minor],
            "client": [self.remote_addr, self.remote_port],
            "scheme": self.scheme,
            "status": self.status,
            "sent": self.sent,
            "until": self.until,
            "since": self.since,
            "began": self.began,
            "call": call.gateway.pack(call),
        }

    def _pack(self) -> dict[str, Any] | None:
        """Return what a kind needs besides, or None."""
        raise NotImplementedError

    def leave(self) -> None:
        """Close what the application has returned, since another worker goes on; in a greenlet."""
        self.over = True
        self._call.gateway.leave(self._call, self)

    # Sending

    def wake(self) -> None:
        """See :class:`.Due`."""
        if not self.over:
            self._connection.service.fanout.add(self)

    def advance(self) -> None:
        """Send what there is, as far as the client takes it; called in the hub, and when it begins."""
        if self.over or self._waits >= 0:
            return
        try:
            self._advance()
        except ClientDisconnected as error:
            self._lose(error)
        except BaseException as error:  # noqa: BLE001 - the application's failure
            self._fail(error)

    def _offer(self, data: bytes, size: int) -> bool:
        """Send bytes; return whether others can follow now.

        :param size: the number of bytes of content among them.
        :raises ClientDisconnected: the client has left.
        """
        if self._connection.stream.offer(data, self):
            self.sent += size
            return True
        self._waits = size
        return False

    def settled(self, error: ClientDisconnected | None) -> None:
        """See :class:`.Taker`: the client has taken what waited for room, or has left."""
        size, self._waits = self._waits, _NONE_WAIT
        if self.over:
            return
        if error is not None:
            self._lose(error)
        else:
            self.sent += size
            self._has_room()

    # The end

    def conclude(self) -> None:
        """Have the gateway do what comes after the response, in a greenlet."""
        error, self._error = self._error, None
        call = self._call
        try:
            call.gateway.conclude(call, self, error)
        finally:
            del error  # its traceback leads back to here

    # What else an exchange has

    def can_recall(self) -> bool:
        """See :meth:`.Exchange.can_recall`."""
        return False

    def fail(self, status: int, detail: str | None = None, headers: Headers = ()) -> None:  # noqa: ARG002 - it has left
        """See :meth:`.Exchange.fail`."""
        self.abort()

    def end(self) -> None:
        """Become inert, as the connection ends."""
        self.ended = True

    def thrown(self) -> BaseException | None:
        """See :meth:`.Exchange.thrown`: nothing is thrown where no greenlet is."""
        return None
