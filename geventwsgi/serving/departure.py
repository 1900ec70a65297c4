"""When a client has left while a request of it runs, and what follows.

The stream tells that the client has closed its side, or that the connection is lost. The latter is a departure. The
former is one where ``half_close`` is "gone"; else the client may still be reading, and is asked: it gets bytes that say
nothing (:meth:`.Http1Exchange.probe`), to which a system that has closed the socket answers with a reset. On a unix
socket the kernel tells the two apart by itself.

From a departure on every send fails, and the request's audience is told; a request that is to be cancelled gets
:class:`~geventwsgi.errors.ClientDisconnected` where it waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent import get_hub

from geventwsgi.errors import ClientDisconnected
from geventwsgi.serving import client
from geventwsgi.serving.sending import LEFT

if TYPE_CHECKING:
    from geventwsgi.serving.connection import Connection
    from geventwsgi.serving.http1_exchange import Http1Exchange

#: Seconds for a request to end by itself before its client is asked for the first time, and the second.
PROBE_AFTER, PROBE_AGAIN = 0.1, 1.0
#: The client is asked so many times for one request, each time after twice as long.
PROBES = 12


def notice(connection: Connection) -> None:
    """Act on the client's end, which the stream knows of, for the request that runs; may be called again."""
    exchange = connection.exchange
    if exchange is None or connection.departed:
        return
    stream, service = connection.stream, connection.service
    if stream.lost or (service.half_close_ends and not exchange.taken):
        depart(connection, exchange)
    elif connection.remote_addr and connection.inquiry is None:  # of a unix socket the kernel tells
        connection.inquiry = Inquiry(connection)


def depart(connection: Connection, exchange: Http1Exchange) -> None:
    """Let sends fail from now on, and tell whoever wants to know; a second call does nothing."""
    if connection.departed:
        return
    connection.departed = True
    connection.stream.give_up()
    audience = exchange.audience
    if audience is not None:
        client.tell(connection, audience)
    get_hub().loop.run_callback(_cancel, connection, exchange)


def _cancel(connection: Connection, exchange: Http1Exchange) -> None:
    """End the request, if it wants that or has not begun."""
    if exchange is connection.exchange and (connection.queued or _wants(connection, exchange)):
        error = ClientDisconnected(LEFT)
        throw(connection, exchange, error)


def _wants(connection: Connection, exchange: Http1Exchange) -> bool:
    if exchange.taken or connection.stream.waited_for_by(connection.greenlet):
        return False
    return connection.service.cancels if exchange.audience is None else exchange.audience.cancels


def throw(connection: Connection, exchange: Http1Exchange, error: BaseException) -> None:
    """Raise ``error`` in the greenlet of a request whose application still works on it; called in the hub."""
    greenlet = connection.greenlet
    if exchange is connection.exchange and greenlet is not None and not exchange.over:
        client.audience_of(connection, exchange).thrown = error
        greenlet.throw(error)


class Inquiry:
    """Asks a client that has closed its side whether it still reads, for as long as requests of it run."""

    __slots__ = ("_connection", "_interval", "_left", "_timer")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._interval = PROBE_AGAIN
        self._left = PROBES
        self._timer: Any = None
        self._wait(PROBE_AFTER)

    def _wait(self, seconds: float) -> None:
        self._timer = get_hub().loop.timer(seconds, ref=False)
        self._timer.start(self._ask)

    def _ask(self) -> None:
        self._timer.close()
        connection = self._connection
        exchange = connection.exchange
        if exchange is None or connection.departed or not self._left:
            connection.inquiry = None
            return
        if connection.stream.failed():  # where the loop does not tell
            depart(connection, exchange)
            return
        probe = exchange.probe()
        if probe:
            self._left -= 1
            sent = connection.stream.send_aside(probe)
            if 0 < sent < len(probe):  # nothing right could follow
                depart(connection, exchange)
        self._wait(self._interval)
        self._interval *= 2
