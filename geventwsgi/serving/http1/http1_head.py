"""How a connection receives the head of a request, and how long it waits for the rest of one that has begun."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected, RequestError
from geventwsgi.http import head as heads
from geventwsgi.http.lines import asks_head
from geventwsgi.observe.occurrences import occurred
from geventwsgi.serving.wire.stream import DeadlineExpired

if TYPE_CHECKING:
    from geventwsgi.http.fields import Fields
    from geventwsgi.http.head import RequestHead
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.serving.http1.http1_policy import Http1Policy

#: Bytes received at once while a head is expected; a larger head takes another turn.
HEAD_RECV = 8192


def read_head(connection: Connection, policy: Http1Policy, data: bytes, last: Fields | None) -> RequestHead:
    """Return the head that begins with ``data``; what follows it waits in the stream.

    :param last: the fields of the connection's last request, which this one may repeat in part.
    :raises RequestError: it is wrong, or has not come in time.
    :raises ClientDisconnected: see :func:`_more_of_head`.
    """
    try:
        head = heads.parse_head(data, policy.limits, last, 0, policy.leniency, policy.known)
        if head is None:
            service = connection.service
            with connection.incomplete():
                seconds, late = service.timeouts.header_timeout, service.hurries()
                until = clock.monotonic() + (min(seconds, service.timeouts.drain_body) if late else seconds)
                while head is None:
                    more = _more_of_head(connection, data, until, late)
                    if service.hurries():
                        until = min(until, clock.monotonic() + service.timeouts.drain_body)
                    scanned = len(data)
                    data += more
                    head = heads.parse_head(data, policy.limits, last, scanned, policy.leniency, policy.known)
    except RequestError as error:
        error.head_only = asks_head(data, policy.limits, policy.leniency)
        raise
    if len(data) > head.size:
        connection.stream.unread(data[head.size :])
    return head


def _more_of_head(connection: Connection, data: bytes, until: float, late: bool) -> bytes:
    """Return what follows ``data``.

    :param late: whether the server was in a hurry already when the head began (:meth:`.Service.hurries`).
    :raises RequestError: 408, nothing has in time.
    :raises ClientDisconnected: the client has left, has not sent the rest in the time that a drain leaves, or has sent
        nothing but empty lines, to which no response would belong (RFC 9112 section 2.2).
    """
    more = None
    remaining = until - clock.monotonic()
    if remaining > 0:
        with suppress(DeadlineExpired):
            more = connection.stream.recv(HEAD_RECV, remaining)
    if more is None and not data.strip():
        raise ClientDisconnected("nothing but empty lines came")
    if more is None and connection.service.hurries() and not late:
        raise ClientDisconnected("the head had not come whole when the server stopped")
    if more is None:
        occurred("timeouts", "header_timeout")
        raise RequestError(408, f"the head took longer than {connection.service.timeouts.header_timeout:g} s")
    if not more:
        raise ClientDisconnected("the client left inside a request head")
    return more
