"""The request for hooks and loggers of gunicorn: an object whose attributes they read and change.

It is made only if there is such a hook or logger. The environ has what a hook has changed before the application is
called (header fields, path, method). The framing of request and response does not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.wsgi.environ import decoded_path, field_keys
from geventwsgi.wsgi.input import EMPTY, Input

if TYPE_CHECKING:
    from geventwsgi.wsgi.exchange import Exchange

#: Attributes of gunicorn's request that have no counterpart, and what to use instead.
_ELSEWHERE = {
    "unreader": "read req.body",
    "cfg": "use worker.cfg",
    "limit_request_line": "use worker.cfg.limit_request_line",
    "limit_request_fields": "use worker.cfg.limit_request_fields",
    "limit_request_field_size": "use worker.cfg.limit_request_field_size",
}


class Request:
    """One request, with the attributes of gunicorn's; more may be set.

    :param exchange: whose request it is.
    :param headers: the fields that the application may see, with upper-case names.
    """

    fragment = ""
    #: In gunicorn, the content of a PROXY header; here it is in ``remote_addr``.
    proxy_protocol_info: Any = None

    def __init__(self, exchange: Exchange, headers: list[tuple[str, str]]) -> None:
        head = exchange.head
        self._exchange = exchange
        self._received = tuple(headers)
        self._body: Any = None
        self.method = head.method
        #: The request target, as the client sent it.
        self.uri = head.target
        #: Still percent-encoded.
        self.path = head.path
        self.query = head.query
        self.version = head.version
        #: Names in upper case. A hook may change the list, or set another one.
        self.headers = headers
        #: Filled when a chunked body has been read to its end.
        self.trailers = exchange.trailers if head.fields.chunked else []
        self.scheme = exchange.scheme
        #: (address, port) of the client; "" on a unix socket.
        self.remote_addr = (exchange.remote_addr, exchange.remote_port) if exchange.remote_addr else ""
        self.peer_addr = self.remote_addr
        #: Whether the connection ends with this request, whatever the client asks for.
        self.must_close = False

    def __getattr__(self, name: str) -> Any:
        """Refuse what is not there."""
        cure = _ELSEWHERE.get(name)
        raise AttributeError(f"the request has no {name!r}" + (f" here: {cure}" if cure else ""), name=name, obj=self)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"  # no query, which may hold secrets

    @property
    def body(self) -> Any:
        """The request's body: ``wsgi.input``, so that a hook takes away from the application what it reads."""
        if self._body is None:
            self._body = Input(self._exchange) if self._exchange.has_body else EMPTY
        return self._body

    @body.setter
    def body(self, body: Any) -> None:
        self._body = body

    def force_close(self) -> None:
        """Have the connection end with this request."""
        self.must_close = True

    def should_close(self) -> bool:
        """Return whether the connection ends with this request, as far as the request says."""
        return self.must_close or not self._exchange.head.keep_alive

    def follow(self, exchange: Exchange) -> None:
        """Belong to another exchange, which goes on with the response."""
        self._exchange = exchange

    def apply(self, environ: dict[str, Any]) -> None:
        """Have the environ of this request, and its connection, follow what has been changed here."""
        exchange = self._exchange
        head = exchange.head
        if self.must_close:
            exchange.close_after()
        if self._body is not None:
            environ["wsgi.input"] = self._body
        if self.method != head.method:
            environ["REQUEST_METHOD"] = self.method
        if self.uri != head.target:
            environ["RAW_URI"] = self.uri
        if self.query != head.query:
            environ["QUERY_STRING"] = self.query
        if self.path != head.path:
            environ["PATH_INFO"] = decoded_path(environ["SCRIPT_NAME"], self.path)
        if self.scheme != exchange.scheme:
            environ["wsgi.url_scheme"] = self.scheme
            environ.pop("HTTPS", None)
            if self.scheme == "https":
                environ["HTTPS"] = "on"
        if len(self.headers) != len(self._received) or any(map(_differ, self.headers, self._received)):
            self._apply_headers(environ)

    def _apply_headers(self, environ: dict[str, Any]) -> None:
        before, after = field_keys(self._received), field_keys(self.headers)
        for key in before.keys() - after.keys():
            environ.pop(key, None)
        environ.update((key, value) for key, value in after.items() if before.get(key) != value)


def _differ(one: object, other: object) -> bool:
    return one is not other and one != other
