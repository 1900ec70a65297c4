"""How a request gets its place among the requests in flight, or is refused.

It waits for a place if all are taken. What is refused never reaches the gateway, so its access record is made here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected, RequestError
from geventwsgi.http import encode
from geventwsgi.http.encode import LENGTH
from geventwsgi.observe.access import Record
from geventwsgi.observe.occurrences import occurred
from geventwsgi.observe.tally import QUEUE
from geventwsgi.serving.loop.deadlines import NEVER
from geventwsgi.serving.request import departure, request_deadline
from geventwsgi.wsgi.environ import port_text

if TYPE_CHECKING:
    from geventwsgi.http.head import RequestHead
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.serving.http1.http1_exchange import Http1Exchange
    from geventwsgi.serving.http1.http1_policy import Http1Policy
    from geventwsgi.serving.request.lane import Lane

#: The status in the access log when a client left before it was answered, as in the gateway.
LEFT = "499 Client Closed Request"


def admit(connection: Connection, policy: Http1Policy, lane: Lane, exchange: Http1Exchange) -> bool:
    """Give a request its place among those in flight, and its deadline; return False if it has ended instead."""
    service, stream = connection.service, connection.stream
    if (stream.gone or not stream.step_in_now()) and not _get_place(connection, policy, lane, exchange):
        return False
    service.served += 1
    if service.policy.timed:
        exchange.begin_turn()
        stream.forget_waits()
        if service.timeouts.request_timeout:
            request_deadline.watch(lane, exchange, service.timeouts.request_timeout)
    return True


def _get_place(connection: Connection, policy: Http1Policy, lane: Lane, exchange: Http1Exchange) -> bool:
    """Wait for a place among the requests in flight; return False if the request was refused instead.

    :raises ClientDisconnected: the client left before.
    """
    exchange.arrive()
    began, timeout = exchange.since, connection.service.timeouts.queue_timeout
    try:
        _wait_for_place(connection, lane, timeout)
    except RequestError as error:
        exchange.over = True
        if 0 < timeout <= clock.monotonic() - began:
            occurred("timeouts", "queue_timeout")
        refuse(connection, policy, error, exchange.head, exchange)
        return False
    except ClientDisconnected:
        _record(connection, policy, ErrorReply(LEFT, [], 0), exchange.head, exchange)
        raise
    finally:
        if policy.tally is not None:
            policy.tally.observe(QUEUE, clock.monotonic() - began)
    return True


def readmit(connection: Connection, lane: Lane, exchange: Http1Exchange) -> BaseException | None:
    """Wait for a place for a request that had one before; return what has ended the request instead.

    It is not refused, however long it waits, but its deadline may come.
    """
    try:
        if exchange.until != NEVER:
            request_deadline.watch(lane, exchange, max(0.0, exchange.until - clock.monotonic()))
        _wait_for_place(connection, lane, None)
    except BaseException as error:  # noqa: BLE001 - what was thrown into the greenlet
        return error
    return None


def _wait_for_place(connection: Connection, lane: Lane, timeout: float | None) -> None:
    lane.queued = True
    try:
        if connection.stream.gone:
            departure.notice(lane)
        connection.stream.step_in(timeout)
    finally:
        lane.queued = False


class ErrorReply:
    """The response to a refused request, as access logs see it."""

    __slots__ = ("headers", "sent", "status")

    def __init__(self, status: str, headers: list[tuple[str, str]], sent: int) -> None:
        self.status = status
        self.headers = headers
        self.sent = sent


def refuse(
    connection: Connection, policy: Http1Policy, error: RequestError, head: RequestHead | None,
    exchange: Http1Exchange | None = None,
) -> None:  # fmt: skip
    """Answer a request that is not to be served, and end the connection (RFC 9112 section 2.2).

    :param head: None if it was not understood.
    :param exchange: the request, if it has waited for a place.
    """
    service = connection.service
    service.policy.log.debug("Refused a request from %s: %s", connection.remote_addr, error)
    occurred("refused", str(error.status))
    status, headers = encode.status_line(error.status), [("Content-Type", "text/html; charset=utf-8")]
    if error.status == 503:
        headers.append(("Retry-After", str(max(1, math.ceil(service.timeouts.queue_timeout)))))
    page = encode.error_page(error.status, error.reason)
    message = encode.response_head(
        status, headers, framing=LENGTH, length=len(page), connection="close", server=policy.server_header
    )
    if error.head_only or (head is not None and head.head_only):
        page = b""
    try:
        connection.stream.send(message + page)
    finally:
        _record(connection, policy, ErrorReply(status, headers, len(page)), head, exchange)
    connection.linger()


def _record(
    connection: Connection, policy: Http1Policy, reply: ErrorReply, head: RequestHead | None,
    exchange: Http1Exchange | None,
) -> None:  # fmt: skip
    """Make the access record of a request that the gateway never saw."""
    duration = connection.stream.waited
    if exchange is not None:
        duration += clock.monotonic() - exchange.since
    if policy.on_record is not None:
        client = connection if exchange is None else exchange  # whose client a forwarder may have named
        environ = {"REMOTE_ADDR": client.remote_addr, "REMOTE_PORT": port_text(client.remote_port)}
        policy.on_record(Record(head, reply, environ, duration))
    if policy.tally is not None:
        method = "" if head is None else head.method
        policy.tally.request(method, int(reply.status[:3]), duration, reply.sent)
