"""A request that waits, of which nothing has been answered: then the application is called for it again.

It takes the place of the request until there is something for the application, or until the request ends otherwise.
In either case ``http1_connection`` goes on with a new exchange of the same head, in a greenlet that shares nothing
with the first one. What is kept meanwhile is the head, and what the access record needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent import GreenletExit

from geventwsgi.http import encode
from geventwsgi.serving.http1 import http1_held
from geventwsgi.serving.request import live_exchange

if TYPE_CHECKING:
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.wsgi.held import Call, Recall

#: Seconds: estimated time of one call of the application, so that thousands of calls leave time for other work.
CALL = 1e-4


class Http1Waiting(http1_held.Http1Held):
    """See above. It is held as a response is, but sends nothing."""

    __slots__ = ()

    def wait(self, connection: Connection, former: live_exchange.LiveExchange, call: Call, recall: Recall) -> None:
        """Continue the request of ``former``."""
        self.begin(connection, former, call, recall, chunked=False, keep_alive=True)
        self._context = None
        self.head = former.head
        self.head_sent = False
        self.status = 0

    def phase(self) -> str:
        """See :meth:`.LiveExchange.phase`."""
        return live_exchange.HELD

    def _pack(self) -> dict[str, Any] | None:
        """See :meth:`.Http1Parked._pack`: it stays, and the worker's drain is the end of its time."""
        return None

    def _finish(self) -> None:
        """Have the application called."""
        self._connection.service.fanout.spend(CALL)
        self._conclude(None)

    def kill(self) -> None:
        """See :meth:`.Http1Parked.kill`."""
        self._conclude(GreenletExit())

    def probe(self) -> bytes:
        """See :meth:`.LiveExchange.probe`, and :meth:`.Http1Exchange.probe`."""
        return encode.CONTINUE if self.head.minor and not self.over else b""

    def go_on_as(self, exchange: live_exchange.LiveExchange) -> tuple[Call, BaseException | None]:
        """Leave the request to a new exchange; return the former call, and the error that has ended it, if one has."""
        exchange.inherit(self)
        error, self._error = self._error, None
        return self._call, error

    def conclude_as(self, exchange: live_exchange.LiveExchange, error: BaseException) -> None:
        """Have the gateway answer what has ended the request, without a call of the application."""
        call = self._call
        if self.request is not None:
            self.request.follow(exchange)
        if call.response is not None:
            call.response.follow(exchange)
        call.gateway.conclude(call, exchange, error)
