"""How long a request may take: ``request_timeout`` and ``environ["geventwsgi.deadline"]``.

Knows one connection's clock. It is not set for each request, which most do not need: it stands in the bucket of the
earliest time when a request that runs then could be late, and looks at that time whether one is. What is late is told
to the request's greenlet by :class:`~geventwsgi.errors.RequestTimeout`, once; what becomes of that is the gateway's
business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi import clock
from geventwsgi.errors import RequestTimeout
from geventwsgi.serving import deadlines, departure
from geventwsgi.serving.deadlines import NEVER

if TYPE_CHECKING:
    from geventwsgi.serving.connection import Connection
    from geventwsgi.serving.http1_exchange import Http1Exchange


def watch(connection: Connection) -> None:
    """Have the requests of a connection watched, of which one has just begun."""
    if connection.request_deadline is None:
        connection.request_deadline = RequestDeadline(connection)
    service = connection.service
    service.deadlines.arm(connection.request_deadline, service.timeouts.request)


class RequestDeadline(deadlines.Holder):
    """When the request that a connection serves has to be done; see :class:`~.deadlines.Holder`."""

    __slots__ = ("_connection", "_exchange", "_until")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: The request that has a deadline of its own, and that deadline.
        self._exchange: Http1Exchange | None = None
        self._until = NEVER
        self.deadline = NEVER
        self.tick = 0

    @property
    def remaining(self) -> float | None:
        """Seconds until then, negative once it has passed; None if there is no deadline."""
        exchange = self._connection.exchange
        until = NEVER if exchange is None else self._until_of(exchange)
        return None if until == NEVER else until - clock.monotonic()

    def set(self, seconds: float) -> None:
        """Give the request ``seconds`` from now on, whatever it had before."""
        if seconds < 0:
            raise ValueError(f"a deadline of {seconds} s: pass a number of seconds from now on")
        if self._change(clock.monotonic() + seconds):
            self._connection.service.deadlines.arm(self, seconds)

    def lift(self) -> None:
        """Let the request take as long as it wants."""
        self._change(NEVER)

    def _change(self, until: float) -> bool:
        """Give the request that runs a deadline of its own; return False if there is none."""
        exchange = self._connection.exchange
        if exchange is None or exchange.over:
            return False
        self._exchange, self._until = exchange, until
        return True

    def _until_of(self, exchange: Http1Exchange) -> float:
        if exchange is self._exchange:
            return self._until
        return exchange.began + (self._connection.service.timeouts.request or NEVER)

    def expire(self) -> None:
        """See :class:`~.deadlines.Holder`: a request may be late now, or will be later."""
        connection = self._connection
        exchange = connection.exchange
        if exchange is None or exchange.over or exchange.taken:
            return
        remaining = self._until_of(exchange) - clock.monotonic()
        if remaining <= 0:
            departure.throw(connection, exchange, RequestTimeout("the request took longer than it may"))
        elif remaining != NEVER:
            connection.service.deadlines.arm(self, remaining)
