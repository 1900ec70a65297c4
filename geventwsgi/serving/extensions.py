"""What the environ has beyond PEP 3333 that only a protocol can offer: the client, the deadline, hints, trailers.

They are objects of the connection, not of the request, and speak of the request that it serves: an environ with them
costs no more than one without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ResponseError
from geventwsgi.http.grammar import FORBIDDEN_TRAILERS
from geventwsgi.serving.client import Client
from geventwsgi.serving.request_deadline import RequestDeadline
from geventwsgi.wsgi.response import check_headers

if TYPE_CHECKING:
    from geventwsgi.http.head import RequestHead
    from geventwsgi.serving.connection import Connection

TRAILERS = "geventwsgi.send_trailers"


def extend(environ: dict[str, Any], connection: Connection, head: RequestHead) -> None:
    """Add the entries of a connection's environs; trailers only where the client takes them."""
    if connection.request_deadline is None:
        connection.request_deadline = RequestDeadline(connection)
    environ["geventwsgi.client"] = environ["waitress.client_disconnected"] = Client(connection)
    environ["geventwsgi.deadline"] = connection.request_deadline
    environ["wsgi.early_hints"] = EarlyHints(connection)
    if head.minor and head.fields.takes_trailers:
        environ[TRAILERS] = Trailers(connection)


class EarlyHints:
    """``environ["wsgi.early_hints"]``; an object that is called is half as large as a method of one."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, headers: list[tuple[str, str]]) -> None:
        """Send a ``103 Early Hints`` with these fields, mostly ``Link``; may be called again.

        Does nothing for an HTTP/1.0 client, which knows no such response, or after the head has left.

        :raises ResponseError: a field is malformed.
        :raises ClientDisconnected: the client has left.
        """
        if check_headers(headers) is not None:
            raise ResponseError("early hints have no Content-Length (RFC 9110 section 8.6)")
        exchange = self._connection.exchange
        if exchange is not None:
            exchange.send_early_hints(headers)


class Trailers:
    """``environ["geventwsgi.send_trailers"]``."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, trailers: list[tuple[str, str]]) -> None:
        """Have these fields sent after the body, if that goes out in chunks (it has no Content-Length).

        To be called before the body's end; before its first byte if a ``Trailer`` field is to announce them.

        :raises ResponseError: a field is malformed, or says what a client must know before the body.
        """
        check_headers(trailers)
        for name, _ in trailers:
            if name.lower() in FORBIDDEN_TRAILERS:
                raise ResponseError(f"{name} is not allowed in trailers (RFC 9110 section 6.5.1)")
        exchange = self._connection.exchange
        if exchange is not None:
            exchange.send_trailers(trailers)
