"""HTTP/1.0 and HTTP/1.1 over a stream: the keep-alive loop.

Knows RFC 9112 from the connection's side: when to read a head, when to refuse it, when the next may come. One request
with its response is ``http1_exchange``'s business, how bytes are parsed and made ``geventwsgi.http``'s.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from geventwsgi.errors import ClientDisconnected, RequestError
from geventwsgi.http import encode
from geventwsgi.http.encode import LENGTH
from geventwsgi.http.head import parse_head
from geventwsgi.observe.access import Record
from geventwsgi.serving import health
from geventwsgi.serving.http1_exchange import Http1Exchange
from geventwsgi.serving.stream import DeadlineExpired

if TYPE_CHECKING:
    from geventwsgi.http.head import RequestHead
    from geventwsgi.serving.connection import Connection

#: Bytes received at once while a head is expected; a larger head takes another turn.
HEAD_RECV = 8192


def serve(connection: Connection) -> bool:
    """Serve the requests that have come; return whether the connection is idle now, False if it has ended."""
    service, stream = connection.service, connection.stream
    while True:
        data = stream.recv_now(HEAD_RECV)
        if not data:
            return data is None
        head = connection.last_head
        stream.waited = 0.0
        try:
            if head is None or data != connection.last_data:
                head = _read_head(connection, data)
            exchange = Http1Exchange(connection, head)
        except RequestError as error:
            _refuse(connection, error)
            return False
        connection.exchange = exchange
        try:
            if head.path != service.health_path or not health.answer(exchange, service):
                service.served += 1
                stream.step_in()
                service.gateway.run(exchange)
        finally:
            stream.step_out()
            connection.exchange = None
        connection.idle_limit = service.timeouts.keepalive
        if not exchange.settle():
            return False
        if not (stream.hot or stream.ahead):
            return True


def _read_head(connection: Connection, data: bytes) -> RequestHead:
    """Return the head that begins with ``data``; the clock runs from its first byte."""
    service, stream = connection.service, connection.stream
    last = None if connection.last_head is None else connection.last_head.fields
    head = parse_head(data, service.limits, last, 0, service.leniency)
    if head is None:
        with connection.incomplete():
            until = time.monotonic() + service.timeouts.head
            while head is None:
                more = _more_of_head(connection, until)
                scanned = len(data)
                data += more
                head = parse_head(data, service.limits, last, scanned, service.leniency)
    if len(data) > head.size:
        stream.unread(data[head.size :])
        data = b""
    connection.last_head = head
    connection.last_data = data
    return head


def _more_of_head(connection: Connection, until: float) -> bytes:
    more = None
    remaining = until - time.monotonic()
    if remaining > 0:
        with suppress(DeadlineExpired):
            more = connection.stream.recv(HEAD_RECV, remaining)
    if more is None:
        raise RequestError(408, f"the head took longer than {connection.service.timeouts.head:g} s")
    if not more:
        raise ClientDisconnected("the client left inside a request head")
    return more


class ErrorReply(NamedTuple):
    """The response to a refused head, as access logs see it."""

    status: str
    headers: list[tuple[str, str]]
    sent: int


def _refuse(connection: Connection, error: RequestError) -> None:
    """Answer a request whose head is not acceptable, and end the connection (RFC 9112 section 2.2)."""
    service = connection.service
    service.log.debug("Refused a request from %s: %s", connection.remote_addr, error)
    service.refused[error.status] += 1
    status, headers = encode.status_line(error.status), [("Content-Type", "text/html; charset=utf-8")]
    page = encode.error_page(error.status, error.reason)
    head = encode.response_head(
        status, headers, framing=LENGTH, length=len(page), connection="close", server=service.software
    )
    try:
        connection.stream.send(head + page)
    finally:
        if service.on_record is not None:
            environ = {"REMOTE_ADDR": connection.remote_addr, "REMOTE_PORT": connection.remote_port}
            service.on_record(Record(None, ErrorReply(status, headers, len(page)), environ, connection.stream.waited))
    connection.linger()
