"""The short interface between the gateway and a protocol: one request and its response.

:class:`~geventwsgi.serving.http1.http1_exchange.Http1Exchange` implements it; tests of the gateway use a fake. The
gateway never asks which HTTP version it serves, and never sees a socket. It is a base class and no ``Protocol``, since
the compiled core then calls an implementation as C calls a function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.outputs.escape import escape
from geventwsgi.wsgi import held

if TYPE_CHECKING:
    from geventwsgi.http.head import RequestHead
    from geventwsgi.wsgi.held import Call, Held
    from geventwsgi.wsgi.repeated import Repeated

#: Characters of method and target that a log line shows.
LINE_LIMIT = 512

Headers = Sequence[tuple[str, str]]


class ResponseHead:
    """A status and headers that are fit to be sent; shared by the responses that repeat them, so nobody changes it."""

    __slots__ = ("closes", "code", "headers", "length", "status")

    def __init__(
        self, status: str, code: int, headers: Headers, length: int | None = None, *, closes: bool = False
    ) -> None:
        #: ``"200 OK"``: code, space, reason.
        self.status = status
        self.code = code
        #: Checked, and free of hop-by-hop fields.
        self.headers = headers
        #: The Content-Length that ``headers`` have, None if there is none.
        self.length = length
        #: Whether the connection is to end with this response, since the application says ``Connection: close``.
        self.closes = closes


class Exchange(held.Line):
    """One request and its response. What goes on after :meth:`hold` is the line of what it goes on for."""

    __slots__ = (
        "began", "has_body", "head", "head_sent", "identity", "offered", "over", "remote_addr", "remote_port",
        "repeated", "request", "scheme", "sent", "status", "taken", "trailers", "trusted",
    )  # fmt: skip

    head: RequestHead
    #: Whether the request has a body, though it may be empty; without one, :meth:`read` need not be asked.
    has_body: bool
    #: The client's address and port; "" and 0 on a unix socket.
    remote_addr: str
    remote_port: int
    #: "http" or "https", after a trusted forwarder's word was heard.
    scheme: str
    #: When the request had its turn (``clock.monotonic``), where the protocol notes it; else 0.
    began: float
    #: Whether the peer is in ``forwarded_allow_ips``.
    trusted: bool
    #: What this environ has in common with those of the connection's other requests. Set and read by ``environ``.
    repeated: Repeated | None
    #: The :class:`~geventwsgi.wsgi.request.Request` of hooks and loggers, which the gateway sets if there are any.
    request: Any
    #: What names the request in logs (``request_id_header``); None if nothing does, or before its turn.
    identity: str | None
    #: Fields after a chunked body (RFC 9112 section 7.1.2), filled when the body has been read to its end.
    trailers: list[tuple[str, str]]
    #: Whether the response head has left (or was handed to the kernel). Set by :meth:`write` and :meth:`finish`.
    head_sent: bool
    #: Bytes of response body sent so far, without chunk framing.
    sent: int
    #: Whether the application uses the connection itself (:meth:`raw_socket`); nothing more is sent here then.
    taken: bool
    #: The status code staged or sent: 0 before :meth:`start`; a client that left makes it 499.
    status: int
    #: Whether the application has come to its end: nothing is thrown into its greenlet any more. Set by the gateway.
    over: bool
    #: What the application would have the response held with; set by ``environ["geventwsgi.hold"]``.
    offered: Held | None

    def read(self, size: int) -> bytes:
        """Return 1 to ``size`` bytes of the request body, ``b""`` at its end.

        The first call sends ``100 Continue`` if the client waits for it (RFC 9110 section 10.1.1).

        :raises RequestError: the body's framing is wrong, too large or too slow.
        :raises ClientDisconnected: the client left inside the body.
        """
        raise NotImplementedError

    def spend(self, pieces: int) -> None:
        """Note that so many pieces of what was read have been handed on: others may have their turn."""

    def start(self, head: ResponseHead, length: int | None) -> None:
        """Stage the response head; nothing leaves before the first :meth:`write` or :meth:`finish`.

        May be called again until the head has left.

        :param length: the whole body's length where the gateway knows it; what the headers say of it comes first.
        """
        raise NotImplementedError

    def write(self, data: bytes, last: bool = False) -> None:
        """Send body bytes, with the head if it has not left; ``b""`` does nothing.

        Bytes past the Content-Length and bytes of a response that has no body (HEAD, 204, 304) are dropped.

        :param last: the exchange ends now, and nothing of the application's comes in between: it may leave together
            with what else is about to be sent.
        :raises ClientDisconnected: the client left or stopped reading.
        """
        raise NotImplementedError

    def send_file(self, fileno: int, offset: int, count: int) -> None:
        """Send ``count`` bytes of an open regular file from ``offset``, by ``os.sendfile`` where it applies."""
        raise NotImplementedError

    def close_after(self) -> None:
        """Have the connection end with this response. To be called before its head has left."""
        raise NotImplementedError

    def finish(self) -> str | None:
        """End the response; return a complaint for the error log if the body was not as long as declared."""
        raise NotImplementedError

    def can_hold(self) -> bool:
        """Return whether the rest of the response can be sent without a greenlet, now that some of it has left."""
        raise NotImplementedError

    def can_recall(self) -> bool:
        """Return whether the application can be called again for this request, which has not been answered."""
        raise NotImplementedError

    def hold(self, call: Call) -> None:
        """Have the rest of the response come from what is :attr:`offered`, once the gateway has returned.

        If that is a :class:`.Recall`, the application is called again (:meth:`.Gateway.run`).

        At its end ``call.gateway.conclude`` is called with the call, in a greenlet. What refers to this exchange, but
        for the call's own, has no effect from now on.
        """
        raise NotImplementedError

    def fail(self, status: int, detail: str | None = None, headers: Headers = ()) -> None:
        """Answer with an error page and close if the head has not left; abort the connection otherwise.

        :param detail: plain text for the page (a traceback under ``debug``); None for the status alone.
        :param headers: further fields of the page.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """Close without ending the response, so that the client sees that it is cut."""
        raise NotImplementedError

    def thrown(self) -> BaseException | None:
        """Return what was raised in the application's greenlet (the client left, the request took too long), once."""
        raise NotImplementedError

    def extend(self, environ: dict[str, Any]) -> None:
        """Add what the protocol has for the environ, the same for requests that repeat their header block."""
        raise NotImplementedError

    def raw_socket(self) -> Any:
        """Return the value of ``environ["geventwsgi.socket"]``, a socket whose first use takes the connection over."""
        raise NotImplementedError


def described(exchange: Exchange) -> str:
    """Return the request line, quoted and escaped, and the client's address, for a line in a log.

    The query, which may hold what is secret, is left out.
    """
    head = exchange.head
    path, mark, _ = head.target.partition("?")
    line = escape(f"{head.method} {path}{mark and '?...'}"[:LINE_LIMIT])
    client = escape(exchange.remote_addr) or "a unix socket"
    return f'"{line} HTTP/{head.version[0]}.{head.version[1]}" from {client}'
