"""What an environ has beyond PEP 3333 that only a protocol can offer: client, deadline, hints, hold, trailers.

They are objects of a lane and act on its request; see :mod:`lane`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ResponseError
from geventwsgi.http.grammar import FORBIDDEN_TRAILERS
from geventwsgi.serving.request.client import Client
from geventwsgi.serving.request.request_deadline import Deadline
from geventwsgi.wsgi.held import Recall
from geventwsgi.wsgi.response import check_fields, exact_fields

if TYPE_CHECKING:
    from geventwsgi.http.head import RequestHead
    from geventwsgi.serving.request.lane import Lane
    from geventwsgi.serving.request.live_exchange import LiveExchange
    from geventwsgi.wsgi.held import Held

TRAILERS = "geventwsgi.send_trailers"


def extend(environ: dict[str, Any], lane: Lane, exchange: LiveExchange) -> None:
    """Set a lane's entries anew; trailers only where the client takes them.

    :param environ: the request's own, or if it has ``repeated``, one that is copied for each request.
    """
    _add(environ, lane, exchange.head)  # whose variables are gone when references are counted
    if exchange.repeated is not None:
        lane.lend(environ)
    else:
        lane.give()


def _add(environ: dict[str, Any], lane: Lane, head: RequestHead) -> None:
    client, deadline = Client.__new__(Client), Deadline.__new__(Deadline)
    hold, hints = Hold.__new__(Hold), EarlyHints.__new__(EarlyHints)
    client.begin(lane)
    deadline.begin(lane)
    hold.begin(lane)
    hints.begin(lane)
    environ["geventwsgi.client"] = environ["waitress.client_disconnected"] = client
    environ["geventwsgi.deadline"] = deadline
    environ["geventwsgi.hold"] = hold
    environ["wsgi.early_hints"] = hints
    if head.minor and head.fields.takes_trailers:
        trailers = Trailers.__new__(Trailers)
        trailers.begin(lane)
        environ[TRAILERS] = trailers


class EarlyHints:
    """``environ["wsgi.early_hints"]``; an object that is called is half as large as a method of one."""

    __slots__ = ("_lane",)

    def begin(self, lane: Lane) -> None:
        """Act on the requests of a lane; the constructor, as a method (see :meth:`.Http1Exchange.begin`)."""
        self._lane = lane

    def __call__(self, headers: list[tuple[str, str]]) -> None:
        """Send a ``103 Early Hints`` with these fields, mostly ``Link``; may be called again.

        Does nothing for an HTTP/1.0 client, which knows no such response, after the head has left, or once the
        request has ended.

        :raises ResponseError: a field is malformed.
        :raises ClientDisconnected: the client has left.
        """
        fields = exact_fields(headers)
        if check_fields(fields) is not None:
            raise ResponseError("early hints have no Content-Length (RFC 9110 section 8.6)")
        exchange = self._lane.exchange
        if exchange is not None:
            exchange.send_early_hints(fields)


class Hold:
    """``environ["geventwsgi.hold"]``."""

    __slots__ = ("_lane",)

    def begin(self, lane: Lane) -> None:
        """Act on the requests of a lane; the constructor, as a method (see :meth:`.Http1Exchange.begin`)."""
        self._lane = lane

    def __call__(self, held: Held) -> bool:
        """Offer to have the response's body come from ``held``, without a greenlet, from its first piece on.

        The application then returns ``held``, or another iterable (:meth:`.Held.is_body`) whose first piece is
        ``held.first``. Where that is not what the server gets, since something may change the body, or where the
        response cannot do without a greenlet, the iterable is asked for its next piece instead. Does nothing once the
        request has ended.

        If it is a :class:`.Recall`, the application is called again for this request, provided that it answers 204.

        :returns: whether the offer stands: False for a Recall of a request that cannot wait without a greenlet.
        """
        exchange = self._lane.exchange
        if exchange is None or (isinstance(held, Recall) and not exchange.can_recall()):
            return False
        exchange.offered = held
        return True


class Trailers:
    """``environ["geventwsgi.send_trailers"]``."""

    __slots__ = ("_lane",)

    def begin(self, lane: Lane) -> None:
        """Act on the requests of a lane; the constructor, as a method (see :meth:`.Http1Exchange.begin`)."""
        self._lane = lane

    def __call__(self, trailers: list[tuple[str, str]]) -> None:
        """Have these fields sent after the body, if that goes out in chunks (it has no Content-Length).

        To be called before the body's end; before its first byte if a ``Trailer`` field is to announce them. Does
        nothing once the request has ended.

        :raises ResponseError: a field is malformed, or says what a client must know before the body.
        """
        fields = exact_fields(trailers)
        check_fields(fields)
        for name, _ in fields:
            if name.lower() in FORBIDDEN_TRAILERS:
                raise ResponseError(f"{name} is not allowed in trailers (RFC 9110 section 6.5.1)")
        exchange = self._lane.exchange
        if exchange is not None:
            exchange.send_trailers(fields)
